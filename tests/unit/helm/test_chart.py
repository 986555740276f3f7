# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Charts on disk: digests, identity, and the definitions of enabled sub-charts."""

from __future__ import annotations

import io
import pathlib
import tarfile
from typing import Any

import pytest
import yaml
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._helm_chart import chart_files, crd_objects, read_chart


def definition(name: str) -> str:
    return yaml.safe_dump({"kind": "CustomResourceDefinition", "metadata": {"name": name}})


def package(files: dict[str, str | bytes], root: str = "demo") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(f"{root}/{path}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def meta(name: str, **more: Any) -> str:
    return yaml.safe_dump({"name": name, "version": "1.2.3", "appVersion": "9", **more})


def test_folder_and_package_say_the_same(tmp_path: pathlib.Path) -> None:
    files: dict[str, str | bytes] = {"templates/a.yaml": "a: 1", "Chart.yaml": meta("demo"), "crds/x.yaml": definition("x")}
    (tmp_path / "demo.tgz").write_bytes(package(files))
    for path, content in files.items():
        target = tmp_path / "demo" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(str(content))
    for path in (tmp_path / "demo.tgz", tmp_path / "demo"):
        chart = read_chart(str(path))
        assert (chart.label, chart.app_version) == ("demo-1.2.3", "9")
        assert [item["metadata"]["name"] for item in crd_objects(chart_files(str(path)), {})] == ["x"]


def test_the_digest_of_a_folder_follows_content_and_names(tmp_path: pathlib.Path) -> None:
    (tmp_path / "Chart.yaml").write_text(meta("demo"))
    (tmp_path / "a").write_text("1")
    first = read_chart(str(tmp_path)).digest
    assert read_chart(str(tmp_path)).digest == first
    (tmp_path / "a").rename(tmp_path / "b")
    second = read_chart(str(tmp_path)).digest
    (tmp_path / "b").write_text("2")
    assert len({first, second, read_chart(str(tmp_path)).digest}) == 3


@pytest.mark.parametrize("content", [b"", b"not a package", package({"values.yaml": "a: 1"})])
def test_what_is_no_chart_is_named(tmp_path: pathlib.Path, content: bytes) -> None:
    path = tmp_path / "broken.tgz"
    path.write_bytes(content)
    with pytest.raises(PlatformError, match=r"broken\.tgz"):
        read_chart(str(path))


def test_a_digest_that_differs_names_both(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "demo.tgz"
    path.write_bytes(package({"Chart.yaml": meta("demo")}))
    with pytest.raises(PlatformError, match="chart_digest says " + "0" * 64):
        read_chart(str(path), "0" * 64)


PARENT = {
    "Chart.yaml": meta(
        "demo",
        dependencies=[
            {"name": "one", "condition": "one.enabled"},
            {"name": "two", "condition": "two.enabled,global.two", "tags": ["extras"]},
            {"name": "three", "alias": "third", "condition": "third.enabled"},
        ],
    ).encode(),
    "values.yaml": b"one: {enabled: false}\nthird: {enabled: true}\n",
    "crds/own.yaml": definition("own").encode(),
    "charts/one/Chart.yaml": meta("one").encode(),
    "charts/one/crds/a.yaml": definition("one").encode(),
    "charts/two-1.tgz": package({"Chart.yaml": meta("two"), "crds/b.json": definition("two")}, root="two"),
    "charts/three/Chart.yaml": meta("three").encode(),
    "charts/three/crds/c.yml": definition("three").encode(),
    "charts/three/crds/README.md": b"no manifest",
}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {"own", "two", "three"}),
        ({"one": {"enabled": True}}, {"own", "one", "two", "three"}),
        ({"two": {"enabled": False}, "third": {"enabled": False}}, {"own"}),
        ({"tags": {"extras": False}}, {"own", "three"}),
        ({"tags": {"extras": False}, "global": {"two": True}}, {"own", "two", "three"}),
    ],
)
def test_definitions_of_enabled_sub_charts(values: dict[str, Any], expected: set[str]) -> None:
    assert {item["metadata"]["name"] for item in crd_objects(PARENT, values)} == expected
