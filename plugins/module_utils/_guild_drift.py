# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fingerprints of guild schemas: everything the catalog says about a schema, as lines that do not name the guild, and a hash over them.

All guilds are read by one set-based statement per share of the fleet. What a schema should look like is not guessed: it is made from the
migrations in a transaction that is rolled back, and read by the same statement.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.dcm.platform.plugins.module_utils import _guild_sql as build
from ansible_collections.dcm.platform.plugins.module_utils._guild_ids import schema_name
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import MigrationSet
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Migration, Segment
from ansible_collections.dcm.platform.plugins.module_utils._guild_store import Access, Conn
from psycopg import sql

# The id of the schema that is made to be read and rolled back: no guild has it, and no text of a migration holds it by chance.
PROBE = 2**62 - 1
# Postgres 15.20 writes pg_attver=<number> into the options of each column it makes, another number for each table: no part of a schema.
STAMPED = re.compile(r"\{stampless:([a-z.]+)\}")
ACL = re.compile(r"\{acl:([a-z.]+)\}")

REGISTERED = """
SELECT g.guild_id, g.ledger_digest, n.oid AS ns, n.nspname, o.oid AS owner, a.oid AS app, n.nspowner, n.nspacl
FROM dcm.guild g
JOIN pg_namespace n ON n.nspname = ('guild_' || g.guild_id)::name
LEFT JOIN pg_roles o ON o.rolname = ('guild_' || g.guild_id || '_owner')::name
LEFT JOIN pg_roles a ON a.rolname = ('guild_' || g.guild_id || '_app')::name
WHERE {which}
"""
PROBED = """
SELECT {probe}::bigint AS guild_id, ''::text AS ledger_digest, n.oid AS ns, n.nspname, o.oid AS owner, a.oid AS app, n.nspowner, n.nspacl
FROM pg_namespace n, pg_roles o, pg_roles a
WHERE n.nspname = {schema} AND o.rolname = n.nspname || '_owner' AND a.rolname = n.nspname || '_app'
"""
# One SELECT for each kind of thing: (guild_id, nspname, text). From g (guilds), r (their roles) and c (their relations).
# {acl:x} stands for the sorted entries of an ACL column.
PARTS = (
    "SELECT guild_id, nspname, concat_ws(' ', 'schema', pg_get_userbyid(nspowner), {acl:nspacl}) FROM g",
    """SELECT r.guild_id, r.nspname, concat_ws(' ', 'role', p.rolname, p.rolcanlogin, p.rolinherit,
        p.rolsuper OR p.rolcreatedb OR p.rolcreaterole OR p.rolreplication OR p.rolbypassrls)
        FROM r JOIN pg_roles p ON p.oid = r.role""",
    """SELECT r.guild_id, r.nspname, concat_ws(' ', 'member', pg_get_userbyid(m.member), 'of', pg_get_userbyid(m.roleid))
        FROM r JOIN pg_auth_members m ON m.roleid = r.role WHERE r.owns OR m.member <> {service_oid}""",
    """SELECT r.guild_id, r.nspname, concat_ws(' ', 'member', pg_get_userbyid(m.member), 'of', pg_get_userbyid(m.roleid))
        FROM r JOIN pg_auth_members m ON m.member = r.role""",
    # Two parts, not one with OR: that would compare every guild with every default of the whole fleet.
    """SELECT g.guild_id, g.nspname, concat_ws(' ', 'defaults', pg_get_userbyid(d.defaclrole), d.defaclobjtype, d.defaclnamespace = g.ns,
        {acl:d.defaclacl}) FROM g JOIN pg_default_acl d ON d.defaclrole = g.owner""",
    """SELECT g.guild_id, g.nspname, concat_ws(' ', 'defaults', pg_get_userbyid(d.defaclrole), d.defaclobjtype, true, {acl:d.defaclacl})
        FROM g JOIN pg_default_acl d ON d.defaclnamespace = g.ns WHERE d.defaclrole IS DISTINCT FROM g.owner""",
    """SELECT guild_id, nspname, concat_ws(' ', 'relation', relname, relkind, relpersistence, relrowsecurity, relforcerowsecurity,
        pg_get_userbyid(relowner), {acl:relacl}, reloptions, CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END) FROM c""",
    """SELECT c.guild_id, c.nspname, concat_ws(' ', 'column', c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
        CASE WHEN a.attnotnull THEN 'not null' END, a.attidentity, a.attgenerated, nullif(a.attcollation, 0),
        {stampless:a.attoptions},
        pg_get_expr(d.adbin, d.adrelid), {acl:a.attacl})
        FROM c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum""",
    """SELECT c.guild_id, c.nspname, concat_ws(' ', 'index', c.relname, 'on', t.relname, c.relam, i.indisunique, i.indisprimary,
        i.indisexclusion, i.indisvalid, i.indnkeyatts, i.indoption, i.indclass, i.indcollation, pg_get_expr(i.indexprs, i.indrelid),
        pg_get_expr(i.indpred, i.indrelid)) FROM c JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_class t ON t.oid = i.indrelid""",
    """SELECT g.guild_id, g.nspname, concat_ws(' ', 'constraint', k.conname, k.contype, t.relname, k.condeferrable, k.condeferred,
        k.convalidated, CASE WHEN k.contype NOT IN ('p', 'u') THEN pg_get_constraintdef(k.oid) END)
        FROM g JOIN pg_constraint k ON k.connamespace = g.ns LEFT JOIN pg_class t ON t.oid = k.conrelid""",
    """SELECT c.guild_id, c.nspname, concat_ws(' ', 'sequence', c.relname, format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement,
        s.seqmax, s.seqmin, s.seqcache, s.seqcycle) FROM c JOIN pg_sequence s ON s.seqrelid = c.oid""",
    """SELECT g.guild_id, g.nspname, concat_ws(' ', 'function', p.proname, pg_get_function_identity_arguments(p.oid), 'returns',
        pg_get_function_result(p.oid), p.prokind, p.prosecdef, p.provolatile, p.prolang, p.proconfig, md5(p.prosrc),
        pg_get_userbyid(p.proowner), {acl:p.proacl}) FROM g JOIN pg_proc p ON p.pronamespace = g.ns""",
    """SELECT g.guild_id, g.nspname, concat_ws(' ', 'type', t.typname, t.typtype, pg_get_userbyid(t.typowner), t.typnotnull, t.typdefault,
        CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
        (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid), {acl:t.typacl})
        FROM g JOIN pg_type t ON t.typnamespace = g.ns AND t.typrelid = 0 AND t.typcategory <> 'A'""",
    """SELECT c.guild_id, c.nspname, concat_ws(' ', 'trigger', t.tgenabled, pg_get_triggerdef(t.oid))
        FROM c JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal""",
    """SELECT c.guild_id, c.nspname, concat_ws(' ', 'policy', c.relname, p.polname, p.polcmd, p.polpermissive,
        (SELECT string_agg(pg_get_userbyid(r), ',') FROM unnest(p.polroles) r), pg_get_expr(p.polqual, p.polrelid),
        pg_get_expr(p.polwithcheck, p.polrelid)) FROM c JOIN pg_policy p ON p.polrelid = c.oid""",
)
LEDGER = "SELECT g.guild_id, g.nspname, concat_ws(' ', 'ledger', m.version, m.checksum) FROM g JOIN dcm.guild_migration m USING (guild_id)"
RELATIONS = """c AS MATERIALIZED (SELECT g.guild_id, g.nspname, k.oid, k.relname, k.relkind, k.relpersistence, k.relrowsecurity,
    k.relforcerowsecurity, k.relowner, k.relacl, k.reloptions, k.relam FROM g JOIN pg_class k ON k.relnamespace = g.ns),
r AS MATERIALIZED (SELECT g.guild_id, g.nspname, v.role, v.owns
    FROM g CROSS JOIN LATERAL (VALUES (g.owner, true), (g.app, false)) v (role, owns))"""
