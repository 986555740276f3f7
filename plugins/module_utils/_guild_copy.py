# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Archives of guilds and the server: export, import and comparison of one guild on one connection."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils import _guild_archive as archive
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_ids import owner_role, schema_name
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import MOVING
from ansible_collections.dcm.platform.plugins.module_utils._guild_sql import Session
from ansible_collections.dcm.platform.plugins.module_utils._guild_store import READ_LEDGER, Conn, read_ledger
from psycopg import IsolationLevel, sql

# A schema's objects are found through pg_depend, which has an index for that; pg_class by schema has none.
READ_TABLES = """
WITH t AS MATERIALIZED (
    SELECT c.oid, c.relname, c.relkind FROM pg_namespace n
    JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
        AND d.classid = 'pg_class'::regclass AND d.deptype = 'n'
    JOIN pg_class c ON c.oid = d.objid WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'S') AND NOT c.relispartition)
SELECT t.relname::text, t.relkind::text,
    ARRAY(SELECT a.attname::text FROM pg_attribute a
        WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum),
    ARRAY(SELECT a.attname::text FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY k (num, place)
        JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.num WHERE i.indrelid = t.oid AND i.indisprimary ORDER BY k.place),
    ARRAY(SELECT o.relname::text FROM pg_constraint f JOIN t o ON o.oid = f.confrelid WHERE f.conrelid = t.oid AND f.contype = 'f')
FROM t
"""
# Text and hash of a value must not depend on settings of the server, the database or the login: archives go from one to another.
ONE_WAY_OF_WRITING = """
SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL extra_float_digits = 1;
SET LOCAL bytea_output = 'hex'; SET LOCAL lc_monetary = 'C'; SET LOCAL client_encoding = 'UTF8'
"""
UNKNOWN = "the guild is not registered here"
READ_GUILD = "SELECT state, plan, placement, schema_version, ledger_digest FROM dcm.guild WHERE guild_id = %s"
AUDIT = (
    "INSERT INTO dcm.audit_log (run_id, guild_id, action, detail, actor) VALUES (%s, %s, %s, jsonb_build_object('archive', %s::text), %s)"
)


@dataclass(frozen=True)
class Table:
    """A table as the catalog knows it."""

    columns: tuple[str, ...]
    key: tuple[str, ...]
    references: tuple[str, ...]


@dataclass(frozen=True)
class Shape:
    """What there is to copy."""

    tables: Mapping[str, Table]
    sequences: tuple[str, ...]

    def order(self) -> list[str]:
        pairs = [(name, to) for name, table in self.tables.items() for to in table.references]
        return archive.fill_order(self.tables, pairs)


