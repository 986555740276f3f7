# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Postgres I/O: one login without rights, and per transaction the role of exactly one guild, on the server that the guild lives on."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from opentelemetry.trace import SpanKind
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from dcm_service import logs, metrics, tracing
from dcm_service.config import Settings
from dcm_service.secretfiles import POSTGRES, SecretFiles

ACTIVE = "active"
DIRECTORY_ROLE = "dcm_directory"
STATEMENT_TIMEOUT = "5000"
CHECKOUT_SECONDS = 5.0
MOVING = "moving"
ROUTES = 20_000
Connection = psycopg.AsyncConnection[DictRow]
log = logs.get(__name__)


class GuildElsewhereError(Exception):
    """The guild is on its way to another server, or has just arrived there. It will be found in a moment."""


UNAVAILABLE = (psycopg.OperationalError, PoolTimeout, GuildElsewhereError)
GONE = (
    psycopg.errors.InvalidParameterValue,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.UndefinedTable,
)
_TAKE_ROLE = "SELECT set_config('role', %s, true), set_config('search_path', %s, true), set_config('statement_timeout', %s, true)"
_READ_DIRECTORY = "SELECT guild_id, state, plan, schema_version FROM dcm.guild_directory WHERE guild_id = ANY(%s) ORDER BY guild_id"


@dataclass(frozen=True)
class Guild:
    """A line of the guild directory."""

    guild_id: int
    state: str
    plan: str
    schema_version: str | None

    @property
    def active(self) -> bool:
        """Whether the services may work for this guild."""
        return self.state == ACTIVE


class Server:
    """A pool whose connections can do nothing until a transaction takes a role; the role ends with the transaction."""

    def __init__(self, settings: Settings, secrets: SecretFiles, process: str, database: str) -> None:
        self.database = database
        self._settings = settings
        self._secrets = secrets
        self._process = process
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            kwargs=self._connect_arguments,
            connection_class=psycopg.AsyncConnection[DictRow],
            min_size=1,
            max_size=settings.postgres_pool_size,
            max_lifetime=settings.postgres_max_lifetime,
            check=AsyncConnectionPool.check_connection,
            timeout=CHECKOUT_SECONDS,
            reconnect_timeout=5.0,
            open=False,
            name=f"{process}-{database}",
        )

    def _connect_arguments(self) -> dict[str, Any]:
        """Called for each new connection: a rotated password is used from the next one on."""
        settings = self._settings
        arguments = {
            "host": settings.postgres_host,
            "port": settings.postgres_port,
            "dbname": self.database,
            "user": settings.postgres_user,
            "password": self._secrets.read(POSTGRES),
            "sslmode": settings.postgres_sslmode,
            "application_name": f"dcm-{self._process}",
            "connect_timeout": 3,
            "row_factory": dict_row,
            "prepare_threshold": None,  # a transaction pooler may stand between
        }
        if settings.postgres_sslrootcert:
            arguments["sslrootcert"] = settings.postgres_sslrootcert
        return arguments

    async def open(self) -> None:
        """Start the pool; a database that is away now is tried again later."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Give the connections back."""
        await self._pool.close(timeout=3)

    @asynccontextmanager
    async def as_guild(self, guild_id: int, operation: str) -> AsyncIterator[Connection]:
        """A transaction that can reach this guild's schema and nothing else."""
        async with self._as_role(f"guild_{guild_id:d}_app", f"guild_{guild_id:d}", operation, guild_id) as connection:
            yield connection

    @asynccontextmanager
    async def as_directory(self, operation: str) -> AsyncIterator[Connection]:
        """A transaction that can read which guilds there are, and nothing of theirs."""
        async with self._as_role(DIRECTORY_ROLE, "dcm", operation, None) as connection:
            yield connection

    @asynccontextmanager
    async def _as_role(self, role: str, schema: str, operation: str, guild_id: int | None) -> AsyncIterator[Connection]:
        attributes: dict[str, Any] = {
            "db__system__name": "postgresql",
            "db__namespace": schema,
            "db__operation__name": operation,
            "dcm__guild_id": guild_id,
        }
        started = time.perf_counter()
        with tracing.span(f"postgres {operation}", SpanKind.CLIENT, **attributes):
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute(_TAKE_ROLE, (role, schema, STATEMENT_TIMEOUT))
                yield connection
        metrics.DB_SECONDS.labels(operation).observe(time.perf_counter() - started, exemplar=tracing.exemplar())

    async def ping(self) -> None:
        """Raise when Postgres does not answer, or when the guild directory is not there."""
        try:
            async with self._pool.connection(timeout=1.5) as connection, connection.transaction():
                await connection.execute(_TAKE_ROLE, (DIRECTORY_ROLE, "dcm", STATEMENT_TIMEOUT))
                await connection.execute("SELECT 1 FROM dcm.guild_directory LIMIT 1")
        except PoolTimeout:
            where = f"{self._settings.postgres_host}:{self._settings.postgres_port}/{self.database}"
            raise ConnectionError(f"no connection to {where}") from None

    async def directory(self, ids: Sequence[int]) -> list[Guild]:
        """The directory's lines of the given guilds."""
        async with self.as_directory("read directory") as connection:
            cursor = await connection.execute(_READ_DIRECTORY, (list(ids),))
            return [Guild(**row) for row in await cursor.fetchall()]

    def pool_size(self) -> tuple[int, int, int]:
        """Connections, idle ones, and requests that wait for one."""
        stats = self._pool.get_stats()
        return stats.get("pool_size", 0), stats.get("pool_available", 0), stats.get("requests_waiting", 0)


