# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The bootstrap picks a Python that works, and says in one line what is missing when there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo.tree import ROOT

TOOLS = ["awk", "bash", "cat", "cut", "dirname", "env", "find", "flock", "grep", "ln", "mkdir", "mv", "paste", "readlink", "realpath", "rm"]
TOOLS += ["sed", "sh", "sha256sum", "touch", "tr", "xargs"]
WITHOUT_VENV = 4


class Machine:
    """A PATH and a home of its own, so that nothing of this machine is found but the tools named above."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.home = folder / "home"
        for made in (self.bin, self.home):
            made.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))

    def python(self, name: str, text: str, folder: Path | None = None) -> Path:
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    def bootstrap(self, **environment: str) -> subprocess.CompletedProcess[str]:
        settings = {"PATH": str(self.bin), "HOME": str(self.home), **environment}
        command = [str(ROOT / "scripts/bootstrap"), str(self.home / "link")]
        return subprocess.run(command, env=settings, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line


def test_no_python_at_all(machine: Machine) -> None:
    assert "no Python 3.11 to 3.14 was found" in one_line(machine.bootstrap())


def test_a_shim_that_prints_an_error_is_no_python(machine: Machine) -> None:
    machine.python("python3.13", "echo 'python3.13: command not found' >&2; exit 127")
    assert "no Python 3.11 to 3.14 was found" in one_line(machine.bootstrap())


def test_the_missing_package_is_named(machine: Machine) -> None:
    machine.python("python3.11", f"exit {WITHOUT_VENV}")
    assert one_line(machine.bootstrap()).endswith("cannot make virtual environments; on Debian: apt-get install python3-venv")


def test_a_given_python_has_to_run(machine: Machine) -> None:
    assert "PYTHON=/nowhere/python3 does not run" in one_line(machine.bootstrap(PYTHON="/nowhere/python3"))


def test_a_given_python_has_to_be_supported(machine: Machine) -> None:
    old = machine.python("old", "exit 3")
    assert "is not one of Python 3.11 to 3.14" in one_line(machine.bootstrap(PYTHON=str(old)))


def choice(machine: Machine) -> str:
    """Which interpreter makes the environment: each fake one says its name when it is asked for a venv, and goes no further."""
    done = machine.bootstrap()
    assert done.returncode != 0
    return done.stderr.strip()


def fake(minor: int, name: str) -> str:
    return f'if [ "$1" = -c ]; then echo "{minor} 3.{minor}.0 $0"; else echo "{name} makes it" >&2; exit 9; fi'


def test_the_newest_that_works_is_taken(machine: Machine) -> None:
    machine.python("python3.11", fake(11, "eleven"))
    machine.python("python3.12", fake(12, "twelve"))
    machine.python("python3.13", "exit 127")
    machine.python("python3.14", f"exit {WITHOUT_VENV}")
    assert choice(machine) == "twelve makes it"


def test_pyenv_is_looked_at_too(machine: Machine) -> None:
    machine.python("python3.12", fake(12, "twelve"))
    machine.python("python3.13", fake(13, "thirteen"), machine.home / ".pyenv/versions/3.13.1/bin")
    assert choice(machine) == "thirteen makes it"


def test_an_interrupted_install_is_no_environment(machine: Machine) -> None:
    """What a first run left half done is removed by the next one, and nothing points at it."""
    machine.python("python3.12", fake(12, "twelve"))
    choice(machine)
    assert not (machine.home / "link").is_symlink()
    assert not list((machine.home / ".cache/dcm-platform/venv").glob("*/.complete"))
    assert choice(machine) == "twelve makes it"


def test_an_installed_environment_is_only_pointed_at(machine: Machine) -> None:
    nothing = shutil.which("true")
    make = f'mkdir -p "$3/bin"; ln -s {nothing} "$3/bin/python"; ln -s {nothing} "$3/bin/uv"'
    machine.python("python3.12", f'if [ "$1" = -c ]; then echo "12 3.12.0 $0"; else {make}; fi')
    first = machine.bootstrap()
    assert first.returncode == 0, first.stderr
    assert "installing requirements.lock" in first.stdout
    again = machine.bootstrap()
    assert (again.returncode, again.stdout) == (0, "")
    assert (machine.home / "link").resolve().parent == machine.home / ".cache/dcm-platform/venv"


def test_this_environment_is_the_one_of_the_lock() -> None:
    """The toolchain that runs the tests was made from the lock of this tree."""
    prefix = Path(sys.prefix)
    assert (prefix / ".complete").is_file()
    assert Path(os.path.realpath(ROOT / ".venv")) == prefix.resolve()
