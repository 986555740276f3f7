# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings of the pooler that are refused, each with its reason."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.dcm.platform.plugins.filter.pooler_problems import pooler_problems
from ansible_collections.dcm.platform.plugins.module_utils._pooler import Budget, problems

from tests.support.pgbouncer import chart_settings

DATABASES: dict[str, dict[str, Any]] = {"dcm": {"host": "postgres", "port": 5432, "dbname": "dcm"}}
ENOUGH = Budget(max_connections=100, replicas=1, databases=1, clients=200)


def test_what_the_chart_ships_is_safe() -> None:
    assert problems(chart_settings(), DATABASES, ENOUGH) == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("pool_mode", "session"),
        ("pool_mode", "statement"),
        ("server_reset_query", ""),
        ("server_reset_query", "RESET ROLE"),
        ("server_reset_query_always", "0"),
        ("auth_type", "trust"),
        ("auth_type", "any"),
        ("auth_type", "md5"),
        ("auth_type", "hba"),
        ("ignore_startup_parameters", "extra_float_digits, search_path"),
        ("ignore_startup_parameters", "role"),
        ("ignore_startup_parameters", "options"),
        ("server_lifetime", "0"),
        ("server_lifetime", "86400"),
        ("auth_query", "SELECT 1"),
        ("auth_user", "postgres"),
        ("server_check_query", "SELECT set_config('role', 'postgres', false)"),
        ("track_extra_parameters", "search_path"),
    ],
)
def test_a_setting_that_could_leak_is_named_with_its_value(setting: str, value: str) -> None:
    [found] = problems({**chart_settings(), setting: value}, DATABASES, ENOUGH)
    assert found.startswith((f"{setting} is {value or 'not set'}: ", f"{setting} is set: "))


@pytest.mark.parametrize("option", ["user", "password", "connect_query", "auth_user", "pool_mode"])
def test_a_database_brings_nothing_of_its_own(option: str) -> None:
    [found] = problems(chart_settings(), {"dcm": {**DATABASES["dcm"], option: "x"}}, ENOUGH)
    assert found.startswith(f"database dcm has {option}")


@pytest.mark.parametrize(
    ("changed", "budget", "words"),
    [
        (
            {},
            Budget(100, 5, 1, 200),
            "at postgres is 100, but 113 may be asked for: 100 by the pooler (5 pods x pools of 16, each with 4 in reserve)",
        ),
        ({"default_pool_size": "90"}, ENOUGH, "but 107 may be asked for"),
        ({}, Budget(100, 1, 1, 501), "max_client_conn gives room for 500 clients, but the pools of the services may open 501"),
    ],
)
def test_connections_are_summed_up(changed: dict[str, str], budget: Budget, words: str) -> None:
    [found] = problems({**chart_settings(), **changed}, DATABASES, budget)
    assert words in found


def test_each_server_has_connections_of_its_own() -> None:
    budget = Budget(100, 4, 2, 200)
    apart = {"dcm": DATABASES["dcm"], "second": {**DATABASES["dcm"], "host": "postgres-second"}}
    assert problems(chart_settings(), apart, budget) == []
    [found] = problems(chart_settings(), {"dcm": DATABASES["dcm"], "second": DATABASES["dcm"]}, budget)
    assert "at postgres is 100, but 173 may be asked for: 160 by the pooler (4 pods x pools of 16 + 16" in found


def test_the_filter_takes_numbers_and_refuses_nonsense() -> None:
    settings = {name: int(value) if value.isdigit() else value for name, value in chart_settings().items()}
    assert pooler_problems(settings, DATABASES, "100", "1", "200") == []
    with pytest.raises(AnsibleFilterError, match="pooler_problems: a value"):
        pooler_problems({**settings, "default_pool_size": "many"}, DATABASES, 100)