class GuildCopy:
    """One guild, inside a transaction that the caller opened."""

    def __init__(self, conn: Conn, guild_id: int, session: Session) -> None:
        self.conn = conn
        self.guild_id = guild_id
        self.session = session

    def registered(self) -> tuple[Any, ...]:
        row = self.conn.execute(READ_GUILD, (self.guild_id,)).fetchone()
        if row is None:
            raise PlatformError(UNKNOWN)
        return row

    def shape(self) -> Shape:
        return self._shape(self.conn.execute(READ_TABLES, (schema_name(self.guild_id),)).fetchall())

    def description(self) -> tuple[tuple[Any, ...], list[tuple[str, str]], Shape]:
        """Registry entry, ledger and shape in one round trip: for a small guild, waiting is most of the work."""
        with self.conn.pipeline():
            guild = self.conn.execute(READ_GUILD, (self.guild_id,))
            ledger = self.conn.execute(READ_LEDGER, (self.guild_id,))
            tables = self.conn.execute(READ_TABLES, (schema_name(self.guild_id),))
        row = guild.fetchone()
        if row is None:
            raise PlatformError(UNKNOWN)
        return row, [(found[0], found[1]) for found in ledger], self._shape(tables.fetchall())

    @staticmethod
    def _shape(rows: list[tuple[Any, ...]]) -> Shape:
        tables = {row[0]: Table(tuple(row[2]), tuple(row[3]), tuple(row[4])) for row in rows if row[1] != "S"}
        return Shape(tables, tuple(sorted(row[0] for row in rows if row[1] == "S")))

    def enter(self) -> None:
        """As the guild's owner, so that nothing of another guild can be touched, whatever the names."""
        owner = sql.Identifier(owner_role(self.guild_id))
        if not self.session.superuser:
            self.conn.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(owner))
        path = sql.Identifier(schema_name(self.guild_id))
        enter = "SET LOCAL ROLE {}; SET LOCAL search_path = {}; SET LOCAL statement_timeout = 0;" + ONE_WAY_OF_WRITING
        self.conn.execute(sql.SQL(enter).format(owner, path))

    def leave(self) -> None:
        self.conn.execute("SET LOCAL ROLE NONE; SET LOCAL search_path = pg_catalog, pg_temp")
        if not self.session.superuser:
            self.conn.execute(sql.SQL("REVOKE {} FROM CURRENT_USER").format(sql.Identifier(owner_role(self.guild_id))))

    def blocks(self, name: str, table: Table) -> Iterator[bytes | bytearray | memoryview]:
        columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
        order = (
            sql.SQL(", ").join(map(sql.Identifier, table.key))
            if table.key
            else sql.SQL('({}.*)::text COLLATE "C"').format(sql.Identifier(name))
        )
        statement = sql.SQL("COPY (SELECT {} FROM {} ORDER BY {}) TO STDOUT").format(columns, sql.Identifier(name), order)
        with self.conn.cursor() as cursor, cursor.copy(statement) as copy:
            yield from copy

    def sequences(self, names: tuple[str, ...]) -> dict[str, tuple[int, bool]]:
        if not names:
            return {}
        one = sql.SQL("SELECT {}, last_value, is_called FROM {}")
        parts = [one.format(sql.Literal(name), sql.Identifier(name)) for name in names]
        return {row[0]: (row[1], row[2]) for row in self.conn.execute(sql.SQL(" UNION ALL ").join(parts))}

    def set_sequences(self, positions: Mapping[str, tuple[int, bool]]) -> None:
        for name, (last, called) in positions.items():
            self.conn.execute("SELECT setval(%s::regclass, %s, %s)", (sql.Identifier(name).as_string(self.conn), last, called))


@contextlib.contextmanager
def snapshot(conn: Conn, session: Session) -> Iterator[None]:
    """All tables of one moment. Rolled back where it joined the owner: reading leaves nothing behind.

    Only there: the driver forgets what it prepared with each rollback, and to plan the look at the catalog takes longer than to copy.
    """
    conn.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        with conn.transaction(force_rollback=not session.superuser):
            yield
    finally:
        if not conn.broken:
            conn.isolation_level = None


def export_guild(conn: Conn, guild_id: int, folder: Path, session: Session, replace: bool = False) -> archive.Manifest:
    """One snapshot of all tables, in a folder that appears when it is whole."""
    writer = archive.Writer(folder, replace)
    copy = GuildCopy(conn, guild_id, session)
    try:
        with snapshot(conn, session):
            (_state, plan, placement, version, _digest), ledger, shape = copy.description()
            copy.enter()
            tables = {name: _write(writer, copy, name, shape.tables[name]) for name in shape.order()}
            found = copy.sequences(shape.sequences)
        server = f"{conn.info.host}:{conn.info.port}/{conn.info.dbname}"
        taken = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = archive.Manifest(guild_id, version, tuple(ledger), plan, placement, taken, server, tables, found)
        conn.execute(AUDIT, (session.run_id, guild_id, "exported", manifest.digest(), session.actor))
        writer.finish(manifest)
    finally:
        writer.abandon()
    return manifest


def _write(writer: archive.Writer, copy: GuildCopy, name: str, table: Table) -> archive.TableData:
    return writer.table(name, copy.blocks(name, table), table.columns, table.key)


