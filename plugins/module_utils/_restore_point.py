# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A moment that a restore can be held against: a named point in the WAL, and hashes of what the database held at exactly that point.

The tables that are hashed are locked against writing until the point is made, in the same transaction. So everything that was committed to
them lies before the point, and nothing that comes later does.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from ansible_collections.dcm.platform.plugins.module_utils import _files
from ansible_collections.dcm.platform.plugins.module_utils import _guild_drift as drift
from ansible_collections.dcm.platform.plugins.module_utils import _guild_store as store
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_copy import GuildCopy
from ansible_collections.dcm.platform.plugins.module_utils._guild_sql import Session
from psycopg import sql

FORMAT = 1
TRIES = 5
ARCHIVE_SECONDS = 120.0
# What is hashed of the control schema, in an order that does not depend on how the rows lie.
CONTROL = {
    "registry": "SELECT guild_id, state, plan, placement, schema_version, ledger_digest FROM dcm.guild ORDER BY 1",
    "ledger": "SELECT guild_id, version, checksum FROM dcm.guild_migration ORDER BY 1, 2",
    "erasures": "SELECT guild_id, schema_version, erased_by, extract(epoch FROM erased_at) FROM dcm.guild_erasure ORDER BY id",
}
LOCKS = "LOCK TABLE dcm.guild, dcm.guild_migration, dcm.guild_erasure IN SHARE MODE"
# Another sample for each point, the same one whenever that point is looked at.
SAMPLE = "SELECT guild_id FROM dcm.guild ORDER BY md5(guild_id::text || %s), 1 LIMIT %s"
ARCHIVED = """
SELECT last_archived_wal, last_failed_wal, last_failed_time > coalesce(last_archived_time, '-infinity'), current_setting('archive_mode')
FROM pg_stat_archiver
"""
MARK = "INSERT INTO dcm.audit_log (run_id, action, detail, actor) VALUES (%s, 'restore_point', jsonb_build_object('name', %s::text), %s)"


@dataclass(frozen=True)
class Held:
    """One table: its rows, and the sha256 of them in the order of the primary key."""

    rows: int
    sha256: str


@dataclass(frozen=True)
class Content:
    """What a database held: tables of some guilds, registry and ledgers, and the fingerprints of all schemas."""

    guilds: Mapping[str, Mapping[str, Held]]
    control: Mapping[str, Held]
    schemas: int
    fingerprint: str

    @property
    def rows(self) -> int:
        return sum(table.rows for tables in self.guilds.values() for table in tables.values())


@dataclass(frozen=True)
class Point:
    """A named point, where it lies, and what was held there. `backup` is the base backup that was the newest then."""

    name: str
    lsn: str
    wal: str
    made_at: str
    server: str
    content: Content
    backup: str = ""


@dataclass(frozen=True)
class Taking:
    """How content is read."""

    service_role: str
    run_id: str
    actor: str
    connections: int = 2


@dataclass
class _Hash:
    digest: Any = field(default_factory=hashlib.sha256)
    rows: int = 0

    def add(self, blocks: Iterable[bytes | bytearray | memoryview]) -> Held:
        for block in blocks:
            data = bytes(block)
            self.digest.update(data)
            self.rows += data.count(b"\n")
        return Held(self.rows, self.digest.hexdigest())


def sample(conn: store.Conn, name: str, number: int) -> list[int]:
    """Guilds to look at; all of them for -1."""
    return [row[0] for row in conn.execute(SAMPLE, (name, None if number < 0 else number))]


def take(access: store.Access, name: str, guilds: int, taking: Taking) -> Point:
    """Makes the point. Writers of the sampled guilds wait meanwhile; a table that stays locked by them is tried again."""
    with access.connect("restore point") as conn:
        for attempt in range(TRIES):
            try:
                point = _take(access, conn, name, guilds, taking)
                break
            except psycopg.errors.LockNotAvailable as problem:
                if attempt == TRIES - 1:
                    raise PlatformError(
                        f"a table of the sample stayed locked by somebody else: {problem.diag.message_primary}"
                    ) from problem
                time.sleep(1)
        wait_archived(conn, flush(conn))
        return point


def _take(access: store.Access, conn: store.Conn, name: str, guilds: int, taking: Taking) -> Point:
    with conn.transaction():
        conn.execute("SET LOCAL synchronous_commit = on")
        content = read_content(access, conn, sample(conn, name, guilds), taking, locked=True)
        conn.execute(MARK, (taking.run_id, name, taking.actor))
        row = conn.execute("SELECT p::text, pg_walfile_name(p) FROM pg_create_restore_point(%s) p", (name,)).fetchone()
    lsn, wal = row or ("", "")
    server = f"{conn.info.host}:{conn.info.port}/{conn.info.dbname}"
    return Point(name, lsn, wal, datetime.now(UTC).isoformat(timespec="seconds"), server, content)


