# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rows of one guild from one server to another: streamed, hashed on the way, and read back before anything is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_copy import GuildCopy, Shape, Table, hash_rows
from psycopg import sql

READ_TRIGGERS = """
SELECT c.relname::text, t.tgname::text, t.tgenabled::text FROM pg_namespace n
JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'n'
JOIN pg_class c ON c.oid = d.objid JOIN pg_trigger t ON t.tgrelid = c.oid
WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled <> 'D'
"""
ENABLE = {"O": "ENABLE TRIGGER", "A": "ENABLE ALWAYS TRIGGER", "R": "ENABLE REPLICA TRIGGER"}
NAMED = 5


def wait_for_writers(source: GuildCopy) -> Shape:
    """Nobody new can write any more; whoever began before is waited for, as long as lock_timeout allows."""
    with source.conn.transaction(force_rollback=True):
        shape = source.shape()
        order = shape.order()
        source.enter()
        if order:
            tables = sql.SQL(", ").join(map(sql.Identifier, order))
            source.conn.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(tables))
    return shape


def transfer(source: GuildCopy, target: GuildCopy, shape: Shape) -> int:
    """Rows written. Both are inside of transactions of the caller, as the guild's owner; the source's is one snapshot."""
    found = target.shape()
    _refuse_other_shape(shape, found)
    triggers = target.conn.execute(READ_TRIGGERS, (f"guild_{target.guild_id}",)).fetchall()
    target.enter()
    order = shape.order()
    if order:
        target.conn.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(map(sql.Identifier, order))))
    for table, trigger, _mode in triggers:
        _alter_trigger(target, table, "DISABLE TRIGGER", trigger)
    counted = {name: _stream(source, target, name, shape.tables[name]) for name in order}
    positions = source.sequences(shape.sequences)
    target.set_sequences(positions)
    for table, trigger, mode in triggers:
        _alter_trigger(target, table, ENABLE[mode], trigger)
    differing = [name for name, (_rows, digest) in counted.items() if not _equal(source, target, name, shape.tables[name], digest)]
    if differing or target.sequences(shape.sequences) != positions:
        what = ", ".join(differing[:NAMED]) or "positions of sequences"
        raise PlatformError(f"what arrived is not what was sent: {what}; nothing was kept")
    target.leave()
    return sum(rows for rows, _digest in counted.values())


def _refuse_other_shape(here: Shape, there: Shape) -> None:
    for name in sorted(here.tables.keys() | there.tables.keys()):
        mine, other = here.tables.get(name), there.tables.get(name)
        if mine is None or other is None or mine.columns != other.columns:
            raise PlatformError(f"table {name} is not what the guild's migrations make: the schema has drifted, see guild_report")
    if here.sequences != there.sequences:
        raise PlatformError("the sequences are not what the guild's migrations make: the schema has drifted, see guild_report")


def _alter_trigger(target: GuildCopy, table: str, verb: str, trigger: str) -> None:
    """Triggers have run where the rows come from."""
    statement = sql.SQL("ALTER TABLE {} {} {}").format(sql.Identifier(table), sql.SQL(verb), sql.Identifier(trigger))
    target.conn.execute(statement)


def _stream(source: GuildCopy, target: GuildCopy, name: str, table: Table) -> tuple[int, str]:
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    digest, rows = hashlib.sha256(), 0
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(name), columns)
    with target.conn.cursor() as cursor, cursor.copy(statement) as into:
        for block in source.blocks(name, table):
            data = bytes(block)
            digest.update(data)
            rows += data.count(b"\n")
            into.write(data)
    return rows, digest.hexdigest()


def _equal(source: GuildCopy, target: GuildCopy, name: str, table: Table, digest: str) -> bool:
    """The hash first; a server that sorts text another way has the same rows in another order."""
    return hash_rows(target, name, table) == digest or _sum(source.blocks(name, table)) == _sum(target.blocks(name, table))


def _sum(blocks: Iterator[bytes | bytearray | memoryview]) -> int:
    """The same for the same rows in any order. A line feed ends a row and is in none: COPY writes it as backslash and n."""
    total, rest = 0, b""
    for block in blocks:
        *lines, rest = (rest + bytes(block)).split(b"\n")
        total += sum(int.from_bytes(hashlib.sha256(line).digest(), "big") for line in lines)
    return total
