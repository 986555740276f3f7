# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is said about a server that somebody else runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.dcm.platform.plugins.filter.postgres_sizing import postgres_sizing
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_capacity import Load, findings, normal, sizing
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import GuildPlan, Segment
from ansible_collections.dcm.platform.plugins.module_utils._guild_server import Needs, Server, citus, explain, problems, sharding, warnings
from ansible_collections.dcm.platform.plugins.module_utils._guild_sql import Session, create_script

from tests.charts.charting import CHARTS
from tests.repo.tree import load
from tests.unit.guild.test_capacity import DEFAULTS

MANAGED = Server(
    number=150010, version="15.10", user="boss", superuser=False, creates_roles=True, role_limit=-1, owns_database=True,
    owner="boss", database_limit=-1, encoding="UTF8", standby=False, rds=True, passwords_restricted=False, directory=True, busy=3, tls=True,
    database="dcm",
)  # fmt: skip
NEEDS = Needs(guilds=1000, connections=4, max_connections=100)


def found(server: Server, needs: Needs = NEEDS, addresses: tuple[str, ...] = (), **settings: int) -> list[str]:
    load = Load(needs.guilds, needs.guilds, needs.connections)
    return problems(server, needs, findings({**DEFAULTS, **settings}, load), addresses)


def test_a_managed_server_with_the_least_of_rights_is_good() -> None:
    assert found(MANAGED) == []
    assert found(replace(MANAGED, superuser=True, creates_roles=False, owns_database=False, owner="postgres")) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"number": 140012, "version": "14.12"}, "Postgres 14.12 is too old: 15 is the oldest"),
        ({"standby": True}, "name the primary"),
        ({"encoding": "SQL_ASCII"}, "has the encoding SQL_ASCII"),
        ({"creates_roles": False}, "ALTER ROLE boss CREATEROLE, as the master user; members of rds_superuser do not have it by that"),
        ({"creates_roles": False, "rds": False}, "ALTER ROLE boss CREATEROLE"),
        ({"owns_database": False, "owner": "other"}, "belongs to other, not to boss: ALTER DATABASE dcm OWNER TO boss"),
        ({"passwords_restricted": True}, "GRANT rds_password TO boss"),
        ({"directory": False}, "GRANT dcm_directory TO boss WITH ADMIN OPTION"),
        ({"role_limit": 2}, "role boss has CONNECTION LIMIT 2, 5 are needed"),
        ({"database_limit": 4}, "database dcm has CONNECTION LIMIT 4, 5 are needed"),
        ({"busy": 98}, "98 of 100 connections are taken"),
    ],
)
def test_each_problem_is_named_with_what_to_do(changed: dict[str, Any], words: str) -> None:
    [problem] = found(replace(MANAGED, **changed))
    assert words in problem


def test_a_smaller_server_than_planned_is_refused() -> None:
    assert found(MANAGED, max_connections=50) == [
        "max_connections is 50, but the pooler was planned for 100: raise it, or plan with less",
    ]


def test_an_address_that_pods_may_not_reach_is_named() -> None:
    needs = replace(NEEDS, networks=("10.1.0.0/16",))
    assert found(MANAGED, needs, ("10.1.4.7",)) == []
    [problem] = found(MANAGED, needs, ("10.1.4.7", "10.2.0.1"))
    assert problem.startswith("10.2.0.1 is in none of 10.1.0.0/16: network policies would keep the pooler from it")


def test_what_is_not_encrypted_or_not_verified_is_told() -> None:
    assert "is not encrypted" in warnings(replace(MANAGED, tls=False), [], "prefer")[0]
    assert "does not check" in warnings(MANAGED, [], "require")[0]
    assert warnings(MANAGED, [], "verify-full") == []


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ('could not translate host name "x" to address: Name or service not known', "no such host name"),
        ("connection failed: Connection refused Is the server running", "nothing listens there"),
        ("connection timeout expired", "no answer"),
        ('FATAL: password authentication failed for user "boss"', "wrong user name or password"),
        ('no pg_hba.conf entry for host "10.0.0.1", user "boss", database "dcm", no encryption', "the server wants TLS"),
        ('database "dcm" does not exist', "the database is not there"),
        ("SSL error: certificate verify failed", "its certificate is not signed by the given CA"),
        ('server certificate for "a" does not match host name "b"', "its certificate is for another name"),
        ("FATAL: sorry, too many clients already", "no connection is free"),
        ("FATAL: remaining connection slots are reserved for roles with the SUPERUSER attribute", "no connection is free"),
    ],
)
def test_a_refused_connection_is_told_apart(said: str, meaning: str) -> None:
    assert explain(said).startswith(f"{meaning}; ")
    assert explain(said).endswith(f"({said})")


