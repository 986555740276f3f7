# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The end of a guild: suspended at once, erased after a grace period, with a certificate of what was removed and what remains."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils import _guild_archive as archive
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_copy import GuildCopy
from ansible_collections.dcm.platform.plugins.module_utils._guild_ids import schema_name
from ansible_collections.dcm.platform.plugins.module_utils._guild_sql import Session
from ansible_collections.dcm.platform.plugins.module_utils._guild_store import Access, Conn
from psycopg import sql

REQUEST = """
INSERT INTO dcm.guild_offboarding (guild_id, reason, requested_by, erase_after) VALUES (%s, %s, %s, now() + %s)
ON CONFLICT (guild_id) DO NOTHING
"""
READ_REQUESTS = """
SELECT w.id, g.guild_id IS NOT NULL, g.state, o.reason, o.requested_at, o.erase_after, o.erase_after <= now(), e.id IS NOT NULL
FROM unnest(%s::bigint[]) w (id) LEFT JOIN dcm.guild g ON g.guild_id = w.id LEFT JOIN dcm.guild_offboarding o ON o.guild_id = w.id
LEFT JOIN LATERAL (SELECT id FROM dcm.guild_erasure WHERE guild_id = w.id AND kind = 'erased' ORDER BY id DESC LIMIT 1) e ON true ORDER BY 1
"""
ERASURE = """
SELECT id, schema_version, erased_at, erased_by FROM dcm.guild_erasure WHERE guild_id = %s AND kind = 'erased' ORDER BY id DESC LIMIT 1
"""
# Everything on this server that could still speak of a guild, but for the audit log and the ledger of erasures, which are to.
REMAINS = """
SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = ('guild_' || %(id)s)::name
UNION ALL SELECT 'role ' || rolname FROM pg_roles
    WHERE rolname IN (('guild_' || %(id)s || '_owner')::name, ('guild_' || %(id)s || '_app')::name)
UNION ALL SELECT 'row in dcm.guild' FROM dcm.guild WHERE guild_id = %(id)s
UNION ALL SELECT 'row in dcm.guild_migration' FROM dcm.guild_migration WHERE guild_id = %(id)s
UNION ALL SELECT 'row in dcm.guild_offboarding' FROM dcm.guild_offboarding WHERE guild_id = %(id)s
UNION ALL SELECT 'row in dcm.guild_move' FROM dcm.guild_move WHERE guild_id = %(id)s
"""
AUDIT = "INSERT INTO dcm.audit_log (run_id, guild_id, action, detail, actor) VALUES (%s, %s, %s, %s::jsonb, %s)"
# What else speaks of a guild and is not looked at by this certificate: said in it, so that nobody takes silence for proof.
NOT_ASKED = (
    "backups (kept until they expire; the ledger of erasures is replayed after a restore)",
    "logs, metrics and traces",
    "Redis streams",
)


@dataclass(frozen=True)
class Asked:
    """One guild and how far its end has come."""

    guild_id: int
    registered: bool
    state: str | None
    reason: str | None
    requested_at: datetime | None
    erase_after: datetime | None
    due: bool | None
    erased_before: bool


@dataclass(frozen=True)
class Terms:
    """What an erasure may do without. Every one of these is an explicit word of the operator."""

    archive_dir: str | None
    without_archive: bool
    skip_grace: bool
    certificate_dir: str


def read_asked(conn: Conn, ids: Sequence[int]) -> list[Asked]:
    return [Asked(*row) for row in conn.execute(READ_REQUESTS, (list(ids),))]


def request(conn: Conn, ids: Sequence[int], grace: timedelta, reason: str, session: Session) -> list[int]:
    """Books the end of guilds that are suspended already. The first request counts: a second one does not move the day."""
    done = []
    for guild_id in ids:
        with conn.transaction():
            if conn.execute(REQUEST, (guild_id, reason, session.actor, grace)).rowcount:
                detail = json.dumps({"reason": reason, "grace_days": grace.days})
                conn.execute(AUDIT, (session.run_id, guild_id, "offboarding", detail, session.actor))
                done.append(guild_id)
    return done


def cancel(conn: Conn, ids: Sequence[int], session: Session) -> list[int]:
    done = []
    for guild_id in ids:
        with conn.transaction():
            if conn.execute("DELETE FROM dcm.guild_offboarding WHERE guild_id = %s", (guild_id,)).rowcount:
                conn.execute(AUDIT, (session.run_id, guild_id, "offboarding_cancelled", "{}", session.actor))
                done.append(guild_id)
    return done


def refuse(asked: Sequence[Asked], terms: Terms) -> None:
    """Nothing is erased while one of the guilds may not be."""
    refused = [f"guild {guild.guild_id}: {reason}" for guild in asked if (reason := _refusal(guild, terms))]
    if refused:
        raise PlatformError(f"{len(refused)} of {len(asked)} guilds may not be erased, nothing was erased: {'; '.join(refused[:10])}")


