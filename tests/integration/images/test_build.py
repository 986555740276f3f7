# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every kind of recipe, built for real: Debian, Go, Python and Maven; and what a failed or interrupted build leaves behind."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._artifact_build import Builder, find_go, host_suite
from ansible_collections.dcm.platform.plugins.module_utils._artifact_plan import Catalog, read_catalog
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

VENV = Path(sys.executable).parent
GO_MAIN = 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("hello") }\n'
# A package without dependencies, and an artefact of Maven Central that will never change.
PYTHON_LOCK = "six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274\n"
JUNIT = "junit:junit:4.13.2:jar"
JUNIT_SHA256 = "8e495b634469d64fb8acfa3495a065cbacc8a0fff55ce1e31007be4c16dc57d3"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "mod/cmd/hello").mkdir(parents=True)
    (root / "mod/go.mod").write_text("module example\n\ngo 1.26\n")
    (root / "mod/go.sum").write_text("")
    (root / "mod/cmd/hello/main.go").write_text(GO_MAIN)
    (root / "app").mkdir()
    (root / "app/main.py").write_text("import six\n\nprint(six.__version__)\n")
    (root / "python.lock").write_text(PYTHON_LOCK)
    (root / "maven.lock").write_text(f"# an artefact a line\n{JUNIT} {JUNIT_SHA256} /jars\n")
    return root


def recipes() -> dict[str, Any]:
    return {
        "binaries": {"hello": {"module": "mod", "package": "./cmd/hello", "links": ["bonjour"]}},
        "images": {
            "hello": {"ref": "example.org/hello:{key}", "go": ["hello"], "entrypoint": ["/hello"], "user": "65532:65532"},
            "python": {"debian": ["python3-minimal", "libpython3-stdlib"], "users": {"app": 10001}},
            "dependencies": {"base": "python", "python": {"lock": "python.lock", "target": "/app/packages"}},
            "app": {
                "base": "dependencies",
                "ref": "example.org/app:{key}",
                "files": {"app": "/app/code"},
                "entrypoint": ["/usr/bin/python3"],
            },
            "jars": {"ref": "example.org/jars:{key}", "maven": {"lock": "maven.lock"}, "dirs": {"/data": "root"}},
        },
    }


class Bench:
    """A catalogue, a cache and the builder between them."""

    def __init__(self, source: Path, cache: Path) -> None:
        go, version = find_go(["go", str(VENV / "go")])
        suite = host_suite(Path("/etc/os-release").read_text())
        self.said: list[str] = []
        self.catalog: Catalog = read_catalog(recipes(), source, version, suite)
        self.builder = Builder(self.catalog, source, cache, {"go": go, "uv": str(VENV / "uv")}, self.said.append)

    def build(self, *names: str) -> Path:
        """Build images with all that they need; returns the folder of the last one."""
        for name in names:
            image = self.catalog.images[name]
            for binary in image.recipe.get("go", []):
                if not self.builder.binary_path(self.catalog.binaries[binary]).exists():
                    self.builder.build_binary(self.catalog.binaries[binary])
            self.builder.build_image(image)
        return self.builder.image_path(self.catalog.images[names[-1]])

    def unpack(self, name: str, target: Path) -> Path:
        """The file system of an image, from the layers in its archive and in their order."""
        with tarfile.open(self.builder.image_path(self.catalog.images[name]) / "image.tar") as archive:
            index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]
            manifest = json.load(archive.extractfile("blobs/" + index["manifests"][0]["digest"].replace(":", "/")))  # type: ignore[arg-type]
            for layer in manifest["layers"]:
                data = archive.extractfile("blobs/" + layer["digest"].replace(":", "/")).read()  # type: ignore[union-attr]
                with tarfile.open(fileobj=io.BytesIO(data)) as content:
                    content.extractall(target, filter="tar")
        return target


@pytest.fixture
def bench(source: Path, tmp_path: Path) -> Bench:
    return Bench(source, tmp_path / "cache")


def test_a_go_image_holds_one_static_program(bench: Bench, tmp_path: Path) -> None:
    bench.build("hello")
    root = bench.unpack("hello", tmp_path / "root")
    assert [path.name for path in root.iterdir()] == ["hello"]
    assert subprocess.run([root / "hello"], capture_output=True, text=True, check=True).stdout == "hello\n"
    assert (bench.builder.binary_path(bench.catalog.binaries["hello"]) / "bonjour").readlink() == Path("hello")


def test_python_code_runs_compiled_in_its_image(bench: Bench, tmp_path: Path) -> None:
    bench.build("python", "dependencies", "app")
    root = bench.unpack("app", tmp_path / "root")
    command = ["/usr/sbin/chroot", str(root), "/usr/bin/python3", "/app/code/main.py"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": "/app/packages"})
    assert (result.stdout, result.stderr) == ("1.17.0\n", "")
    assert list((root / "app/packages/__pycache__").glob("six.*.pyc"))
    assert not (root / "bin/sh").exists(), "no shell where none is needed"
    assert "app:x:10001" in (root / "etc/passwd").read_text()


def test_a_maven_artefact_is_checked_and_placed(bench: Bench, tmp_path: Path) -> None:
    bench.build("jars")
    jar = bench.unpack("jars", tmp_path / "root") / "jars/junit-4.13.2.jar"
    assert hashlib.sha256(jar.read_bytes()).hexdigest() == JUNIT_SHA256


def test_another_artefact_than_the_locked_one_is_refused(source: Path, tmp_path: Path) -> None:
    (source / "maven.lock").write_text(f"{JUNIT} {'0' * 64} /jars\n")
    bench = Bench(source, tmp_path / "cache")
    with pytest.raises(PlatformError, match=f"{JUNIT} has sha256 {JUNIT_SHA256}, the lock says 000"):
        bench.build("jars")
    assert not bench.builder.image_path(bench.catalog.images["jars"]).exists()


def test_a_failed_build_leaves_nothing_and_names_its_log(source: Path, tmp_path: Path) -> None:
    (source / "mod/cmd/hello/main.go").write_text("package main\n\nfunc main() { undefined() }\n")
    bench = Bench(source, tmp_path / "cache")
    with pytest.raises(PlatformError, match=r"building hello failed \(go exit 1\); the whole log is .*hello.log") as error:
        bench.build("hello")
    assert "undefined: undefined" in str(error.value)
    assert list((tmp_path / "cache/bin").iterdir()) == []


def test_the_same_recipe_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    images = []
    for name in ("one", "two"):
        folder = Bench(source, tmp_path / name).build("hello")
        images.append((folder / "image.tar").read_bytes())
    assert images[0] == images[1]
