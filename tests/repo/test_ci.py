# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Continuous integration runs what a contributor runs, and all of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from tests.repo.tree import ROOT, files, load, named, short, under

WORKFLOWS = named(".github/workflows/*.yml")
HOOKS = [hook for repo in load(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job.get("steps", [])]


def listed(*steps: str) -> list[str]:
    """The steps of `make test`, or those that are named."""
    return subprocess.run(
        [sys.executable, "scripts/checks.py", "--list", *steps], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()


def test_readme_makefile_and_ci_agree_on_the_test_command() -> None:
    assert re.search(r"^make test\b", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert (ROOT / ".ci/run").read_text(encoding="utf-8").rstrip().endswith("\nmake test")
    workflow = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    assert re.search(r"\.ci/run$", workflow, re.MULTILINE)


def test_make_help_lists_what_the_readme_promises() -> None:
    shown = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not [
        name for name in ("up", "test", "verify", "down", "reset", "lint", "bench", "docs") if not re.search(rf"make {name} ", shown)
    ]


def test_every_suite_and_hook_is_a_step_of_make_test() -> None:
    suites = {path.relative_to(ROOT / "tests").parts[0] for path in under("tests") if path.name.startswith("test_")} - {"bench", "support"}
    on_demand = {"test-cnpg", "test-upstream"}
    assert {f"test-{suite}" for suite in suites} - set(listed()) == on_demand
    assert on_demand <= set(listed(*on_demand))
    assert not {f"lint-{hook['id']}" for hook in HOOKS} - set(listed())


def test_every_scenario_of_molecule_runs() -> None:
    scenarios = {path.parent.name for path in under("molecule", "molecule.yml")}
    assert "default" in scenarios
    checks = (ROOT / "scripts/checks.py").read_text(encoding="utf-8")
    assert '"test", "--all"]' in checks, "a scenario that is not named runs too"


def test_hooks_come_from_the_locked_toolchain() -> None:
    config = load(ROOT / ".pre-commit-config.yaml")
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    assert not [hook["id"] for hook in HOOKS if hook["language"] != "system" or not re.search(r"(^| )(\.venv/bin|scripts)/", hook["entry"])]


@pytest.mark.parametrize("path", WORKFLOWS, ids=short)
def test_actions_are_pinned_by_commit(path: Any) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    assert not [line for line in lines if not re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)]


@pytest.mark.parametrize("path", WORKFLOWS, ids=short)
def test_workflows_ask_for_little(path: Any) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {}
    checkouts = [step for step in steps(workflow) if "actions/checkout" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)
    assert not [name for name, job in workflow["jobs"].items() if "timeout-minutes" not in job]


def test_all_green_waits_for_every_job() -> None:
    jobs = load(ROOT / ".github/workflows/ci.yml")["jobs"]
    assert set(jobs["all-green"]["needs"]) == set(jobs) - {"all-green"}


def test_matrix_is_the_supported_pythons() -> None:
    printed = subprocess.run([sys.executable, "scripts/checks.py", "--matrix"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert json.loads(printed.removeprefix("pythons=")) == ["3.11", "3.12", "3.13", "3.14"]


def test_scripts_can_be_run() -> None:
    scripts = [path for path in files() if short(path).startswith(("scripts/", ".ci/")) and path.read_bytes()[:2] == b"#!"]
    assert scripts
    assert not [short(path) for path in scripts if not path.stat().st_mode & 0o111]


def test_lint_has_no_exceptions() -> None:
    config = load(ROOT / ".ansible-lint")
    assert config["profile"] == "production"
    assert not config["skip_list"]
    assert not config["warn_list"]
    assert not [short(path) for path in files() if path.name == ".ansible-lint-ignore"]
    marks = re.compile(r"#\s*noqa\b(?!: [A-Z]+\d+)|#\s*type: ignore(?!\[)|yamllint disable")
    found = [short(path) for path in files() if path.suffix in {".py", ".yml", ".yaml"} and marks.search(path.read_text(encoding="utf-8"))]
    assert not [name for name in found if name != "tests/repo/test_ci.py"]


def test_no_test_is_skipped() -> None:
    pattern = re.compile(r"pytest\.(mark\.)?(skip|skipif|xfail|importorskip)\b|unittest\.skip")
    found = [
        short(path)
        for path in files()
        if "tests" in path.parts and path.suffix == ".py" and pattern.search(path.read_text(encoding="utf-8"))
    ]
    assert not [name for name in found if name != "tests/repo/test_ci.py"]


def test_renovate_finds_the_locked_charts() -> None:
    """Its expressions match every chart of the lock, and what they leave behind is an entry without the digest of another version."""
    managers = json.loads((ROOT / ".github/renovate.json").read_text(encoding="utf-8"))["customManagers"]
    text = (ROOT / "charts/lock.yml").read_text(encoding="utf-8")
    found: set[tuple[str, str]] = set()
    for manager in managers:
        (expression,) = (re.compile(wanted.replace("(?<", "(?P<")) for wanted in manager["matchStrings"])
        for match in expression.finditer(text):
            found.add((match["depName"], match["currentValue"]))
            values = {**match.groupdict(), "newValue": "9.9.9"}
            replaced = re.sub(r"{{{(\w+)}}}", lambda name, values=values: values[name[1]], manager["autoReplaceStringTemplate"])
            bumped = load_text(text.replace(match[0], replaced))
            assert [entry["sha256"] for entry in bumped.values() if entry["version"] == "9.9.9"] == [None]
            assert len(bumped) == len(load_text(text))
    assert found == {(entry["chart"], entry["version"]) for entry in load_text(text).values()}


def load_text(text: str) -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(text)["charts"])