def _refusal(guild: Asked, terms: Terms) -> str:
    if not guild.registered:
        return "" if guild.erased_before else "it is not registered, and was never erased here: is the id right?"
    if guild.requested_at is None:
        return "nobody asked for its end: request it first, which suspends it"
    if not guild.due and not terms.skip_grace:
        return f"its grace period lasts until {guild.erase_after:%Y-%m-%d %H:%M %Z}"
    if guild.state != "suspended":
        return f"it is {guild.state}, not suspended: it was taken back into service meanwhile; cancel the request, or make it anew"
    return "" if terms.without_archive else _archive_refusal(guild, terms)


def _archive_refusal(guild: Asked, terms: Terms) -> str:
    if not terms.archive_dir:
        return "no archive_dir is given: export it first, or say that it is to be erased without an archive"
    try:
        manifest = archive.verify_archive(archive.archive_folder(terms.archive_dir, guild.guild_id), guild.guild_id)
    except PlatformError as problem:
        return str(problem)
    taken = datetime.fromisoformat(manifest.taken_at)
    if guild.requested_at and taken + timedelta(seconds=1) < guild.requested_at:
        return f"its archive was taken at {manifest.taken_at}, before it was suspended, so it may lack the last changes: export it again"
    return ""


def count_rows(conn: Conn, guild_id: int, session: Session) -> dict[str, int]:
    """Rows by table, before they go."""
    copy = GuildCopy(conn, guild_id, session)
    with conn.transaction(force_rollback=True):
        names = sorted(copy.shape().tables)
        copy.enter()
        counts = {}
        for name in names:
            row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))).fetchone()
            counts[name] = int(row[0]) if row else 0
    return counts


def erase(
    access: Access, asked: Sequence[Asked], terms: Terms, session: Session, engine: Callable[[list[int]], dict[str, Any]]
) -> dict[str, Any]:
    """Counts, erases all of them by the engine, asks what remains, certifies each. Safe to repeat after a kill."""
    refuse(asked, terms)
    with access.connect("guild offboarding") as conn:
        rows = {guild.guild_id: count_rows(conn, guild.guild_id, session) for guild in asked if guild.registered}
    result = engine([guild.guild_id for guild in asked if guild.registered]) if rows else {"failure": "", "changed": False}
    with access.connect("guild offboarding") as conn:
        certificates = [_certify(conn, guild, rows.get(guild.guild_id), terms, session) for guild in asked]
    left = [f"guild {found['guild']}: {', '.join(found['remains'])}" for found in certificates if found["remains"]]
    problem = result["failure"] or (f"not everything is gone: {'; '.join(left)}" if left else "")
    return {"changed": bool(rows), "certificates": certificates, "failure": problem}


def _certify(conn: Conn, guild: Asked, rows: dict[str, int] | None, terms: Terms, session: Session) -> dict[str, Any]:
    erased = conn.execute(ERASURE, (guild.guild_id,)).fetchone()
    gone = not conn.execute("SELECT FROM dcm.guild WHERE guild_id = %s", (guild.guild_id,)).fetchone()
    if gone:
        conn.execute("DELETE FROM dcm.guild_offboarding WHERE guild_id = %s", (guild.guild_id,))
    remains = [row[0] for row in conn.execute(REMAINS, {"id": guild.guild_id})]
    found: dict[str, Any] = {
        "guild": str(guild.guild_id),
        "erased_at": erased[2].isoformat() if erased and gone else "",
        "erased_by": erased[3] if erased and gone else "",
        "erasure": erased[0] if erased and gone else None,
        "schema_version": erased[1] if erased and gone else "",
        "reason": guild.reason or "",
        "removed": _removed(guild, rows) if gone and rows is not None else [],
        "archive": _archive_words(guild, terms),
        "remains": remains,
        "not_asked": list(NOT_ASKED),
        "server": f"{conn.info.host}:{conn.info.port}/{conn.info.dbname}",
    }
    if not remains:
        found["file"] = str(_write(Path(terms.certificate_dir), found))
        conn.execute(AUDIT, (session.run_id, guild.guild_id, "certified", json.dumps(found), session.actor))
    return found


def _removed(guild: Asked, rows: dict[str, int]) -> list[str]:
    name = schema_name(guild.guild_id)
    tables = [f"table {name}.{table} with {count:,} rows" for table, count in rows.items()]
    return [
        *tables,
        f"schema {name}",
        f"role {name}_owner and its default rights",
        f"role {name}_app",
        "registry entry",
        "ledger of migrations",
    ]


def _archive_words(guild: Asked, terms: Terms) -> str:
    if terms.without_archive or not terms.archive_dir:
        return "none: the operator said so"
    try:
        return archive.read_manifest(archive.archive_folder(terms.archive_dir, guild.guild_id)).digest()
    except PlatformError:
        return "none"


def _write(folder: Path, certificate: dict[str, Any]) -> Path:
    """One file a guild; a second certificate of the same erasure takes the place of the first, unless that one says more."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"erasure-{certificate['guild']}-{certificate['erasure']}.json"
    if path.exists() and not certificate["removed"]:
        return path
    content = {**certificate, "certified_at": datetime.now(UTC).isoformat(timespec="seconds")}
    part = path.with_suffix(".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.write(json.dumps(content, indent=2) + "\n")
    part.rename(path)
    return path
