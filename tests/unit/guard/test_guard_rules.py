# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the guards accept and refuse, as tables."""

from __future__ import annotations

import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _guard as rules

UID = "0f0b4b3e-8a7e-4d5c-9f5e-0d6b6f0a6a51"
OTHER = "1f0b4b3e-8a7e-4d5c-9f5e-0d6b6f0a6a51"


@pytest.mark.parametrize(("hosts", "refused"), [([], True), (["controller"], False)])
def test_no_inventory_is_refused(hosts: list[str], refused: bool) -> None:
    assert bool(rules.inventory_problems([], hosts)) is refused


@pytest.mark.parametrize(
    ("environment", "folder", "refused"),
    [
        ("local", "/x/inventories/local", False),
        ("local", "/x/inventories/local/", False),
        ("local", "/x/inventories/production", True),
        ("production", "/x/local/production", False),
        ("local", "", True),
    ],
)
def test_environment_is_the_folder(environment: str, folder: str, refused: bool) -> None:
    assert bool(rules.environment_problems(environment, folder)) is refused


@pytest.mark.parametrize(
    ("name", "value", "refused"),
    [
        ("platform_site_id", "local", False),
        ("platform_site_id", "Local", True),
        ("platform_site_id", "-local", True),
        ("platform_site_id", "a" * 21, True),
        ("platform_site_id", "a\nb", True),
        ("platform_site_id", "", True),
        ("platform_domain", "dcm.localhost", False),
        ("platform_domain", "dcm..localhost", True),
        ("platform_domain", "DCM.example", True),
        ("platform_cluster_uid", UID, False),
        ("platform_cluster_uid", "", False),
        ("platform_cluster_uid", UID[:-1], True),
        ("platform_services_tag", "1.4.2", False),
        ("platform_services_tag", "latest", True),
        ("platform_services_tag", "latest-1", False),
        ("platform_state_dir", "/var/lib/dcm/local", False),
        ("platform_state_dir", "state", True),
        ("platform_discord_api_url", "", False),
        ("platform_services_image", "", True),
    ],
)
def test_forms_of_values(name: str, value: str, refused: bool) -> None:
    problems = rules.value_problems({name: value})
    assert bool(problems) is refused
    assert all(name in problem for problem in problems)


@pytest.mark.parametrize(
    ("environment", "wanted", "found", "refused"),
    [
        ("local", "", UID, False),
        ("local", UID, UID, False),
        ("local", OTHER, UID, True),
        ("staging", "", UID, True),
        ("production", "", UID, True),
        ("production", UID, UID, False),
        ("production", OTHER, UID, True),
    ],
)
def test_identity_of_the_cluster(environment: str, wanted: str, found: str, refused: bool) -> None:
    problems = rules.identity_problems(environment, wanted, found, "/k")
    assert bool(problems) is refused
    assert all(found in problem for problem in problems)


@pytest.mark.parametrize(
    ("access", "policy", "check_mode", "needed"),
    [
        ("read", "typed", False, False),
        ("change", "none", False, False),
        ("change", "typed", False, True),
        ("change", "typed", True, False),
        ("destroy", "none", False, True),
        ("destroy", "none", True, False),
    ],
)
def test_when_to_confirm(access: rules.Access, policy: str, check_mode: bool, needed: bool) -> None:
    assert rules.needs_confirmation(access, policy, check_mode) is needed


@pytest.mark.parametrize(("typed", "refused"), [("acme", False), ("", True), ("Acme", True), ("acm", True), ("yes", True)])
def test_confirmation_is_the_site_id(typed: str, refused: bool) -> None:
    assert bool(rules.confirmation_problems(typed, "acme", "destroy")) is refused


def test_production_cannot_switch_confirmation_off() -> None:
    assert rules.policy_problems("production", "none")
    assert not rules.policy_problems("production", "typed")
    assert not rules.policy_problems("staging", "none")


def test_protection_only_stops_destruction() -> None:
    assert rules.protection_problems("destroy", True, "acme")
    assert not rules.protection_problems("destroy", False, "acme")
    assert not rules.protection_problems("change", True, "acme")
