#!/usr/bin/env python3
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the checks of this repository: one line on the screen for each, its output in build/logs, a summary in build/reports.

The steps come from the tree: a lint step per pre-commit hook, a test step per folder of tests/ that holds tests, then the service
and molecule. A failed step shows the end of its log; the others still run.
"""

from __future__ import annotations

import argparse
import fcntl
import itertools
import json
import os
import re
import subprocess
import sys
import time
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "build" / "logs"
REPORTS = ROOT / "build" / "reports"
VENV = (ROOT / ".venv").resolve() / "bin"
# Steps that run only when they are named; what they print is their purpose.
ON_DEMAND = {"bench", "test-cnpg", "test-upstream"}
# Suites that are no part of `make test`, and the order of those that are: the cheapest first.
NOT_TESTS = {"bench", "support"}
ORDER = ["repo", "unit", "charts", "integration"]
# Suites that start no server and run no chart.
BARE = {"repo", "unit"}
TAIL = 40


@dataclass
class Step:
    """One check: how it is called, and where."""

    name: str
    command: list[str]
    folder: Path = ROOT
    needs: list[str] = field(default_factory=list)
    side_by_side: bool = False


@dataclass
class Outcome:
    """What came of a step; this is what the summary holds."""

    name: str
    ok: bool
    seconds: float
    log: str
    tests: int | None = None


def lint_steps() -> list[Step]:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook["id"] for repo in config["repos"] for hook in repo["hooks"]]
    return [
        Step(f"lint-{hook}", [str(VENV / "pre-commit"), "run", hook, "--all-files", "--color", "never"], side_by_side=True)
        for hook in hooks
    ]


def suite_step(suite: str, *needs: str) -> Step:
    name = f"test-{suite}"
    command = [str(VENV / "python"), "-m", "pytest", f"--junitxml={REPORTS / name}.xml", f"tests/{suite}"]
    return Step(name, command, ROOT, list(needs), side_by_side=suite in BARE)


def suites() -> list[str]:
    found = {path.parent.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").glob("*/**/test_*.py")} - NOT_TESTS
    return sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def test_steps() -> list[Step]:
    binaries = Step("test-binaries", [str(VENV / "ansible-playbook"), "tests/support/binaries.yml"])
    bare = [suite_step(suite) for suite in suites() if suite in BARE]
    others = [suite_step(suite, binaries.name) for suite in suites() if suite not in BARE]
    sanity = Step("test-sanity", [str(ROOT / "scripts/sanity")], side_by_side=True)
    bench = Step("bench", [str(VENV / "python"), "-m", "pytest", "-q", "-s", "tests/bench"], ROOT, [binaries.name])
    molecule = Step("test-molecule", [str(VENV / "molecule"), "test", "--all"])
    return [*bare, sanity, binaries, *others, *service_steps(), molecule, bench]


def service_steps() -> list[Step]:
    """The service has a toolchain of its own."""
    service = ROOT / "services"
    python = service / ".venv/bin/python"
    venv = Step("test-services-venv", ["../scripts/bootstrap", ".venv", "requirements-dev.lock"], service)
    types = Step("test-services-types", [str(python), "-m", "mypy"], service, [venv.name])
    report = f"--junitxml={REPORTS / 'test-services-suite'}.xml"
    return [venv, types, Step("test-services-suite", [str(python), "-m", "pytest", report], service, [venv.name])]


def environment() -> dict[str, str]:
    """Tools of the locked toolchain first, the programs of the tests, and no settings of the caller's Ansible."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_", "PYTHON"))}
    programs = {"DCM_TEST_KUBE_BIN": str(ROOT / "build/bin")}
    return {
        **programs,
        **inherited,
        "PATH": f"{VENV}{os.pathsep}{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "PY_COLORS": "0",
    }


