# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The releases of upstream charts that our roles ask for: what their tasks hand to role helm_release, evaluated by Ansible itself."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any

import yaml

from tests.repo.tree import ROOT, load, roles, tasks_in, under

SPECS = ("helm_release_spec", "helm_release_specs", "helm_release_values")


def asked() -> dict[str, list[dict[str, Any]]]:
    """By role that names a locked chart: the variables of each of its calls of helm_release, not yet evaluated."""
    found = {}
    for role in roles():
        texts = [path.read_text(encoding="utf-8") for path in under(str(role.relative_to(ROOT)), ".yml")]
        if not any("dcm.platform.locked_chart" in text for text in texts) or role.name == "helm_release":
            continue
        tasks = [task for path in under(f"roles/{role.name}/tasks", ".yml") for task in tasks_in(load(path))]
        calls = [
            task["vars"] for task in tasks if (task.get("ansible.builtin.include_role") or {}).get("name") == "dcm.platform.helm_release"
        ]
        found[role.name] = [{name: call.get(name) for name in SPECS if name in call} for call in calls]
    return found


def _part(role: str, index: int, call: dict[str, Any], target: pathlib.Path) -> list[dict[str, Any]]:
    folder = ROOT / "roles" / role
    files = [path for part in ("defaults", "vars") if (path := folder / part / "main.yml").exists()]
    shown = {"ansible.builtin.copy": {"content": "{{ given | to_json }}", "dest": str(target / f"{role}-{index}.json"), "mode": "0600"}}
    return [
        *({"ansible.builtin.include_vars": {"file": str(path)}} for path in files),
        {**shown, "vars": {"given": call, "role_path": str(folder)}},
    ]


def evaluate(target: pathlib.Path, inputs: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """By role, the releases of locked charts as options of the module helm_release."""
    calls = asked()
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": [task for role, given in calls.items() for index, call in enumerate(given) for task in _part(role, index, call, target)],
    }
    (target / "evaluate.yml").write_text(yaml.safe_dump([play], sort_keys=False))
    (target / "inputs.json").write_text(json.dumps({**inputs, "ansible_python_interpreter": sys.executable}))
    command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,"]
    command += [str(target / "evaluate.yml"), "-e", f"@{target / 'inputs.json'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {
        role: [
            release
            for index in range(len(given))
            for release in releases_of(json.loads((target / f"{role}-{index}.json").read_text()))
            if "chart_version" in release
        ]
        for role, given in calls.items()
    }


def releases_of(given: dict[str, Any]) -> list[dict[str, Any]]:
    """One release with its values, or the list."""
    if given.get("helm_release_spec"):
        return [{**given["helm_release_spec"], "values": given.get("helm_release_values") or []}]
    return list(given.get("helm_release_specs") or [])