def read_content(access: store.Access, conn: store.Conn, ids: Sequence[int], taking: Taking, locked: bool = False) -> Content:
    """Inside a transaction of the caller. `locked`: keep writers out until it ends."""
    session = Session(taking.service_role, store.is_superuser(conn), taking.run_id, taking.actor)
    guilds = {str(guild_id): dict(_guild(conn, guild_id, session, locked)) for guild_id in sorted(ids)}
    if locked:
        conn.execute(LOCKS)
    control = {name: _Hash().add(_copy(conn, statement)) for name, statement in CONTROL.items()}
    prints = drift.fingerprints(access, taking.service_role, taking.connections)
    lines = "".join(f"{guild_id} {found}\n" for guild_id, found in sorted(prints.items()))
    return Content(guilds, control, len(prints), hashlib.sha256(lines.encode()).hexdigest())


def _guild(conn: store.Conn, guild_id: int, session: Session, locked: bool) -> Iterator[tuple[str, Held]]:
    copy = GuildCopy(conn, guild_id, session)
    tables = copy.shape().tables
    copy.enter()
    if locked and tables:
        conn.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.SQL(", ").join(map(sql.Identifier, sorted(tables)))))
    for name, table in sorted(tables.items()):
        yield name, _Hash().add(copy.blocks(name, table))
    copy.leave()


def _copy(conn: store.Conn, statement: str) -> Iterator[bytes | bytearray | memoryview]:
    with conn.cursor() as cursor, cursor.copy(f"COPY ({statement}) TO STDOUT".encode()) as copy:
        yield from copy


def flush(conn: store.Conn) -> str:
    """Ends the WAL segment that is being written; its name."""
    row = conn.execute("SELECT pg_walfile_name(pg_switch_wal() - 1)").fetchone()
    return str(row[0]) if row else ""


def wait_archived(conn: store.Conn, wal: str, seconds: float = ARCHIVE_SECONDS) -> None:
    """Until that segment lies in the archive."""
    end = time.monotonic() + seconds
    while True:
        newest, failed, failing, mode = conn.execute(ARCHIVED).fetchone() or (None, None, None, "off")
        if mode == "off":
            raise PlatformError("the server archives no WAL: are backups switched on for it (platform_backup_repository)?")
        if newest and newest[:8] == wal[:8] and newest[:24] >= wal:
            return
        if time.monotonic() > end:
            why = f"; archiving {failed} fails, see the log of the server" if failing else ""
            raise PlatformError(f"WAL segment {wal} was not archived within {seconds:.0f} s{why}")
        time.sleep(0.2)


def differences(wanted: Content, found: Content) -> list[str]:
    """What a restored database holds that it should not, or the other way round; in words."""
    words = [f"guild {guild_id}: it is not there" for guild_id in wanted.guilds if guild_id not in found.guilds]
    for guild_id, tables in wanted.guilds.items():
        there = found.guilds.get(guild_id, {})
        words += [f"guild {guild_id}, {line}" for line in _tables(tables, there)] if guild_id in found.guilds else []
    words += [f"control schema, {line}" for line in _tables(wanted.control, found.control)]
    if wanted.schemas != found.schemas:
        words.append(f"{found.schemas:,} schemas of guilds, not {wanted.schemas:,}")
    elif wanted.fingerprint != found.fingerprint:
        words.append("the fingerprints of the guilds' schemas are others")
    return words


def _tables(wanted: Mapping[str, Held], found: Mapping[str, Held]) -> list[str]:
    words = []
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found or name not in wanted:
            words.append(f"{name}: only {'before' if name in wanted else 'after'} the restore")
        elif wanted[name] != found[name]:
            rows = (
                f"{found[name].rows:,} rows, not {wanted[name].rows:,}"
                if wanted[name].rows != found[name].rows
                else f"other content in its {found[name].rows:,} rows"
            )
            words.append(f"{name}: {rows}")
    return words


def compare(access: store.Access, point: Point, taking: Taking) -> list[str]:
    """A restored server against the point that it was restored to. Reads one snapshot; nobody writes there."""
    with access.connect("restore check") as conn, conn.transaction(force_rollback=True):
        there = {row[0] for row in conn.execute("SELECT guild_id FROM dcm.guild")}
        ids = [int(guild_id) for guild_id in point.content.guilds if int(guild_id) in there]
        return differences(point.content, read_content(access, conn, ids, taking))


def write_point(path: Path, point: Point) -> None:
    """For its owner alone: it says which guilds there are."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _files.write(path, json.dumps({"format": FORMAT, **asdict(point)}, indent=1).encode() + b"\n", 0o600)


def read_point(path: Path) -> Point:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("format") != FORMAT:
            raise PlatformError(f"{path}: written by another version of dcm.platform")
        content = found.pop("content")
        guilds = {guild_id: _held(tables) for guild_id, tables in content.pop("guilds").items()}
        return Point(content=Content(guilds, _held(content.pop("control")), **content), **found)
    except FileNotFoundError:
        raise PlatformError(f"there is no manifest {path}: playbooks/backup.yml writes one with each backup") from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as problem:
        raise PlatformError(f"{path} cannot be read: {problem}") from problem


def _held(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Held]:
    return {name: Held(**held) for name, held in tables.items()}