def import_guild(conn: Conn, folder: Path, session: Session, guild_id: int | None = None, replace: bool = False) -> archive.Manifest:
    """Everything or nothing: the rows are read back and compared before the transaction ends."""
    manifest = archive.verify_archive(folder, guild_id)
    copy = GuildCopy(conn, manifest.guild_id, session)
    with conn.transaction():
        state, _plan, _placement, _version, digest = copy.registered()
        if state == MOVING:
            raise PlatformError("the guild is on its way to another placement: import it when it is there")
        conn.execute("SELECT dcm.claim_guild(%s, %s, %s)", (manifest.guild_id, state, digest))
        _refuse_other_history(manifest, read_ledger(conn, manifest.guild_id))
        shape = copy.shape()
        _refuse_other_tables(manifest, shape)
        copy.enter()
        _make_room(copy, shape, replace)
        for name, table in manifest.tables.items():
            _fill(copy, folder, name, table)
        copy.set_sequences(manifest.sequences)
        differing = [name for name in manifest.tables if not _equal(copy, folder, name, manifest.tables[name], shape.tables[name])]
        if differing:
            raise PlatformError(
                f"after the import {', '.join(differing)} would not equal the archive: a trigger changes rows? Nothing was kept"
            )
        copy.leave()
        conn.execute(AUDIT, (session.run_id, manifest.guild_id, "imported", manifest.digest(), session.actor))
    return manifest


def compare_guild(conn: Conn, folder: Path, session: Session, guild_id: int | None = None) -> tuple[archive.Manifest, list[str]]:
    """The live guild against an archive, row by row where a table's hash differs."""
    manifest = archive.verify_archive(folder, guild_id)
    copy = GuildCopy(conn, manifest.guild_id, session)
    words: list[str] = []
    with snapshot(conn, session):
        copy.registered()
        shape = copy.shape()
        copy.enter()
        for name in sorted(manifest.tables.keys() | shape.tables.keys()):
            if name not in shape.tables or name not in manifest.tables:
                words.append(f"{name}: the table is only in the {'archive' if name in manifest.tables else 'database'}")
            elif manifest.tables[name].columns != shape.tables[name].columns:
                words.append(f"{name}: columns are {', '.join(shape.tables[name].columns)}, not {', '.join(manifest.tables[name].columns)}")
            elif hash_rows(copy, name, shape.tables[name]) != manifest.tables[name].sha256:
                words += _differences(copy, folder, name, manifest.tables[name], shape.tables[name])
    return manifest, words


def _differences(copy: GuildCopy, folder: Path, name: str, archived: archive.TableData, live: Table) -> list[str]:
    old = b"".join(archive.read_blocks(folder, archived))
    return archive.differing_rows(name, live.key, live.columns, old, b"".join(bytes(block) for block in copy.blocks(name, live)))


def _equal(copy: GuildCopy, folder: Path, name: str, archived: archive.TableData, live: Table) -> bool:
    """The hash first; a server that sorts text another way has the same rows in another order."""
    return hash_rows(copy, name, live) == archived.sha256 or not _differences(copy, folder, name, archived, live)


def _refuse_other_history(manifest: archive.Manifest, ledger: list[tuple[str, str]]) -> None:
    here, there = set(ledger), set(manifest.ledger)
    if here == there:
        return
    newer, older = sorted(v for v, _c in here - there), sorted(v for v, _c in there - here)
    says = [f"it lacks {', '.join(newer)}"] if newer else []
    says += [f"it has {', '.join(older)}, which the guild has not (or not with this content): migrate the guild first"] if older else []
    raise PlatformError(f"the archive has another schema than the guild: {'; '.join(says)}")


def _refuse_other_tables(manifest: archive.Manifest, shape: Shape) -> None:
    for name, table in manifest.tables.items():
        live = shape.tables.get(name)
        if live is None or live.columns != table.columns:
            raise PlatformError(
                f"table {name} of the guild is {'gone' if live is None else 'another'}: the schema has drifted, see guild_report"
            )


def _make_room(copy: GuildCopy, shape: Shape, replace: bool) -> None:
    if not shape.tables:
        return
    names = {name: sql.Identifier(name) for name in shape.tables}
    if replace:
        copy.conn.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(names.values())))
        return
    filled = [
        name for name, quoted in names.items() if copy.conn.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(quoted)).fetchone() is not None
    ]
    if filled:
        raise PlatformError(f"the guild has data already, in {', '.join(sorted(filled))}: allow to replace all of it, if that is meant")


def _fill(copy: GuildCopy, folder: Path, name: str, table: archive.TableData) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    with copy.conn.cursor() as cursor, cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(name), columns)) as target:
        for block in archive.read_blocks(folder, table):
            target.write(block)


def hash_rows(copy: GuildCopy, name: str, table: Table) -> str:
    digest = hashlib.sha256()
    for block in copy.blocks(name, table):
        digest.update(block)
    return digest.hexdigest()
