# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Content addresses: the same inputs give the same key, and every input that matters gives another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dcm.platform.plugins.module_utils._artifact_plan import Catalog, module_version, read_catalog
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

ROOT = Path(__file__).resolve().parents[3]
GO_MOD = "module example\n\ngo 1.26\n\nrequire (\n\texample.org/server v1.37.2\n\texample.org/other v0.1.0 // indirect\n)\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "mod/cmd/server").mkdir(parents=True)
    (tmp_path / "mod/go.mod").write_text(GO_MOD)
    (tmp_path / "mod/go.sum").write_text("sums\n")
    (tmp_path / "mod/cmd/server/main.go").write_text("package main\n")
    (tmp_path / "app").mkdir()
    (tmp_path / "app/main.py").write_text("print(1)\n")
    (tmp_path / "app.lock").write_text("a==1 --hash=sha256:00\n")
    (tmp_path / "tool.lock").write_text("tool-bin==3.7.15 --hash=sha256:00\n")
    return tmp_path


def catalogue() -> dict[str, Any]:
    return {
        "binaries": {
            "server": {
                "module": "mod",
                "package": "./cmd/server",
                "version_of": "example.org/server",
                "ldflags": "-X v={version} -X m={minor}",
            },
            "tool": {"wheel": "tool.lock", "version_of": "tool-bin"},
        },
        "definitions": {"things": {"module": "mod", "of": "example.org/other", "path": "config/crd"}},
        "images": {
            "tool": {"ref": "example.org/tool:{version}", "version_of": "tool-bin", "go": ["tool"]},
            "server": {"ref": "example.org/server:{version}", "version_of": "example.org/server", "go": ["server"]},
            "base": {"debian": ["python3-minimal"]},
            "deps": {"base": "base", "python": {"lock": "app.lock", "target": "/app"}},
            "app": {"base": "deps", "ref": "example.org/app:{key}", "files": {"app": "/app/app"}},
        },
    }


def read(source: Path, text: dict[str, Any] | None = None, go: str = "go1.26.8", suite: str = "bookworm") -> Catalog:
    return read_catalog(text or catalogue(), source, go, suite)


def keys(catalog: Catalog) -> dict[str, str]:
    return {
        name: entry.key
        for name, entry in {
            **{f"bin/{k}": v for k, v in catalog.binaries.items()},
            **{f"crd/{k}": v for k, v in catalog.definitions.items()},
            **catalog.images,
        }.items()
    }


def test_reading_twice_gives_the_same_keys(source: Path) -> None:
    assert keys(read(source)) == keys(read(source))


def test_versions_come_from_locks(source: Path) -> None:
    catalog = read(source)
    assert catalog.images["tool"].ref == "example.org/tool:v3.7.15"
    assert (catalog.definitions["things"].module, catalog.definitions["things"].version) == ("example.org/other", "v0.1.0")
    assert catalog.binaries["server"].ldflags == "-X v=v1.37.2 -X m=37"
    assert catalog.images["server"].ref == "example.org/server:v1.37.2"
    assert catalog.images["app"].ref == f"example.org/app:{catalog.images['app'].key}"


def append(name: str) -> Callable[[Path], None]:
    return lambda source: (source / name).write_text((source / name).read_text() + "# more\n") and None


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        (append("mod/go.sum"), {"bin/server", "server", "crd/things"}),
        (append("tool.lock"), {"bin/tool", "tool"}),
        (append("mod/cmd/server/main.go"), {"bin/server", "server"}),
        (append("app.lock"), {"deps", "app"}),
        (append("app/main.py"), {"app"}),
        (lambda source: (source / "app/main.py").chmod(0o755), {"app"}),
        (lambda source: (source / "app/new.py").write_text(""), {"app"}),
        (lambda source: ((source / "app/__pycache__").mkdir(), (source / "app/__pycache__/x.pyc").write_text("")), set()),
    ],
)
def test_a_changed_input_moves_what_is_made_of_it_and_nothing_else(source: Path, change: Callable[[Path], object], moved: set[str]) -> None:
    before = keys(read(source))
    change(source)
    after = keys(read(source))
    assert {name for name in before if before[name] != after[name]} == moved


def test_another_go_and_another_suite_count(source: Path) -> None:
    before = keys(read(source))
    assert {n for n, k in keys(read(source, go="go1.27.0")).items() if k != before[n]} == {"bin/server", "server"}
    assert {n for n, k in keys(read(source, suite="trixie")).items() if k != before[n]} == {"base", "deps", "app"}


def test_lineage_is_from_the_lowest_up(source: Path) -> None:
    assert [image.name for image in read(source).lineage("app")] == ["base", "deps", "app"]


@pytest.mark.parametrize(
    ("kind", "name", "recipe", "says"),
    [
        ("images", "app", {"base": "nothing"}, "image app is based on nothing"),
        ("images", "app", {"debain": ["x"]}, "image app has unknown field(s) debain"),
        ("binaries", "server", {"module": "mod", "package": ".", "flags": "x"}, "binary server has unknown field(s) flags"),
        (
            "binaries",
            "server",
            {"module": "mod", "package": ".", "version_of": "example.org/absent"},
            "does not require example.org/absent",
        ),
        ("images", "app", {"files": {"gone": "/x"}}, "gone is named by the artifact catalogue but does not exist"),
    ],
)
def test_a_wrong_catalogue_is_refused_by_name(source: Path, kind: str, name: str, recipe: dict[str, Any], says: str) -> None:
    text = catalogue()
    text[kind][name] = recipe
    with pytest.raises(PlatformError, match="catalog") as error:
        read(source, text)
    assert says in str(error.value)


def test_a_version_is_not_taken_from_a_longer_name() -> None:
    assert module_version(GO_MOD.replace("example.org/other", "example.org/server/v2"), "example.org/server") == "v1.37.2"


def test_our_own_catalogue_reads() -> None:
    catalog = read(ROOT, yaml.safe_load((ROOT / "embedded/catalog.yml").read_text()))
    assert catalog.images["service"].ref.startswith("dcm.example/service:")
    assert all(image.recipe.get("user", "0") not in {"0", "root"} for image in catalog.images.values() if image.recipe.get("entrypoint"))