def test_what_nobody_has_seen_yet_stays_as_it_was_said() -> None:
    assert explain("something new") == "something new"


def test_citus_is_there_or_not() -> None:
    assert citus(None, False) == {"available": False, "loaded": False, "version": "", "preloaded": False}
    assert citus(("13.0-1", None), True) == {"available": True, "loaded": False, "version": "13.0-1", "preloaded": True}
    assert citus(("13.0-1", "12.1-1"), True)["version"] == "12.1-1"


PLAIN = citus(None, False)
SPREAD = citus(("13.0-1", "13.0-1"), True)


@pytest.mark.parametrize(
    ("mode", "server", "comes_to"),
    [
        ("auto", PLAIN, ""),
        ("off", PLAIN, ""),
        ("auto", citus(("13.0-1", None), True), ""),
        ("auto", citus(("11.3-1", "11.3-1"), True), ""),
        ("auto", SPREAD, "on"),
        ("on", SPREAD, "on"),
        ("off", SPREAD, "off"),
    ],
)
def test_schemas_are_spread_where_citus_can(mode: str, server: dict[str, Any], comes_to: str) -> None:
    assert sharding(mode, server, "dcm") == comes_to


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (PLAIN, "this server has no extension citus"),
        (citus(("13.0-1", None), False), "put citus into shared_preload_libraries and restart it, then CREATE EXTENSION citus"),
        (citus(("13.0-1", None), True), "database dcm has no extension citus: CREATE EXTENSION citus"),
        (citus(("11.3-1", "11.3-1"), True), "Citus 11.3-1 shards no schemas: 12 is the oldest that does"),
    ],
)
def test_what_is_missing_is_said(server: dict[str, Any], words: str) -> None:
    with pytest.raises(PlatformError, match=words):
        sharding("on", server, "dcm")


def test_a_new_guild_tells_citus_first_of_all_and_nothing_names_it_elsewhere() -> None:
    plan = GuildPlan(1_100_000_000_000_000_001, "create", None, "active", "free", "default")
    scripts = {
        mode: create_script(plan, Segment((), True, "", ""), "active", Session("s", True, "r", "a", mode)).text
        for mode in ("", "on", "off")
    }
    assert "citus" not in scripts[""]
    assert scripts["on"].index("enable_schema_based_sharding = on") < scripts["on"].index("CREATE SCHEMA")
    assert '_owner" LOGIN' in scripts["on"]
    assert "enable_schema_based_sharding = off" in scripts["off"]
    assert '_owner" NOLOGIN' in scripts["off"]


@pytest.mark.parametrize("guilds", [0, 1, 1000, 10_000, 100_000])
def test_a_server_that_was_sized_has_nothing_to_be_told(guilds: int) -> None:
    made = sizing(guilds)
    units = {"MB": "MB", "GB": "GB", "min": "min", "h": "h", "s": "s"}
    rows = {}
    for name, value in {**made.settings, "max_prepared_transactions": "0", "superuser_reserved_connections": "3"}.items():
        digits = value.rstrip("".join(units))
        rows[name] = (digits, value.removeprefix(digits))
    settings = normal({name: row for name, row in rows.items() if name in DEFAULTS})
    assert [finding.text() for finding in findings(settings, Load(guilds, guilds, 4)) if finding.severity != "ok"] == []
    assert made.memory_mb * 1024**2 > settings["shared_buffers"] + 100 * 5 * 1024**2
    assert made.disk_gb * 1024**3 > guilds * 140_000 + settings["max_wal_size"]


def test_the_chart_ships_what_a_thousand_guilds_need() -> None:
    values = load(CHARTS / "lite-postgres" / "values.yaml")
    made = postgres_sizing(1000)
    assert made["settings"].items() - values["settings"].items() == {("autovacuum_naptime", "60s")}
    assert values["resources"]["limits"]["memory"] == f"{made['memory_mb']}Mi"
    assert values["storage"]["size"] == f"{made['disk_gb']}Gi"


@pytest.mark.parametrize("guilds", ["many", None, -1])
def test_a_number_of_guilds_has_to_be_one(guilds: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="postgres_sizing"):
        postgres_sizing(guilds)
