# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every environment has the same variables; production has its guards on."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.repo.tree import ROOT, load, roles, short, under

ENVIRONMENTS = ["local", "dev", "staging", "production"]
each_environment = pytest.mark.parametrize("environment", ENVIRONMENTS)


def variables(environment: str) -> dict[str, dict[str, Any]]:
    """Per file of group_vars, its variables."""
    folder = ROOT / "inventories" / environment / "group_vars"
    return {str(path.relative_to(folder)): load(path) or {} for path in under(short(folder), ".yml")}


def merged(environment: str) -> dict[str, Any]:
    return {name: value for entries in variables(environment).values() for name, value in entries.items()}


def test_there_are_these_environments() -> None:
    assert sorted({path.relative_to(ROOT / "inventories").parts[0] for path in under("inventories")} - {"README.md"}) == sorted(
        ENVIRONMENTS
    )


@each_environment
def test_same_files_with_the_same_variables_in_the_same_order(environment: str) -> None:
    wanted = {name: list(entries) for name, entries in variables("local").items()}
    assert {name: list(entries) for name, entries in variables(environment).items()} == wanted


@each_environment
def test_same_types(environment: str) -> None:
    """What differs between environments is data, not shape."""
    local = merged("local")
    assert {name: type(value) for name, value in merged(environment).items()} == {name: type(value) for name, value in local.items()}


@each_environment
def test_environment_is_named_after_its_folder(environment: str) -> None:
    assert merged(environment)["platform_environment"] == environment


def test_sites_have_different_ids() -> None:
    ids = [merged(environment)["platform_site_id"] for environment in ENVIRONMENTS]
    assert len(set(ids)) == len(ids)


@each_environment
def test_groups_are_the_same(environment: str) -> None:
    assert set(load(ROOT / "inventories" / environment / "hosts.yml")) == set(load(ROOT / "inventories/local/hosts.yml"))


@each_environment
def test_no_variable_twice(environment: str) -> None:
    names = [name for entries in variables(environment).values() for name in entries]
    assert len(names) == len(set(names))


@each_environment
def test_no_secret_in_the_open(environment: str) -> None:
    secret = re.compile(r"(password|token|private_key|secret_key|signing_key)$")
    assert not [name for name, value in merged(environment).items() if secret.search(name) and value]


def test_production_is_guarded() -> None:
    production = merged("production")
    assert production["platform_confirmation"] == "typed"
    assert production["platform_deletion_protection"] is True
    assert production["platform_rollout_parallel"] == 1
    assert production["platform_services_replicas"] >= 2
    assert production["platform_profile"] == "full"
    assert production["platform_cluster_provider"] != "embedded"


def test_staging_is_guarded() -> None:
    staging = merged("staging")
    assert staging["platform_deletion_protection"] is True
    assert staging["platform_cluster_provider"] != "embedded"


def test_every_variable_is_read() -> None:
    """An inventory variable that no role, playbook or other variable names does nothing."""
    sources = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("roles", "playbooks", "plugins", "inventories", "molecule")
        for path in under(folder)
        if path.suffix in {".yml", ".py", ".j2"}
    )
    unread = [name for name in merged("local") if len(re.findall(rf"(?<!\w){name}(?!\w)(?!:)", sources)) == 0]
    assert not unread


def test_every_platform_input_is_in_the_inventories() -> None:
    """What the guard asks for is what the inventories hold."""
    asked: set[str] = set()
    for role in roles():
        specs = role / "meta/argument_specs.yml"
        for entry in load(specs)["argument_specs"].values() if specs.exists() else []:
            options = entry.get("options") or {}
            asked |= {name for name, option in options.items() if name.startswith("platform_") and option.get("required")}
    assert {name for name in merged("local") if name.startswith("platform_")} == asked
