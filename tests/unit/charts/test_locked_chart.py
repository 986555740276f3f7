# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lookup in a play: one run of Ansible asks for everything that the tests compare."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dcm.platform.plugins.module_utils._chart_lock import read_lock

ROOT = Path(__file__).resolve().parents[3]
KNOWN = next(chart for chart in read_lock((ROOT / "charts/lock.yml").read_text(encoding="utf-8")).values() if chart.sha256)
UNKNOWN = "unlocked"
SITE = {"platform_profile": "full", "platform_environment": "production", "platform_chart_source": {"type": "upstream"}}


@dataclass
class Case:
    """What is asked for, and what the site says."""

    name: str
    site: dict[str, Any] = field(default_factory=dict)
    options: str = ", lock_file=lock"


CASES = {
    "known": Case(KNOWN.name),
    "default": Case(KNOWN.name, options=", source={'type': 'upstream'}"),
    "folder": Case(KNOWN.name, {"platform_chart_source": {"type": "folder", "path": "{{ folder }}"}}),
    "warned": Case(UNKNOWN, {"platform_environment": "local"}),
    "missing": Case("none"),
    "unknown": Case(UNKNOWN),
    "unknown in a folder": Case(UNKNOWN, {"platform_environment": "staging", "platform_chart_source": {"type": "folder", "path": "/none"}}),
    "not in the folder": Case(KNOWN.name, {"platform_chart_source": {"type": "folder", "path": "/none"}}),
    "bad source": Case(KNOWN.name, {"platform_chart_source": {"type": "mirror"}}),
}


@dataclass
class Answers:
    """By case, and what was on the screen."""

    by_case: dict[str, Any]
    screen: str
    folder: Path


def block(key: str, case: Case) -> dict[str, Any]:
    """Notes the answer, or what was said instead of one."""
    asked = f"{{{{ lookup('dcm.platform.locked_chart', '{case.name}'{case.options}) }}}}"
    note = "{{ answers | combine({'%s': %s}) }}"
    return {
        "vars": {**SITE, **case.site},
        "block": [{"ansible.builtin.set_fact": {"one": asked}}, {"ansible.builtin.set_fact": {"answers": note % (key, "one")}}],
        "rescue": [{"ansible.builtin.set_fact": {"answers": note % (key, "ansible_failed_result.msg")}}],
    }


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    folder = tmp_path_factory.mktemp("locked")
    (folder / KNOWN.package).touch()
    entry = {name: getattr(KNOWN, name) for name in ("repository", "chart", "version", "app_version", "licence", "namespace")}
    entries = {KNOWN.name: {**entry, "sha256": KNOWN.sha256}, UNKNOWN: {**entry, "chart": UNKNOWN, "sha256": None}}
    (folder / "lock.yml").write_text(yaml.safe_dump({"charts": entries}), encoding="utf-8")
    tell = {"ansible.builtin.copy": {"content": "{{ answers | to_json }}", "dest": str(folder / "answers.json"), "mode": "0600"}}
    known = {"folder": str(folder), "lock": str(folder / "lock.yml"), "answers": {}, "ansible_python_interpreter": sys.executable}
    tasks = [*(block(key, case) for key, case in CASES.items()), tell]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": known, "tasks": tasks}
    (folder / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(folder / "play.yml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Answers(json.loads((folder / "answers.json").read_text()), " ".join((done.stdout + done.stderr).split()), folder)


@pytest.mark.parametrize("case", ["known", "default"])
def test_release(answers: Answers, case: str) -> None:
    assert answers.by_case[case] == {
        "name": KNOWN.name,
        "namespace": KNOWN.namespace,
        "chart_ref": KNOWN.chart,
        "chart_repo_url": KNOWN.repository,
        "chart_version": KNOWN.version,
        "chart_digest": KNOWN.sha256,
    }


def test_the_source_may_be_a_template(answers: Answers) -> None:
    found = answers.by_case["folder"]
    assert found["chart_ref"] == str(answers.folder / KNOWN.package)
    assert "chart_repo_url" not in found


def test_a_chart_of_unknown_content_is_warned_of(answers: Answers) -> None:
    assert "chart_digest" not in answers.by_case["warned"]
    assert f"[WARNING]: chart {UNKNOWN} {KNOWN.version} has no sha256 in charts/lock.yml, so its content is not checked" in answers.screen


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("missing", "no chart named none is in"),
        ("unknown", "production installs nothing of unknown content"),
        ("unknown in a folder", "staging installs nothing of unknown content"),
        ("not in the folder", f"the folder /none, which has no {KNOWN.package}"),
        ("bad source", "has to say url"),
    ],
)
def test_what_is_refused(answers: Answers, case: str, said: str) -> None:
    assert said in answers.by_case[case]