ALL_LINES = """WITH g AS MATERIALIZED ({scope}), {relations}, lines (guild_id, nspname, line) AS ({union})
SELECT guild_id, replace(line, nspname, '@') AS line FROM lines"""
HASHED = "SELECT guild_id, md5(string_agg(line, E'\\n' ORDER BY line COLLATE \"C\")) FROM ({lines}) x GROUP BY 1"


@dataclass(frozen=True)
class Drift:
    """How one schema differs from what its migrations make."""

    guild_id: int
    missing: tuple[str, ...]
    extra: tuple[str, ...]


def _lines(scope: str, service_role: str, ledger: bool) -> str:
    """The statement that yields (guild_id, line) for every guild in scope."""
    parts = [*PARTS, LEDGER] if ledger else [*PARTS]
    service = sql.SQL("coalesce((SELECT oid FROM pg_roles WHERE rolname = {}), 0)").format(sql.Literal(service_role)).as_string(None)
    union = "\nUNION ALL\n".join(_expand(part).replace("{service_oid}", service) for part in parts)
    return ALL_LINES.replace("{scope}", scope).replace("{relations}", RELATIONS).replace("{union}", union)


def _expand(part: str) -> str:
    """Most columns and many relations have neither list: those are not even looked into."""
    some = r"CASE WHEN \1 IS NOT NULL THEN (SELECT {} FROM unnest(\1) x{}) END"
    part = STAMPED.sub(some.format("string_agg(x, ',' ORDER BY x)", " WHERE x !~ '^pg_attver='"), part)
    return ACL.sub(some.format("string_agg(x::text, ',' ORDER BY x::text)", ""), part)


