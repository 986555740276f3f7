# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Servers of the chart with a repository of their own, and scratch servers that are restored from it."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _erasure_runs as erasure_runs
from ansible_collections.dcm.platform.plugins.module_utils import _guild_archives as archives
from ansible_collections.dcm.platform.plugins.module_utils import _restore_point as points
from ansible_collections.dcm.platform.plugins.module_utils._guild_engine import Engine, Request
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import read_migrations
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Wanted
from ansible_collections.dcm.platform.plugins.module_utils._guild_plan import PlanContext
from ansible_collections.dcm.platform.plugins.module_utils._guild_store import Access
from ansible_collections.dcm.platform.plugins.module_utils._pgbackrest_pod import SCRIPT, PgBackRest

from tests.support.pod import Pod
from tests.support.postgres import find_binaries

ROOT = Path(__file__).parents[3]
CONTROL = str(ROOT / "roles" / "guild_data" / "files" / "control")
MIGRATIONS = str(ROOT / "services" / "migrations")
TAKING = points.Taking("dcm_service", str(uuid.uuid4()), "tester")
SECRETS = {"username": "postgres", "password": 'it\'s "quoted" \\ and $dollars'}
PASSPHRASE = "a passphrase with 'quotes' and spaces"
FIRST = 1_100_000_000_000_000_000
ROWS = """
INSERT INTO guild_{0}.settings (key, value)
SELECT 'key ' || n, jsonb_build_object('n', n, 'text', E'tab\\t line\\n ü') FROM generate_series(1, 20) n;
INSERT INTO guild_{0}.cleanup_action (event_id, channel_id, message_id, author_id, action, reason)
SELECT 'event ' || n, n, n, n, 'deleted', 'because' FROM generate_series(1, 50) n;
"""


class Database:
    """One server of the chart, its repository, and what operators do with it."""

    def __init__(self, values: dict[str, Any], repository: Path | None = None, access: dict[str, str] | None = None) -> None:
        base = {
            "binaries": str(find_binaries()),
            "settings": {"shared_buffers": "64MB", "fsync": "off", "max_connections": "30"},
            "repository": {"cipherSecret": "cipher"},
        }
        files = {"secrets": SECRETS, "repository-access": {"cipher": PASSPHRASE, **(access or {})}}
        self.pod = Pod("lite-postgres", files, {**base, **values}, {"repository": repository} if repository else {})
        self.tool = PgBackRest(lambda *arguments: self.pod.words(*SCRIPT, *arguments), print)

    def start(self, seconds: float = 120) -> Database:
        self.pod.start()
        self.pod.wait_ready(seconds)
        return self

    def access(self, lock_timeout: float = 2.0) -> Access:
        return Access(self.pod.login(), lock_timeout)

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(**self.pod.login(), autocommit=True)

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.connect() as conn:
            return conn.execute(statement.encode(), values or None).fetchall()

    def engine(self, ids: Sequence[int], state: str = "present") -> dict[str, Any]:
        context = PlanContext(read_migrations(MIGRATIONS), confirm_erase=frozenset(ids))
        wanted = [Wanted(guild_id, state) for guild_id in ids]
        request = Request(wanted, context, read_migrations(CONTROL), str(uuid.uuid4()), "tester", results="failed")
        result = Engine(request, self.access(), "service password").run()
        assert result["failure"] == ""
        return result

    def fill(self, ids: Sequence[int]) -> None:
        with self.connect() as conn:
            for guild_id in ids:
                conn.execute(ROWS.format(guild_id).encode())

    def archive(self, state: str, folder: Path, ids: Sequence[int], replace: bool = False) -> dict[str, Any]:
        return archives.run(archives.Job(state, ids, folder, replace, 2, False, str(uuid.uuid4()), "tester"), self.access())

    def erasures(self, state: str, directory: Path, check: bool = False) -> dict[str, Any]:
        options = {
            "state": state,
            "directory": str(directory),
            "migrations_dir": MIGRATIONS,
            "control_migrations_dir": CONTROL,
            "service_role": "dcm_service",
        }
        return erasure_runs.run(options, self.access(), str(uuid.uuid4()), "tester", check)

    def content(self, ids: Sequence[int]) -> points.Content:
        with self.connect() as conn, conn.transaction(force_rollback=True):
            return points.read_content(self.access(), conn, ids, TAKING)

    def flush(self) -> str:
        with self.access().connect() as conn:
            conn.execute("INSERT INTO dcm.audit_log (run_id, action, actor) VALUES (gen_random_uuid(), 'flush', 'tester')")
            wal = points.flush(conn)
            points.wait_archived(conn, wal)
        return wal


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Not pytest's own: the servers' account has to get there."""
    made = Path(tempfile.mkdtemp(prefix="dcm-backup-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="session")
def databases() -> Iterator[Callable[..., Database]]:
    made: list[Database] = []

    def make(values: dict[str, Any], **other: Any) -> Database:
        made.append(Database(values, **other))
        return made[-1]

    yield make
    for database in made:
        database.pod.remove()


Scratch = Callable[..., Database]


def restoring(identity: str, **target: str) -> dict[str, Any]:
    return {"backup": {"enabled": False}, "restore": {"id": identity, **target}}


class Fleet:
    """A server with guilds and a full backup."""

    def __init__(self, make: Callable[..., Database], repository: Path, guilds: int, **other: Any) -> None:
        self.make, self.repository = make, repository
        repository.mkdir()
        self.live = make({"backup": {"enabled": True}, **other}, repository=repository).start()
        self.live.tool.ask("--log-level-console=warn", "stanza-create")
        self.ids = [FIRST + number for number in range(guilds)]
        self.live.engine(self.ids)
        self.live.fill(self.ids[:20])
        self.backup = self.live.tool.back_up("full")

    def scratch(self, identity: str, repository: Path | None = None, **target: str) -> Database:
        """A second server from the same repository, which must not write there."""
        return self.make(restoring(identity, **target), repository=repository or self.repository)


@pytest.fixture(scope="module")
def small(databases: Callable[..., Database], folder: Path) -> Fleet:
    return Fleet(databases, folder / f"small-{uuid.uuid4().hex[:6]}", 3)