def run(step: Step) -> Outcome:
    log = LOGS / f"{step.name}.log"
    (REPORTS / f"{step.name}.xml").unlink(missing_ok=True)
    if not step.side_by_side:
        print(f"{step.name:<22}", end="", flush=True)
    start = time.monotonic()
    with log.open("w", encoding="utf-8") as out:
        out.write(f"$ {' '.join(step.command)}\n")
        out.flush()
        try:
            code = subprocess.run(
                step.command, cwd=step.folder, env=environment(), stdout=out, stderr=subprocess.STDOUT, check=False
            ).returncode
        except OSError as error:
            out.write(f"{error}\n")
            code = 127
        out.write(f"exit status {code}\n")
    seconds = time.monotonic() - start
    outcome = Outcome(step.name, code == 0, round(seconds, 1), str(log.relative_to(ROOT)), tests_of(step.name))
    named = f"{step.name:<22}" if step.side_by_side else ""
    print(f"{named}{'ok' if outcome.ok else 'FAILED':<7}{seconds:7.1f} s{f'  {outcome.tests} tests' if outcome.tests else ''}", flush=True)
    return outcome


def run_all(steps: list[Step]) -> list[Outcome]:
    """Steps that only read the tree run side by side, those that start servers one after another."""
    outcomes: list[Outcome] = []
    for together, group in itertools.groupby(steps, key=lambda step: step.side_by_side):
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1) if together else 1) as pool:
            outcomes += pool.map(run, group)
    return outcomes


def tests_of(name: str) -> int | None:
    report = REPORTS / f"{name}.xml"
    if not report.exists():
        return None
    return sum(int(suite.get("tests", "0")) for suite in ET.parse(report).iter("testsuite"))  # noqa: S314 - written by pytest just now


def show(outcomes: Iterable[Outcome]) -> None:
    """The end of their logs."""
    for outcome in outcomes:
        print(f"\n--- {outcome.name}: the last {TAIL} lines of {outcome.log}")
        print("\n".join((ROOT / outcome.log).read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]))


def taken_by(step: str, wanted: list[str]) -> bool:
    return any(step == name or step.startswith(f"{name}-") for name in wanted) if wanted else step not in ON_DEMAND


def chosen(wanted: list[str], steps: list[Step]) -> list[Step]:
    """Steps by name or by group: `lint` is every lint-…, `test-services` its three steps."""
    known = {step.name: step for step in steps}
    for name in wanted:
        if name not in known and not any(step.startswith(f"{name}-") for step in known):
            sys.exit(f"no step is called {name}; there are: {', '.join(known)}")
    taken = {step for step in known if taken_by(step, wanted)}
    taken.update(need for name in list(taken) for need in known[name].needs)
    return [step for step in steps if step.name in taken]


@contextmanager
def alone() -> Iterator[None]:
    """One run at a time in a clone: they share logs and reports."""
    with (LOGS / ".lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another run of the checks in this clone", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def matrix() -> str:
    """What the workflow computes its jobs from, in the form of GITHUB_OUTPUT."""
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    first, behind = (int(minor) for minor in re.fullmatch(r">=3\.(\d+),<3\.(\d+)", asked).groups())  # type: ignore[union-attr]
    return f"pythons={json.dumps([f'3.{minor}' for minor in range(first, behind)])}"


def write_summary(outcomes: list[Outcome]) -> None:
    """Results by step; those of steps that did not run this time stay."""
    path = REPORTS / "checks.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known.update({outcome.name: asdict(outcome) for outcome in outcomes})
    path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("steps", nargs="*", help="names of steps or of groups of them; all when none is given")
    parser.add_argument("--list", action="store_true", help="print the steps")
    parser.add_argument("--matrix", action="store_true", help="print the matrix of the workflow")
    arguments = parser.parse_args()
    if arguments.matrix:
        print(matrix())
        return 0
    steps = chosen(arguments.steps, [*lint_steps(), *test_steps()])
    if arguments.list:
        print("\n".join(step.name for step in steps))
        return 0
    for folder in (LOGS, REPORTS):
        folder.mkdir(parents=True, exist_ok=True)
    if not arguments.steps:
        (REPORTS / "checks.json").unlink(missing_ok=True)
    start = time.monotonic()
    with alone():
        outcomes = run_all(steps)
        write_summary(outcomes)
    failed = [outcome for outcome in outcomes if not outcome.ok]
    show(outcome for outcome in outcomes if not outcome.ok or outcome.name in ON_DEMAND)
    seconds = time.monotonic() - start
    print(f"\n{len(outcomes) - len(failed)} of {len(outcomes)} checks passed in {seconds:.0f} s; summary: build/reports/checks.json")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
