# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One real server for all guild tests; a database, a folder of migrations and ids of its own for each test."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _guild_drift as drift
from ansible_collections.dcm.platform.plugins.module_utils._guild_engine import Engine, Request
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import MigrationSet, read_migrations
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Wanted
from ansible_collections.dcm.platform.plugins.module_utils._guild_plan import PlanContext
from ansible_collections.dcm.platform.plugins.module_utils._guild_sql import Session
from ansible_collections.dcm.platform.plugins.module_utils._guild_store import Access

from tests.support.postgres import PostgresServer, running_postgres

ROOT = Path(__file__).parents[3]
CONTROL = str(ROOT / "roles" / "guild_data" / "files" / "control")
MIGRATIONS = str(ROOT / "services" / "migrations")
PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


class Site:
    """A database, and runs of the engine on it. Roles belong to the whole server, so every site has its own ids."""

    def __init__(self, server: PostgresServer, migrations: str) -> None:
        self.number = next(_numbers)
        self.server = server
        self.database = server.create_database(f"site_{self.number}")
        self.migrations = migrations
        self.user, self.password = server.user, server.password

    @property
    def service(self) -> str:
        return f"dcm_service_{self.number}"

    def ids(self, count: int, start: int = 0) -> list[int]:
        first = 1_100_000_000_000_000_000 + self.number * 1_000_000 + start
        return list(range(first, first + count))

    def access(self, lock_timeout: float = 2.0, **other: Any) -> Access:
        login = {"user": self.user, "password": self.password, **other}
        return Access({"host": self.server.host, "port": self.server.port, "dbname": self.database, **login}, lock_timeout)

    def set(self) -> MigrationSet:
        return read_migrations(self.migrations)

    def run(
        self, ids: Sequence[int] = (), state: str = "present", confirm: Sequence[int] = (), access: Access | None = None, **other: Any
    ) -> dict[str, Any]:
        wanted = other.pop("wanted", [Wanted(guild_id, state) for guild_id in ids])
        request = Request(
            wanted=wanted,
            context=PlanContext(self.set(), confirm_erase=frozenset(confirm)),
            control=read_migrations(CONTROL),
            run_id=str(uuid.uuid4()),
            actor="tester",
            service_role=self.service,
            **{"results": "all", **other},
        )
        return Engine(request, access or self.access(), PASSWORD).run()

    def connect(self, **other: Any) -> psycopg.Connection[Any]:
        return self.server.connect(self.database, **{"user": self.user, "password": self.password, **other})

    def as_service(self) -> psycopg.Connection[Any]:
        return self.server.connect(self.database, user=self.service, password=PASSWORD, autocommit=False)

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.connect() as conn:
            return conn.execute(statement, values or None).fetchall()

    def tables(self, guild_id: int) -> list[str]:
        return [row[0] for row in self.query("SELECT tablename::text FROM pg_tables WHERE schemaname = %s ORDER BY 1", f"guild_{guild_id}")]

    def fingerprints(self) -> dict[int, str]:
        return drift.fingerprints(self.access(), self.service, 2)

    def expected(self) -> str:
        """The fingerprint that the newest migrations make."""
        with self.access().connect() as conn:
            superuser = conn.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
            session = Session(self.service, bool(superuser and superuser[0]), str(uuid.uuid4()), "tester")
            return drift.digest_lines(conn, drift.expected_lines(conn, session, self.set().migrations))


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with running_postgres({"max_locks_per_transaction": "512", "fsync": "off"}) as running:
        yield running


@pytest.fixture
def site(server: PostgresServer) -> Site:
    """With the migrations of the DCM services."""
    return Site(server, MIGRATIONS)


class Lab(Site):
    """A site whose migrations the test writes."""

    def write(self, version: int, up: str, option: str = "") -> Path:
        path = Path(self.migrations) / f"{version}_step.sql"
        path.write_text(f"-- migrate:up{option}\n{up}\n-- migrate:down\n")
        return path


@pytest.fixture
def lab(server: PostgresServer, tmp_path: Path) -> Lab:
    made = Lab(server, str(tmp_path))
    made.write(1, "CREATE TABLE item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(40));")
    return made
