# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan: a table of what is wanted and what is there, and what follows."""

from __future__ import annotations

import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _guild_plan as planning
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import MigrationSet, parse_migration
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Current, GuildPlan, Wanted

EVERY = MigrationSet("db", tuple(parse_migration(f"db/{n}_x.sql", f"-- migrate:up\nSELECT {n};\n") for n in (1, 2, 3)))
DIGESTS = list(EVERY.prefixes)
ID = 1_100_000_000_000_000_001


def now(version: int = 3, state: str = "active", **other: object) -> Current:
    values = {"plan": "free", "placement": "default", "version": str(version), "digest": DIGESTS[version], **other}
    return Current(ID, state, **values)  # type: ignore[arg-type]


def plan(
    wanted: Wanted, current: Current | None, orphan: str = "", ledger: list[tuple[str, str]] | None = None, **context: object
) -> GuildPlan:
    known = {ID: current} if current else {}
    orphans = {ID: orphan} if orphan else {}
    made = planning.PlanContext(EVERY, **context)  # type: ignore[arg-type]
    return planning.plan_fleet(made, [wanted], known, orphans, lambda _id: ledger or [])[0]


@pytest.mark.parametrize(
    ("wanted", "current", "action", "state", "pending"),
    [
        ("present", None, "create", "active", 3),
        ("present", now(), "nothing", "active", 0),
        ("present", now(1), "nothing", "active", 0),
        ("present", now(state="suspended"), "update", "active", 0),
        ("present", now(1, "onboarding"), "migrate", "active", 2),
        ("present", now(has_member=False), "update", "active", 0),
        ("migrated", now(1), "migrate", "active", 2),
        ("migrated", now(), "nothing", "active", 0),
        ("migrated", now(1, "suspended", has_member=False), "migrate", "suspended", 2),
        ("migrated", now(state="suspended", has_member=False), "nothing", "suspended", 0),
        ("suspended", now(), "update", "suspended", 0),
        ("suspended", now(state="suspended", has_member=False), "nothing", "suspended", 0),
        ("suspended", now(state="suspended"), "update", "suspended", 0),
        ("absent", None, "nothing", "absent", 0),
        ("absent", now(), "erase", "absent", 0),
        ("absent", now(has_schema=False), "erase", "absent", 0),
    ],
)
def test_what_follows(wanted: str, current: Current | None, action: str, state: str, pending: int) -> None:
    made = plan(Wanted(ID, wanted), current, confirm_erase=frozenset([ID]))
    assert not made.refusal
    assert (made.action, made.state) == (action, state)
    assert sum(len(segment.migrations) for segment in made.segments) == pending


def test_a_new_guild_gets_defaults_and_the_newest_version() -> None:
    made = plan(Wanted(ID), None, default_plan="basic", default_placement="east")
    assert (made.plan, made.placement, made.version) == ("basic", "east", "3")


def test_the_plan_of_a_guild_can_change() -> None:
    made = plan(Wanted(ID, plan="premium"), now())
    assert (made.action, made.plan) == ("update", "premium")


@pytest.mark.parametrize(
    ("wanted", "current", "words"),
    [
        (Wanted(ID, "migrated"), None, "not registered"),
        (Wanted(ID, "suspended"), None, "not registered"),
        (Wanted(ID, placement="west"), now(), "lives on placement 'default'"),
        (Wanted(ID, placement="west"), None, "placement 'west' is another server: this one is 'default'"),
        (Wanted(ID), now(has_schema=False), "its schema is gone"),
        (Wanted(ID, "migrated"), now(has_owner=False, has_app=False), "its owner role and its application role is gone"),
    ],
)
def test_refusals(wanted: Wanted, current: Current | None, words: str) -> None:
    assert words in plan(wanted, current).refusal


def test_a_schema_that_nobody_registered_is_not_taken_over() -> None:
    assert "schema guild_x exists" in plan(Wanted(ID), None, orphan="schema guild_x").refusal


def test_erasing_needs_its_own_confirmation() -> None:
    with pytest.raises(PlatformError, match=f"refusing to erase .*{ID}"):
        plan(Wanted(ID, "absent"), now(), confirm_erase=frozenset([ID + 1]))


def test_a_changed_file_is_refused_when_migrating_and_only_then() -> None:
    ledger = [("1", "0" * 64)]
    assert "1_x.sql was changed" in plan(Wanted(ID, "migrated"), now(digest="other"), ledger=ledger).refusal
    assert plan(Wanted(ID), now(digest="other"), ledger=ledger).action == "nothing"


def test_another_order_of_history_is_read_from_the_ledger() -> None:
    ledger = [(m.version, m.checksum) for m in (EVERY.migrations[0], EVERY.migrations[2])]
    made = plan(Wanted(ID, "migrated"), now(digest="other"), ledger=ledger)
    assert [m.version for segment in made.segments for m in segment.migrations] == ["2"]
    assert made.version == "3"


def test_guilds_of_one_history_share_their_pending_migrations() -> None:
    many = {ID + n: Current(ID + n, "active", "free", "default", "1", DIGESTS[1]) for n in range(3)}
    made = planning.plan_fleet(planning.PlanContext(EVERY), [Wanted(i, "migrated") for i in many], many, {}, lambda _id: [])
    assert len({id(one.segments) for one in made}) == 1


@pytest.mark.parametrize(
    ("waves", "sizes"),
    [((), [20]), (("1",), [1, 19]), (("1", "10%"), [1, 1, 18]), (("50%", "100%"), [10, 10]), (("5", "100"), [5, 15]), (("7%",), [2, 18])],
)
def test_waves(waves: tuple[str, ...], sizes: list[int]) -> None:
    plans = [plan(Wanted(ID), None)] * 20
    assert [len(wave) for wave in planning.split_waves(plans, waves)] == sizes


@pytest.mark.parametrize("waves", [["x"], ["0"], ["101%"], ["10", "5"], ["-1"], ["٣"]])
def test_wrong_waves(waves: list[str]) -> None:
    with pytest.raises(PlatformError, match="waves"):
        planning.split_waves([plan(Wanted(ID), None)] * 20, waves)


def test_no_guild_no_wave() -> None:
    assert planning.split_waves([], ["10%"]) == []
