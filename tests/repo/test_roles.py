# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every role: its documents, its inputs said once, its size."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.repo.tree import ROOT, load, named, roles, short, tasks_in, under

ROLES = roles()
LIMITS = {"tasks/main.yml": 40, "tasks": 80, "handlers": 80, "defaults": 120, "templates": 100}
SECRET = re.compile(r"(password|passphrase|token|private_key|signing_key|credential)s?$")
each_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def options(role: Path) -> dict[str, dict[str, Any]]:
    specs = load(role / "meta/argument_specs.yml")["argument_specs"]
    found: dict[str, dict[str, Any]] = {}
    for entry in specs.values():
        found.update(entry.get("options") or {})
    return found


def defaults(role: Path) -> dict[str, Any]:
    path = role / "defaults/main.yml"
    return (load(path) or {}) if path.exists() else {}


def leaves(given: dict[str, dict[str, Any]], prefix: str = "") -> list[tuple[str, dict[str, Any]]]:
    """All options with their path, suboptions too."""
    found = []
    for name, option in given.items():
        found += [(f"{prefix}{name}", option), *leaves(option.get("options") or {}, f"{prefix}{name}.")]
    return found


@each_role
def test_documents(role: Path) -> None:
    wanted = ["README.md", "meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml"]
    assert not [name for name in wanted if not (role / name).is_file()]


@each_role
def test_specs_equal_defaults(role: Path) -> None:
    """Own inputs: same names, same order, same values. An input of the inventory (platform_…) has no default of a role.

    A number or a switch that comes from the inventory is a template in defaults; specs can only hold values of the option's type. A list of
    dictionaries as well: its specs have no default then.
    """
    own = {name: option for name, option in options(role).items() if not name.startswith("platform_") and not option.get("required")}
    given = defaults(role)
    assert list(given) == list(own)
    values = {"int", "float", "bool", "dict"}
    templates = {name for name, option in own.items() if option["type"] in values and isinstance(given[name], str)}
    assert not [name for name in templates if "default" in own[name]]
    lists = {name for name, option in own.items() if option.get("elements") == "dict" and "default" not in option}
    templates |= {name for name in lists if isinstance(given[name], str)}
    assert {name: value for name, value in given.items() if name not in templates} == {
        name: option.get("default") for name, option in own.items() if name not in templates
    }


@each_role
def test_names_of_inputs(role: Path) -> None:
    foreign = [name for name in options(role) if not name.startswith((f"{role.name}_", "platform_"))]
    assert not foreign, "an input of a role starts with the role's name"


@each_role
def test_every_option_is_typed_and_described(role: Path) -> None:
    poor = [path for path, option in leaves(options(role)) if "type" not in option or not option.get("description")]
    untyped_lists = [path for path, option in leaves(options(role)) if option.get("type") == "list" and "elements" not in option]
    assert not poor + untyped_lists


@each_role
def test_secret_inputs_are_not_logged(role: Path) -> None:
    secret = [(path, option) for path, option in leaves(options(role)) if SECRET.search(path) and option.get("type") in ("str", None)]
    assert not [path for path, option in secret if option.get("no_log") is not True]


@each_role
def test_platform_inputs_are_read_in_defaults_only(role: Path) -> None:
    """Whoever reads a role finds all that it takes in one file. The guard is the exception: checking these inputs is its purpose."""
    if role.name == "guard":
        return
    found = []
    for part in ("tasks", "handlers", "templates", "vars"):
        for path in under(f"{short(role)}/{part}"):
            lines = path.read_text(encoding="utf-8").splitlines()
            found += [f"{short(path)}:{number}" for number, line in enumerate(lines, 1) if re.search(r"(?<![\w.])platform_[a-z]", line)]
    assert not found


