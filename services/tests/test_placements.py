# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Guilds on two real Postgres servers behind a real pooler: each is found where it lives, and one server away takes only its own along."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest

from dcm_service.config import Settings
from dcm_service.database import UNAVAILABLE, Database, GuildElsewhereError
from dcm_service.guildcache import GuildCache
from dcm_service.secretfiles import SecretFiles
from tests.support.pooler import Pooler
from tests.support.postgres import Postgres

T = TypeVar("T")
ON_FIRST, ON_SECOND, UNKNOWN = 511111111111111111, 522222222222222222, 533333333333333333
MOVER = 544444444444444444
SETTLED = "UPDATE dcm.guild SET state = %s WHERE guild_id = %s"


class Site:
    """Two servers with the same login, and what a service sees of them."""

    def __init__(self, first: Postgres, second: Postgres, pooler: Pooler, secrets: Path) -> None:
        self.first, self.second = first, second
        values = {"postgres_host": "127.0.0.1", "postgres_port": pooler.port, "postgres_database": "dcm,second", "postgres_pool_size": 2}
        self._settings = Settings.model_validate({**values, "secrets_dir": secrets})

    def run(self, work: Callable[[Database], Awaitable[T]]) -> T:
        """Something with a database that is open meanwhile."""

        async def inside() -> T:
            database = Database(self._settings, SecretFiles(self._settings.secrets_dir), "test")
            await database.open()
            try:
                return await work(database)
            finally:
                await database.close()

        return asyncio.run(inside())


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        homes = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dcm-test-placements-"))) for _number in range(4)]
        first, second = stack.enter_context(Postgres(homes[0])), stack.enter_context(Postgres(homes[1]))
        with second.admin() as connection:
            connection.execute(f"ALTER ROLE dcm_service PASSWORD '{first.password}'")
        pooler = stack.enter_context(Pooler(homes[2], {"dcm": first, "second": second}))
        (homes[3] / "postgres-password").write_text(first.password, encoding="utf-8")
        first.add_guild(ON_FIRST)
        second.add_guild(ON_SECOND)
        yield Site(first, second, pooler, homes[3])


async def count_rules(database: Database, guild_id: int) -> int:
    """A read as that guild."""
    async with database.as_guild(guild_id, "test") as connection:
        cursor = await connection.execute("SELECT count(*) AS n FROM cleanup_rule")
        row = await cursor.fetchone()
        assert row is not None
        return int(row["n"])


def test_each_guild_is_found_where_it_lives(site: Site) -> None:
    async def work(database: Database) -> None:
        for guild_id in (ON_FIRST, ON_SECOND):
            guild = await database.guild(guild_id)
            assert guild is not None
            assert guild.active
            assert await count_rules(database, guild_id) > 0
        assert await database.guild(UNKNOWN) is None
        assert [guild.guild_id for guild in await database.guilds([ON_SECOND, UNKNOWN, ON_FIRST])] == [ON_FIRST, ON_SECOND]
        views = [await GuildCache(database, 3).get(guild_id) for guild_id in (ON_SECOND, UNKNOWN)]
        assert [view.refusal for view in views] == [None, "unknown_guild"]
        await database.ping()
        await database.refresh_metrics()

    site.run(work)


def test_a_route_is_found_without_a_look_before(site: Site) -> None:
    assert site.run(lambda database: count_rules(database, ON_SECOND)) > 0


def test_a_server_that_is_away_takes_only_its_own_guilds_along(site: Site) -> None:
    async def work(database: Database) -> None:
        await database.ping()
        started = time.monotonic()
        assert await count_rules(database, ON_FIRST) > 0
        assert await database.guild(ON_FIRST) is not None
        assert time.monotonic() - started < 2
        for guild_id in (ON_SECOND, UNKNOWN):
            with pytest.raises(UNAVAILABLE):
                await database.guild(guild_id)
        assert [guild.guild_id for guild in await database.guilds([ON_FIRST, ON_SECOND])] == [ON_FIRST]

    with site.second.away():
        site.run(work)
        with site.first.away(), pytest.raises((*UNAVAILABLE, ConnectionError)):
            site.run(lambda database: database.ping())


def test_a_guild_is_followed_to_its_new_server(site: Site) -> None:
    """As guild_move does it: moving on both, then active on the second, then gone from the first."""

    def say(server: Postgres, query: str, *values: Any) -> None:
        with server.admin() as connection:
            connection.execute(query.encode(), values or None)

    async def work(database: Database) -> None:
        assert await count_rules(database, MOVER) > 0
        say(site.first, SETTLED, "moving", MOVER)
        say(site.first, f"REVOKE guild_{MOVER}_app FROM dcm_service; REVOKE USAGE ON SCHEMA guild_{MOVER} FROM guild_{MOVER}_app")
        for attempt in (database.guild(MOVER), count_rules(database, MOVER)):
            with pytest.raises(GuildElsewhereError):
                await attempt
        site.second.add_guild(MOVER, "moving")
        with pytest.raises(GuildElsewhereError):
            await database.guild(MOVER)
        say(site.second, SETTLED, "active", MOVER)
        say(site.first, "DELETE FROM dcm.guild WHERE guild_id = %s", MOVER)
        assert await count_rules(database, MOVER) > 0

    site.first.add_guild(MOVER)
    site.run(work)
