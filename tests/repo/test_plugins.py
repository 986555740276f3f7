# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every plugin: documented, typed, small, and registered where Ansible looks."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.repo.tree import ROOT, load, named, plugins, short, under

MODULES = plugins("modules")
DOCUMENTED = [*MODULES, *plugins("filter"), *plugins("lookup"), *plugins("callback"), *plugins("inventory")]
CODE = [*under("plugins", ".py"), *under("scripts", ".py")]
SECRET = re.compile(r"(password|passphrase|token|private_key|signing_key|credential)s?$")
each_module = pytest.mark.parametrize("path", MODULES, ids=short)
each_file = pytest.mark.parametrize("path", CODE, ids=short)


def constants(path: Path) -> dict[str, str]:
    """The documents of a plugin: texts assigned to upper-case names."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            found.update({target.id: node.value.value for target in node.targets if isinstance(target, ast.Name)})
    return found


def document(path: Path, name: str) -> Any:
    return yaml.safe_load(constants(path).get(name, ""))


def leaves(options: dict[str, dict[str, Any]], prefix: str = "") -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name, option in options.items():
        inner = option.get("suboptions") or option.get("contains") or {}
        found += [(f"{prefix}{name}", option), *leaves(inner, f"{prefix}{name}.")]
    return found


def test_action_group_holds_all_modules() -> None:
    group = load(ROOT / "meta/runtime.yml")["action_groups"]["dcm"]
    assert group == sorted(path.stem for path in MODULES)


@pytest.mark.parametrize("path", plugins("action"), ids=short)
def test_action_plugins_have_a_documented_module(path: Path) -> None:
    assert ROOT / "plugins/modules" / path.name in MODULES


@pytest.mark.parametrize("path", DOCUMENTED, ids=short)
def test_documents(path: Path) -> None:
    found = constants(path)
    assert not [
        name
        for name in ("DOCUMENTATION", "EXAMPLES", "RETURN")
        if name not in found and not (name != "DOCUMENTATION" and "callback" in path.parts)
    ]
    plain = document(path, "DOCUMENTATION")
    assert {"short_description", "description", "author", "version_added"} <= set(plain)


@pytest.mark.parametrize("path", DOCUMENTED, ids=short)
def test_options_are_typed_and_described(path: Path) -> None:
    found = leaves(document(path, "DOCUMENTATION").get("options") or {})
    poor = [name for name, option in found if not option.get("type") or not option.get("description")]
    untyped_lists = [name for name, option in found if option.get("type") == "list" and not option.get("elements")]
    assert not poor + untyped_lists


@each_module
def test_returns_are_typed_and_described(path: Path) -> None:
    found = leaves(document(path, "RETURN") or {})
    assert found
    assert not [name for name, value in found if not value.get("type") or not value.get("description")]


@each_module
def test_examples_use_options_that_exist(path: Path) -> None:
    name = f"dcm.platform.{path.stem}"
    plain = document(path, "DOCUMENTATION")
    known = set(plain.get("options") or {})
    for fragment in plain.get("extends_documentation_fragment") or []:
        fragment_file = ROOT / "plugins/doc_fragments" / f"{fragment.split('.')[-1]}.py"
        if fragment.startswith("dcm.platform."):
            known |= set((document_of_fragment(fragment_file)).get("options") or {})
    used = [task[name] for task in document(path, "EXAMPLES") or [] if name in task]
    assert used, f"no example calls {name}"
    assert not {option for arguments in used for option in arguments or {}} - known


def document_of_fragment(path: Path) -> dict[str, Any]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return dict(yaml.safe_load(node.value.value))
    raise AssertionError(f"{path} holds no documentation")


@pytest.mark.parametrize("path", CODE, ids=short)
def test_secret_options_are_not_logged(path: Path) -> None:
    """In every argument spec written in code: `password=dict(…)` and `"password": {…}` alike."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for name, value in spec_entries(node):
            if SECRET.search(name) and value.get("type") in ("str", "list", "dict") and value.get("no_log") is not True:
                found.append(f"{short(path)}:{getattr(node, 'lineno', 0)}: {name}")
    assert not found


def spec_entries(node: ast.AST) -> list[tuple[str, dict[str, Any]]]:
    pairs: list[tuple[str, ast.expr]] = []
    if isinstance(node, ast.Dict):
        pairs = [
            (key.value, value)
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        ]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        pairs = [(word.arg, word.value) for word in node.keywords if word.arg]
    return [(name, literal(value)) for name, value in pairs]


def literal(node: ast.expr) -> dict[str, Any]:
    """A literal dictionary, whichever way it is written; empty for anything else."""
    pairs: list[tuple[Any, ast.expr]] = []
    if isinstance(node, ast.Dict):
        pairs = [(key.value, value) for key, value in zip(node.keys, node.values, strict=True) if isinstance(key, ast.Constant)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        pairs = [(word.arg, word.value) for word in node.keywords]
    return {name: value.value for name, value in pairs if isinstance(value, ast.Constant)}


def code_lines(text: str) -> int:
    """Lines that hold code: no comments, no blank lines, no documents or docstrings."""
    tree = ast.parse(text)
    documents: set[int] = set()
    for node in ast.walk(tree):
        constant = getattr(node, "value", None)
        is_document = isinstance(node, ast.Expr) or (isinstance(node, ast.Assign) and node in tree.body)
        if is_document and isinstance(constant, ast.Constant) and isinstance(constant.value, str):
            documents.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER}
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in skipped]
    lines = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    return len(lines - documents)


@pytest.mark.parametrize("path", [*MODULES, *plugins("action")], ids=short)
def test_modules_and_actions_are_thin(path: Path) -> None:
    assert code_lines(path.read_text(encoding="utf-8")) <= 120


@each_file
def test_functions_are_short(path: Path) -> None:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            start = node.body[1].lineno if ast.get_docstring(node) and len(node.body) > 1 else node.body[0].lineno
            lines = (node.end_lineno or start) - start + 1
            found += [f"{short(path)}:{node.lineno} {node.name}: {lines} lines"] if lines > 30 else []
    assert not found, "functions have at most 30 lines"


@pytest.mark.parametrize("path", named("plugins/module_utils/_*.py"), ids=short)
def test_module_utils_do_not_know_ansible(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        imported |= {name.name for name in node.names} if isinstance(node, ast.Import) else set()
        imported |= {node.module or ""} if isinstance(node, ast.ImportFrom) else set()
    assert not [name for name in imported if name.split(".")[0] == "ansible"], "pure code and I/O stay free of Ansible"


@each_file
def test_no_global_state(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [f"{short(path)}:{node.lineno}" for node in ast.walk(tree) if isinstance(node, ast.Global)]
    grown = [
        node.targets[0].id
        for node in tree.body
        if isinstance(node, ast.Assign) and is_empty_container(node.value) and isinstance(node.targets[0], ast.Name)
    ]
    assert not grown, "an empty module-level list or dictionary is there to be filled"


def is_empty_container(node: ast.expr) -> bool:
    return (isinstance(node, ast.List | ast.Set) and not node.elts) or (isinstance(node, ast.Dict) and not node.keys)