def fingerprints(access: Access, service_role: str, connections: int, ids: Sequence[int] | None = None) -> dict[int, str]:
    """guild id -> hash; the fleet shared out over some connections."""
    which = "true" if ids is None else sql.SQL("g.guild_id = ANY ({}::bigint[])").format(sql.Literal(list(ids))).as_string(None)

    def share(number: int) -> list[tuple[int, str]]:
        scope = REGISTERED.replace("{which}", f"{which} AND g.guild_id % {connections} = {number}")
        statement = HASHED.replace("{lines}", _lines(scope, service_role, True))
        with access.connect("guild drift") as conn, conn.transaction():
            conn.execute("SET LOCAL statement_timeout = 0; SET LOCAL work_mem = '64MB'")
            return [(row[0], row[1]) for row in conn.execute(statement.encode())]

    with ThreadPoolExecutor(connections) as pool:
        return dict(row for rows in pool.map(share, range(connections)) for row in rows)


def lines_of(conn: Conn, service_role: str, guild_id: int) -> set[str]:
    scope = REGISTERED.replace("{which}", f"g.guild_id = {int(guild_id)}")
    return {row[1] for row in conn.execute(_lines(scope, service_role, True).encode())}


class _Undo(Exception):
    """Ends the transaction of the probe."""


@contextlib.contextmanager
def tried(conn: Conn, session: build.Session, applied: Sequence[Migration]) -> Iterator[None]:
    """What these migrations make of an empty schema, as long as the block: done for real, and rolled back."""
    with contextlib.suppress(_Undo), conn.transaction():
        conn.execute(build.probe_script(PROBE, Segment(tuple(applied), True, "", ""), session).encode())
        yield
        raise _Undo


def tried_lines(conn: Conn, service_role: str, applied: Sequence[Migration]) -> set[str]:
    """Inside of such a block."""
    probe = sql.SQL(PROBED).format(probe=PROBE, schema=schema_name(PROBE)).as_string(None)
    found = {row[1] for row in conn.execute(_lines(probe, service_role, False).encode())}
    return found | {f"ledger {migration.version} {migration.checksum}" for migration in applied}


def expected_lines(conn: Conn, session: build.Session, applied: Sequence[Migration]) -> set[str]:
    with tried(conn, session, applied):
        return tried_lines(conn, session.service_role, applied)


def digest_lines(conn: Conn, lines: Iterable[str]) -> str:
    """Hashed by the server, so that sorting and encoding are the same as for the fleet."""
    row = conn.execute("SELECT md5(string_agg(l, E'\\n' ORDER BY l COLLATE \"C\")) FROM unnest(%s::text[]) l", (list(lines),)).fetchone()
    return str(row[0]) if row else ""


def compare(guild_id: int, found: set[str], expected: set[str]) -> Drift:
    return Drift(guild_id, tuple(sorted(expected - found)), tuple(sorted(found - expected)))


def applied_prefix(migrations: MigrationSet, digest: str) -> tuple[Migration, ...] | None:
    """The migrations behind a digest, if it is one of this folder's history and can be made in one transaction."""
    number = migrations.prefixes.get(digest)
    applied = None if number is None else migrations.migrations[:number]
    return applied if applied is not None and all(migration.transactional for migration in applied) else None
