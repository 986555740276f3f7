# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The servers of a site, where guilds live on them, and what a move does next."""

from __future__ import annotations

import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _guild_move as move
from ansible_collections.dcm.platform.plugins.module_utils import _placements as servers
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Wanted
from ansible_collections.dcm.platform.plugins.module_utils._guild_placements import NOWHERE, Booking, View, home_of, route

SITE = {
    "host": "postgres.dcm-data.svc.cluster.local",
    "port": 5432,
    "database": "dcm",
    "admin_secret": "dcm-data/admin",
    "access": "direct",
}
LIVES, SUSPENDED, ARRIVED = (
    View("active", digest="d"),
    View("suspended", digest="d"),
    View("active", digest="d", booking=Booking("m", "in", "a", "switched", "active")),
)
WAY = move.Way(1, move.MOVED, "a", "b")


def out(step: str = "copying", move_id: str = "m", to: str = "b") -> View:
    return View("moving", digest="d", booking=Booking(move_id, "out", to, step, "active"))


def arrival(step: str = "copying", move_id: str = "m", state: str | None = "moving", digest: str = "d", source: str = "a") -> View:
    return View(state, digest=digest, booking=Booking(move_id, "in", source, step, "active"))


def test_a_placement_is_completed_from_the_site() -> None:
    first, second = servers.complete({"default": {}, "second": {"host": "pg2", "admin_secret": "admin2", "port": 6000}}, SITE)
    assert (first["host"], first["pooled_as"], first["login"]["login_service"]) == (SITE["host"], "dcm", "dcm-data/postgres")
    assert first["peers"] == [{"namespace": "dcm-data", "name": "postgres"}]
    assert (second["admin_secret"], second["pooled_as"], second["peers"]) == ("dcm-data/admin2", "second", [])
    assert second["named_login"] == {
        "name": "second",
        "login_host": "pg2",
        "login_port": 6000,
        "login_db": "dcm",
        "login_secret": "dcm-data/admin2",
        "access": "direct",
    }
    assert second["server"] == {"host": "pg2", "port": 6000, "dbname": "dcm"}


@pytest.mark.parametrize(
    ("given", "default", "words"),
    [
        ({}, None, "names no server"),
        ({"default": {}, "second": {}}, None, "'default' and 'second' are both postgres.dcm-data.svc.cluster.local:5432"),
        ({"Second": {"host": "x"}}, None, "must start with a letter"),
        ({"second": {"hots": "x"}}, None, "unknown key 'hots'; known: host, port"),
        ({"default": {}}, "eu1", "guild_data_default_placement is 'eu1', but platform_placements has only default"),
    ],
)
def test_a_wrong_inventory_is_one_sentence(given: dict[str, dict[str, str]], default: str | None, words: str) -> None:
    with pytest.raises(PlatformError) as refused:
        servers.complete(given, SITE, default)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("here", "there", "home"),
    [(LIVES, NOWHERE, "a"), (out(), arrival(), "a"), (out("switching"), ARRIVED, "b"), (NOWHERE, ARRIVED, "b"), (NOWHERE, NOWHERE, None)],
)
def test_a_guild_has_one_home(here: View, there: View, home: str | None) -> None:
    assert home_of({"a": {1: here}, "b": {1: there}}, 1) == home


def test_two_homes_are_no_answer() -> None:
    with pytest.raises(PlatformError, match="registered on several placements: a, b"):
        home_of({"a": {1: LIVES}, "b": {1: SUSPENDED}}, 1)


def test_guilds_are_sent_to_where_they_live() -> None:
    wanted = [Wanted(1), Wanted(2), Wanted(3, placement="b"), Wanted(4, placement="a"), Wanted(5, placement="c")]
    routes = route(wanted, {"a": {1: LIVES}, "b": {4: LIVES}}, "b")
    assert {name: [guild.guild_id for guild in guilds] for name, guilds in routes.by_placement.items()} == {"a": [1], "b": [2, 3]}
    assert routes.refused == [
        "guild 4 lives on placement 'b', not on 'a': guild_move moves it",
        "guild 5: there is no placement 'c'; there are a, b",
    ]


@pytest.mark.parametrize(
    ("here", "there", "step"),
    [
        (LIVES, NOWHERE, move.FREEZE),
        (SUSPENDED, NOWHERE, move.FREEZE),
        (LIVES, arrival(), move.DISCARD),
        (LIVES, arrival(state=None), move.DISCARD),
        (out(), NOWHERE, move.CREATE_COPY),
        (out(), arrival(state=None), move.CREATE_COPY),
        (out(), arrival(digest="half"), move.DISCARD),
        (out(), arrival(move_id="older"), move.DISCARD),
        (out(), arrival(), move.FILL),
        (out(), arrival("copied"), move.SWITCH),
        (out("switching"), arrival("copied"), move.SWITCH),
        (out("switching"), NOWHERE, move.CREATE_COPY),
        (out("switching"), ARRIVED, move.REMOVE),
        (NOWHERE, ARRIVED, move.FORGET),
        (NOWHERE, LIVES, move.DONE),
    ],
)
def test_what_a_move_does_next(here: View, there: View, step: str) -> None:
    assert move.next_step(WAY, here, there) == step


@pytest.mark.parametrize(
    ("here", "there", "step"),
    [
        (LIVES, NOWHERE, move.DONE),
        (LIVES, arrival(), move.DISCARD),
        (out(), NOWHERE, move.THAW),
        (out(), arrival("copied"), move.THAW),
        (out("switching"), arrival("copied"), move.DISCARD),
        (out("switching"), NOWHERE, move.THAW),
    ],
)
def test_how_a_move_is_taken_back(here: View, there: View, step: str) -> None:
    assert move.next_step(move.Way(1, move.CANCELLED, "a", "b"), here, there) == step


@pytest.mark.parametrize(
    ("goal", "here", "there", "words"),
    [
        (move.MOVED, LIVES, LIVES, "registered on 'a' and on 'b'"),
        (move.MOVED, out(), LIVES, "did not come with this move"),
        (move.MOVED, NOWHERE, NOWHERE, "neither on 'a' nor on 'b'"),
        (move.MOVED, NOWHERE, arrival(), "'a' has lost it"),
        (move.MOVED, View("onboarding"), NOWHERE, "its onboarding is not finished"),
        (move.MOVED, out(to="c"), NOWHERE, "on its way to 'c'"),
        (move.MOVED, LIVES, out(to="c"), "is sending it to 'c'"),
        (move.MOVED, LIVES, arrival(source="c"), "waits for it from 'c'"),
        (move.CANCELLED, out("switching"), ARRIVED, "switched to 'b' already"),
        (move.CANCELLED, NOWHERE, ARRIVED, "lives on 'b' already"),
    ],
)
def test_what_a_move_refuses(goal: str, here: View, there: View, words: str) -> None:
    with pytest.raises(PlatformError, match=words):
        move.next_step(move.Way(1, goal, "a", "b"), here, there)
