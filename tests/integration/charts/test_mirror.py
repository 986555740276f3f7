# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Charts and images go into a folder or a registry, and come back from there without anything else being asked."""

from __future__ import annotations

import json
import pathlib
import tarfile

from tests.integration.charts.conftest import Registry, Site
from tests.integration.charts.test_lock import digest


def locked(site: Site, *names: str, image: str = "registry.example/web:1") -> dict[str, str]:
    digests = {name: digest(site.add(name, image=image)) for name in names}
    site.write_lock(*names, **{name: {"sha256": value, "app_version": '"7"'} for name, value in digests.items()})
    return digests


def test_a_folder(site: Site) -> None:
    digests = locked(site, "one", "two")
    target = site.folder / "air"
    checked = site.playbook("charts_mirror", "--check", charts_folder=str(target))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert not target.exists()

    done = site.playbook("charts_mirror", charts_folder=str(target))
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name: digest(path) for path in target.glob("*.tgz")} == {f"{name}-1.0.0.tgz": value for name, value in digests.items()}
    packages = json.loads((target / "charts.json").read_text())["packages"]
    assert [(package["name"], package["licence"], package["locked"]) for package in packages] == [
        ("one", "MIT", True),
        ("two", "MIT", True),
    ]
    assert packages[0]["images"] == ["registry.example/reloader:v2", "registry.example/web:1"]
    assert "changed=0" in site.playbook("charts_mirror", charts_folder=str(target)).stdout

    (target / "one-1.0.0.tgz").write_bytes(b"half")
    site.task("chart_packages", folder=str(target))
    assert site.result()["copied"] == ["one"]


def test_a_wrong_package_goes_nowhere(site: Site) -> None:
    locked(site, "one")
    site.add("one", image="registry.example/web:evil")
    target = site.folder / "air"
    done = site.playbook("charts_mirror", charts_folder=str(target))
    assert done.returncode != 0
    assert "chart_digest says" in " ".join(done.stdout.split())
    assert not list(target.glob("*.tgz"))


def test_a_registry(site: Site, registry: Registry) -> None:
    """helm pushes, and what comes back has the locked digest."""
    digests = locked(site, "pushed", "other")
    options = {"registry": registry.url, "plain_http": True}
    site.task("chart_packages", **options)
    assert site.result()["copied"] == ["pushed", "other"], site.result()
    assert registry.tags("charts/pushed") == ["1.0.0"]
    site.task("chart_packages", **options)
    assert site.result()["changed"] is False

    asked = len(site.asked)
    mirror = {"type": "mirror", "url": registry.url, "plain_http": True}
    site.task("chart_packages", source=mirror, folder=str(site.folder / "back"), chart_cache=str(site.folder / "fresh"))
    assert {package["name"]: package["sha256"] for package in site.result()["packages"]} == digests
    assert len(site.asked) == asked


def test_images(site: Site, registry: Registry, tmp_path: pathlib.Path) -> None:
    """Into archives in a folder, and below a registry; one that cannot be had is named, the others are copied."""
    image = registry.push_image("upstream/web:1", tmp_path)
    digests = locked(site, "imaged", image=image)
    assert digests
    target = site.folder / "air"
    site.task("chart_packages", folder=str(target), copy_images=True, crane_path=registry.crane)
    (archive,) = (target / "images").glob("*.tar")
    with tarfile.open(archive) as content:
        assert "manifest.json" in content.getnames()
    assert [problem for problem in site.result()["problems"] if "image registry.example/reloader:v2 cannot be copied" in problem]
    assert (target / "imaged-1.0.0.tgz").is_file()

    mirror = f"oci://127.0.0.1:{registry.port}/mirror"
    site.task("chart_packages", registry=mirror, plain_http=True, copy_images=True, crane_path=registry.crane)
    assert site.result()["copied_images"] == [image]
    assert registry.tags(f"mirror/127.0.0.1_{registry.port}/upstream/web") == ["1"]
    site.task("chart_packages", registry=mirror, plain_http=True, copy_images=True, crane_path=registry.crane)
    assert site.result()["changed"] is False


def test_what_cannot_be_done_is_said(site: Site) -> None:
    locked(site, "one")
    for options, said in (
        ({"copy_images": True}, "copy_images needs a folder or a registry"),
        ({"copy_images": True, "folder": "/none", "crane_path": "/none/crane"}, "crane, which is not at '/none/crane'"),
        ({"registry": "https://registry.example"}, "has to begin with oci://"),
        ({"source": {"type": "folder", "path": "/none"}}, "chart /none/one-1.0.0.tgz cannot be read"),
    ):
        site.task("chart_packages", **options)
        assert said in site.result()["msg"], site.result()["msg"]
    assert "Give -e charts_folder" in site.playbook("charts_mirror").stdout


def test_a_folder_needs_no_network(site: Site) -> None:
    """In a network of its own that has not even a loopback device up."""
    digests = locked(site, "one")
    target = site.folder / "air"
    site.task("chart_packages", folder=str(target))
    asked = len(site.asked)
    source = {"type": "folder", "path": str(target)}
    alone = ("unshare", "--net", "--")
    site.task("chart_packages", prefix=alone, source=source, folder=str(site.folder / "copy"), chart_cache=str(site.folder / "fresh"))
    assert {package["name"]: package["sha256"] for package in site.result()["packages"]} == digests
    site.task("chart_packages", prefix=alone, chart_cache=str(site.folder / "fresh"))
    assert "cannot be fetched" in site.result()["msg"]
    assert len(site.asked) == asked


def test_a_chart_whose_images_are_unknown_is_no_whole_mirror(site: Site, registry: Registry) -> None:
    """A chart may demand values; the message says which chart, and with the values all is well."""
    demand = site.folder / "source/demanding/templates/demand.yaml"
    demand.parent.mkdir(parents=True)
    demand.write_text('{{ $_ := required "say which size" .Values.size }}')
    locked(site, "demanding")
    options = {"folder": str(site.folder / "air"), "copy_images": True, "crane_path": registry.crane}
    site.task("chart_packages", "--check", **options)
    (problem,) = [problem for problem in site.result()["problems"] if "demanding" in problem]
    assert "the images of chart demanding are not known: it does not render" in problem
    assert "say which size" in problem
    site.task("chart_packages", "--check", values={"demanding": {"size": 1}}, **options)
    assert not site.result()["problems"]
    assert site.result()["copied_images"] == ["registry.example/reloader:v2", "registry.example/web:1"]


def test_the_list_of_a_site(site: Site) -> None:
    """Of an inventory, from a folder; written where the site's reports are."""
    digests = locked(site, "one")
    reports = site.folder / "state/reports"
    source = {"type": "folder", "path": str(site.folder / "served")}
    given = {"platform_state_dir": str(site.folder / "state"), "platform_report_dir": str(reports), "platform_chart_source": source}
    for expected in ("changed=1", "changed=0"):
        done = site.playbook("charts_list", "-i", "inventories/local", **given)
        assert expected in done.stdout, done.stdout + done.stderr
    (package,) = json.loads((reports / "charts.json").read_text())["packages"]
    assert (package["sha256"], package["images"]) == (digests["one"], ["registry.example/reloader:v2", "registry.example/web:1"])