class Database:
    """All servers of the site. A guild is looked for where it was last, then everywhere; a server that is away takes only its own along."""

    def __init__(self, settings: Settings, secrets: SecretFiles, process: str) -> None:
        self._servers = [Server(settings, secrets, process, name) for name in settings.postgres_databases]
        self._routes: OrderedDict[int, Server] = OrderedDict()

    async def open(self) -> None:
        """Start the pools; a database that is away now is tried again later."""
        for server in self._servers:
            await server.open()

    async def close(self) -> None:
        """Give the connections back."""
        await asyncio.gather(*(server.close() for server in self._servers))

    async def guilds(self, ids: Sequence[int]) -> list[Guild]:
        """The directory's lines of the given guilds, each once, from all servers that answer."""
        found = await self._ask(self._servers, ids)
        return [guild for _server, guild in sorted(found.values(), key=lambda pair: pair[1].guild_id)]

    async def guild(self, guild_id: int) -> Guild | None:
        """One guild; None when no server has it. While it moves it is nowhere: whoever wants it has to wait."""
        known = self._routes.get(guild_id)
        found = await self._ask([known], [guild_id]) if known else {}
        if guild_id not in found or not found[guild_id][1].active:
            found = await self._ask(self._servers, [guild_id])
        if guild_id not in found:
            return None
        guild = found[guild_id][1]
        if guild.state == MOVING:
            raise GuildElsewhereError(f"guild {guild_id} is being moved to another server")
        return guild

    async def _ask(self, servers: Sequence[Server], ids: Sequence[int]) -> dict[int, tuple[Server, Guild]]:
        """A guild that nobody has may live on a server that does not answer: then that is the answer."""
        asked = {asyncio.create_task(server.directory(ids)): server for server in servers}
        found: dict[int, tuple[Server, Guild]] = {}
        trouble: list[BaseException] = []
        waiting = set(asked)
        try:
            while waiting and not _complete(found, ids):
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if error := task.exception():
                        trouble.append(error)
                        continue
                    for guild in task.result():
                        if guild.guild_id not in found or found[guild.guild_id][1].state == MOVING:
                            found[guild.guild_id] = (asked[task], guild)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        self._note(found)
        if trouble and not _complete(found, ids):
            if len(ids) == 1 or len(trouble) == len(servers):
                raise trouble[0]
            log.warning("a directory does not answer", error=str(trouble[0]).strip())
        return found

    def _note(self, found: dict[int, tuple[Server, Guild]]) -> None:
        for guild_id, (server, guild) in found.items():
            if guild.state != MOVING:
                self._routes[guild_id] = server
                self._routes.move_to_end(guild_id)
        while len(self._routes) > ROUTES:
            self._routes.popitem(last=False)

    @asynccontextmanager
    async def as_guild(self, guild_id: int, operation: str) -> AsyncIterator[Connection]:
        """A transaction that can reach this guild's schema and nothing else, where the guild lives."""
        server = self._servers[0] if len(self._servers) == 1 else await self._route(guild_id)
        try:
            async with server.as_guild(guild_id, operation) as connection:
                yield connection
        except GONE as error:
            if len(self._servers) == 1 or not await self._has_left(guild_id, server):
                raise
            raise GuildElsewhereError(f"guild {guild_id} has left {server.database}") from error

    async def _route(self, guild_id: int) -> Server:
        if guild_id not in self._routes and await self.guild(guild_id) is None:
            raise GuildElsewhereError(f"guild {guild_id} is on none of the servers")
        return self._routes[guild_id]

    async def _has_left(self, guild_id: int, server: Server) -> bool:
        """Whether an error is that of a guild that was moved away meanwhile."""
        self._routes.pop(guild_id, None)
        return not any(guild.active for guild in await server.directory([guild_id]))

    async def ping(self) -> None:
        """Raise when no Postgres answers, or the guild directory is on none. One of several that is away is said, and lived with."""
        answers = await asyncio.gather(*(server.ping() for server in self._servers), return_exceptions=True)
        trouble = [answer for answer in answers if isinstance(answer, BaseException)]
        if len(trouble) == len(self._servers):
            raise trouble[0]
        for error in trouble:
            log.warning("a database does not answer", error=str(error).strip())

    async def refresh_metrics(self) -> None:
        """Bring the gauges of the pools up to date."""
        sizes, idle, waiting = zip(*(server.pool_size() for server in self._servers), strict=True)
        metrics.DB_POOL.labels("idle").set(sum(idle))
        metrics.DB_POOL.labels("busy").set(sum(sizes) - sum(idle))
        metrics.DB_WAITING.set(sum(waiting))


def _complete(found: Mapping[int, tuple[Server, Guild]], ids: Sequence[int]) -> bool:
    """Whether every guild was found where it rests."""
    return len(found) == len(set(ids)) and all(guild.state != MOVING for _server, guild in found.values())
