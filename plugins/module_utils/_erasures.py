# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ledger of erasures over a restore: a restored database has forgotten who was erased since, so the ledger is kept outside of it too.

An erasure that the restored database knows lies before the point it was restored to, and is part of what was restored. One that it does not
know is done again. The copy outside only ever grows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils import _files
from ansible_collections.dcm.platform.plugins.module_utils import _guild_store as store
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from psycopg import sql

LEDGER = "ledger.json"
CERTIFICATES = "erasure-*.json"
READ = "SELECT to_jsonb(e) - 'id' FROM dcm.guild_erasure e ORDER BY id"
COLUMNS = "SELECT attname::text FROM pg_attribute WHERE attrelid = 'dcm.guild_erasure'::regclass AND attnum > 0 AND NOT attisdropped"
AUDIT = "INSERT INTO dcm.audit_log (run_id, guild_id, action, detail, actor) VALUES (%s, %s, 'erasure_replayed', %s::jsonb, %s)"

Erasure = Mapping[str, Any]
Key = tuple[int, datetime]
Erase = Callable[[list[int]], dict[str, Any]]


@dataclass(frozen=True)
class Who:
    run_id: str
    actor: str


def key(erasure: Erasure) -> Key:
    """What names one erasure; a guild may have been erased more than once."""
    return int(erasure["guild_id"]), datetime.fromisoformat(str(erasure["erased_at"])).astimezone(UTC)


def union(*ledgers: Iterable[Erasure]) -> list[Erasure]:
    found: dict[Key, Erasure] = {}
    for ledger in ledgers:
        for erasure in ledger:
            found[key(erasure)] = {**found.get(key(erasure), {}), **erasure}
    return [found[name] for name in sorted(found)]


def read_server(conn: store.Conn) -> list[Erasure]:
    if not store.has_table(conn, "guild_erasure"):
        return []
    return [{**row[0], "guild_id": str(row[0]["guild_id"])} for row in conn.execute(READ)]


def read_directory(directory: Path) -> list[Erasure]:
    """The copy of the ledger, and the certificates that lie beside it."""
    found: list[Erasure] = []
    for path in [directory / LEDGER, *sorted(directory.glob(CERTIFICATES))]:
        if path.name == LEDGER and not path.exists():
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            found += content["erasures"] if path.name == LEDGER else _of_certificate(content)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            raise PlatformError(f"{path} cannot be read, so it is not known who was erased: {problem}") from problem
    return union(found)


def _of_certificate(content: Mapping[str, Any]) -> list[Erasure]:
    if not content["erased_at"]:
        return []
    names = {"guild_id": "guild", "erased_at": "erased_at", "erased_by": "erased_by", "schema_version": "schema_version"}
    return [{name: content[key] for name, key in names.items()}]


def save(directory: Path, conn: store.Conn, check: bool) -> tuple[list[Erasure], bool]:
    """The copy, grown by what the server knows."""
    known = read_directory(directory)
    grown = union(known, read_server(conn))
    path = directory / LEDGER
    missing = len(grown) != len(known) or not path.exists()
    if missing and not check:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _files.write(path, json.dumps({"erasures": grown}, indent=1).encode() + b"\n", 0o600)
    return grown, missing


def to_replay(ledger: Iterable[Erasure], conn: store.Conn) -> list[Erasure]:
    """Erasures that this database does not know."""
    known = {key(erasure) for erasure in read_server(conn)}
    return [erasure for erasure in ledger if key(erasure) not in known]


def returned(conn: store.Conn, erasures: Iterable[Erasure]) -> list[int]:
    """Guilds that came back with the restore, though they were erased after the point it was made to."""
    ids = sorted({key(erasure)[0] for erasure in erasures})
    return [row[0] for row in conn.execute("SELECT guild_id FROM dcm.guild WHERE guild_id = ANY (%s::bigint[]) ORDER BY 1", (ids,))]


def replay(access: store.Access, ledger: Iterable[Erasure], erase: Erase, who: Who, check: bool) -> dict[str, Any]:
    """Erases again who came back, and puts the forgotten rows into the ledger again. Safe to repeat."""
    with access.connect("erasure replay") as conn:
        missing = to_replay(ledger, conn)
        back = returned(conn, missing)
        result = {"replayed": [str(guild_id) for guild_id in back], "forgotten": len(missing), "changed": bool(missing), "failure": ""}
        if check or not missing:
            return result
        if back:
            result["failure"] = erase(back)["failure"]
        if not result["failure"]:
            _remember(conn, missing, who)
        left = returned(conn, missing)
    if left and not result["failure"]:
        result["failure"] = f"still there after they were erased again: {', '.join(map(str, left[:10]))}"
    return result


def _remember(conn: store.Conn, erasures: Sequence[Erasure], who: Who) -> None:
    """The rows as they were. They are written last: a run that is killed before finds them missing again."""
    columns = {row[0] for row in conn.execute(COLUMNS)} - {"id"}
    with conn.transaction():
        for erasure in erasures:
            given = {name: value for name, value in erasure.items() if name in columns and value is not None}
            statement = sql.SQL("INSERT INTO dcm.guild_erasure ({}) VALUES ({})").format(
                sql.SQL(", ").join(map(sql.Identifier, given)), sql.SQL(", ").join(sql.Placeholder() * len(given))
            )
            conn.execute(statement, list(given.values()))
            conn.execute(AUDIT, (who.run_id, key(erasure)[0], json.dumps(dict(erasure)), who.actor))
        if store.has_table(conn, "guild_offboarding"):
            conn.execute("DELETE FROM dcm.guild_offboarding WHERE guild_id = ANY (%s::bigint[])", ([key(found)[0] for found in erasures],))
