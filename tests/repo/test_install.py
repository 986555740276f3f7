# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection works from the clone and, built and installed from its archive, from anywhere else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.repo.tree import ROOT, files, load, named, short, under

PLAYBOOKS = sorted(path for path in under("playbooks", ".yml") if path.parent == ROOT / "playbooks")
BIN = Path(sys.executable).parent
# What a run reads at run time, from inside the collection.
NEEDED = (
    "playbooks",
    "roles",
    "plugins",
    "charts",
    "embedded",
    "services",
    "meta",
    "LICENSE",
    "README.md",
    "requirements.txt",
    "bindep.txt",
)


def call(*command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """From that folder, with the settings that Ansible finds there."""
    inherited = {name: value for name, value in os.environ.items() if name != "ANSIBLE_CONFIG"}
    return subprocess.run(command, cwd=folder, env={**inherited, **environment}, capture_output=True, text=True, check=False)


def run(*command: str, folder: Path, **environment: str) -> None:
    done = call(*command, folder=folder, **environment)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean clone: only the files that are part of the repository, so that nothing of this working copy helps."""
    target = tmp_path_factory.mktemp("clone")
    for path in files():
        copy = target / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
        copy.chmod(path.stat().st_mode)
    link = target / "collections/ansible_collections/dcm"
    link.mkdir(parents=True, exist_ok=True)
    (link / "platform").symlink_to("../../..")
    return target


@pytest.fixture(scope="session")
def archive(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    run(str(BIN / "ansible-galaxy"), "collection", "build", "--output-path", str(target), folder=clone)
    (found,) = target.glob("dcm-platform-*.tar.gz")
    return found


@pytest.fixture(scope="session")
def installed(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    command = ("collection", "install", str(archive), "--collections-path", str(target), "--no-deps", "--offline")
    run(str(BIN / "ansible-galaxy"), *command, folder=target, ANSIBLE_GALAXY_CACHE_DIR=str(target / "cache"))
    return target


def test_archive_is_named_after_the_version(archive: Path) -> None:
    assert archive.name == f"dcm-platform-{load(ROOT / 'galaxy.yml')['version']}.tar.gz"


def test_archive_holds_what_a_run_needs_and_nothing_else(archive: Path) -> None:
    with tarfile.open(archive) as content:
        names = [member.name for member in content.getmembers() if not member.isdir()]
    wanted = [short(path) for path in files() if short(path).split("/")[0] in NEEDED]
    assert not [name for name in wanted if name not in names and not name.startswith("services/tests/")]
    unwanted = re.compile(
        r"^(\.git|\.ci|\.venv|build/|dist/|collections/ansible_collections|molecule/|tests/(repo|unit|integration|charts|bench))|\.pyc$"
    )
    assert not [name for name in names if unwanted.search(name)]
    assert archive.stat().st_size < 5_000_000


def test_playbooks_resolve_from_the_installed_collection(installed: Path) -> None:
    """By their full names, from a folder that has nothing to do with the clone."""
    names = [f"dcm.platform.{path.stem}" for path in PLAYBOOKS]
    command = (str(BIN / "ansible-playbook"), *names, "--syntax-check", "-i", str(ROOT / "inventories/local"))
    run(*command, folder=installed, ANSIBLE_COLLECTIONS_PATH=str(installed))


@pytest.mark.parametrize("environment", ["local", "dev", "staging", "production"])
def test_playbooks_resolve_in_every_environment(environment: str, clone: Path) -> None:
    names = [short(path) for path in PLAYBOOKS] if environment == "local" else ["playbooks/site.yml"]
    run(str(BIN / "ansible-playbook"), *names, "--syntax-check", "-i", f"inventories/{environment}", folder=clone)


def test_without_an_inventory_nothing_runs(clone: Path) -> None:
    done = call(str(BIN / "ansible-playbook"), "playbooks/site.yml", folder=clone)
    assert done.returncode != 0
    assert re.search(r"Could not match supplied host pattern|-i inventories/", done.stdout + done.stderr)
    assert "changed=1" not in done.stdout


@pytest.mark.parametrize("path", PLAYBOOKS, ids=short)
def test_playbook_begins_with_the_guard(path: Path) -> None:
    """Unless it touches no site: all that it does happens on this machine, without an inventory."""
    if path.name == "guard.yml" or all(play.get("hosts") == "localhost" for play in load(path)):
        return
    first = load(path)[0].get("ansible.builtin.import_playbook", "")
    assert first == "guard.yml" or load(path.parent / first)[0]["ansible.builtin.import_playbook"] == "guard.yml"


def test_plays_are_for_the_platform_group() -> None:
    plays = [(path, play) for path in named("playbooks/*.yml") for play in load(path) if "hosts" in play]
    assert plays
    assert not [
        f"{short(path)}: {play.get('name')}" for path, play in plays if play["hosts"] == "all" or play.get("gather_facts") is not False
    ]
