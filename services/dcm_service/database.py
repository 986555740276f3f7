# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Postgres I/O: one login without rights, and per transaction the role of exactly one guild."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from opentelemetry.trace import SpanKind
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from dcm_service import metrics, tracing
from dcm_service.config import Settings
from dcm_service.secretfiles import POSTGRES, SecretFiles

DIRECTORY_ROLE = "dcm_directory"
STATEMENT_TIMEOUT = "5000"
CHECKOUT_SECONDS = 5.0
Connection = psycopg.AsyncConnection[DictRow]
UNAVAILABLE = (psycopg.OperationalError, PoolTimeout)
_TAKE_ROLE = "SELECT set_config('role', %s, true), set_config('search_path', %s, true), set_config('statement_timeout', %s, true)"


class Database:
    """A pool whose connections can do nothing until a transaction takes a role; the role ends with the transaction."""

    def __init__(self, settings: Settings, secrets: SecretFiles, process: str) -> None:
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
            name=process,
        )

    def _connect_arguments(self) -> dict[str, Any]:
        """Called for each new connection: a rotated password is used from the next one on."""
        settings = self._settings
        arguments = {
            "host": settings.postgres_host,
            "port": settings.postgres_port,
            "dbname": settings.postgres_database,
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
            raise ConnectionError(f"no connection to {self._settings.postgres_host}:{self._settings.postgres_port}") from None

    async def refresh_metrics(self) -> None:
        """Bring the gauges of the pool up to date."""
        stats = self._pool.get_stats()
        size, idle = stats.get("pool_size", 0), stats.get("pool_available", 0)
        metrics.DB_POOL.labels("idle").set(idle)
        metrics.DB_POOL.labels("busy").set(size - idle)
        metrics.DB_WAITING.set(stats.get("requests_waiting", 0))