@each_role
def test_internal_names_start_with_two_underscores(role: Path) -> None:
    path = role / "vars/main.yml"
    names = (load(path) or {}) if path.exists() else {}
    for path in under(f"{short(role)}/tasks", ".yml"):
        for task in tasks_in(load(path)):
            names = {**names, **(task.get("ansible.builtin.set_fact") or {})}
            names = {**names, **({task["register"]: None} if isinstance(task.get("register"), str) else {})}
            names = {**names, **({task["loop_control"]["loop_var"]: None} if "loop_var" in task.get("loop_control", {}) else {})}
    assert not [name for name in names if not name.startswith(f"__{role.name}_") and name != "cacheable"]


@each_role
def test_sizes(role: Path) -> None:
    found = []
    for path in under(short(role)):
        inside = path.relative_to(role)
        limit = LIMITS.get(str(inside)) or LIMITS.get(inside.parts[0])
        if limit and (lines := len(path.read_text(encoding="utf-8").splitlines())) > limit:
            found.append(f"{short(path)}: {lines} lines, at most {limit}")
    assert not found


def readme_table() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- roles:.*?-->(.*?)<!-- end of roles -->", text, re.DOTALL)
    assert found, "README.md has no table of roles between its two comments"
    return found.group(1)


def test_table_of_the_readme_says_what_the_specs_say() -> None:
    rows = {role.name: load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["short_description"] for role in ROLES}
    wanted = "\n".join(f"| [{name}](roles/{name}/) | {short_description} |" for name, short_description in rows.items())
    assert wanted in readme_table(), f"the table should be:\n{wanted}"


TASK_FILES = named("roles/*/tasks/*.yml", "roles/*/tasks/*/*.yml", "roles/*/handlers/*.yml", "playbooks/*.yml", "playbooks/*/*.yml")


def all_tasks(path: Path) -> list[dict[str, Any]]:
    entries = load(path) or []
    plays = [entry for entry in entries if "hosts" in entry or "ansible.builtin.import_playbook" in entry]
    if not plays:
        return tasks_in(entries)
    return [task for play in plays for part in ("pre_tasks", "tasks", "post_tasks", "handlers") for task in tasks_in(play.get(part))]


@pytest.mark.parametrize("path", TASK_FILES, ids=short)
def test_names_of_tasks(path: Path) -> None:
    """'Verb object', at most 50 characters."""
    names = [str(task.get("name", "")) for task in all_tasks(path)]
    assert not [name for name in names if not re.match(r"[A-Z][a-z]+ \S", name) or len(name) > 50]


@pytest.mark.parametrize("path", TASK_FILES, ids=short)
def test_loops_show_a_name(path: Path) -> None:
    loops = [task for task in all_tasks(path) if "loop" in task]
    assert not [task["name"] for task in loops if not {"loop_var"} <= set(task.get("loop_control", {}))]


@pytest.mark.parametrize("path", TASK_FILES, ids=short)
def test_commands_give_a_reason(path: Path) -> None:
    """A command says how it changes things, and a comment right above the module says why it is no module."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = []
    for number, line in enumerate(lines):
        if re.match(r"\s+ansible\.builtin\.(command|shell|raw|script):", line):
            above = lines[max(0, number - 6) : number]
            start = max((index for index, text in enumerate(above) if "- name:" in text), default=0)
            comment = any(text.lstrip().startswith("#") for text in [*above[start:], *above[max(0, start - 1) : start]])
            found += [] if comment else [f"{short(path)}:{number + 1}"]
    assert not found


def test_commands_are_rare() -> None:
    tasks = [task for path in TASK_FILES for task in all_tasks(path)]
    commands = [task["name"] for task in tasks if any(f"ansible.builtin.{name}" in task for name in ("command", "shell", "raw", "script"))]
    assert len(commands) <= 0.05 * len(tasks), commands


def test_no_copied_task() -> None:
    """The same three tasks in a row at two places belong into one file."""
    seen: dict[str, str] = {}
    found = []
    for path in TASK_FILES:
        bodies = [repr({key: value for key, value in task.items() if key != "name"}) for task in all_tasks(path)]
        for index in range(len(bodies) - 2):
            window = "\n".join(bodies[index : index + 3])
            if window in seen and seen[window] != short(path):
                found.append(f"{short(path)} repeats {seen[window]}: {window[:120]}")
            seen[window] = short(path)
    assert not found
