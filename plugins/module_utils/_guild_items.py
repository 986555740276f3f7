# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The things of one guild's schema with the words that make them: what a repair compares. Reads only.

_guild_drift reads the same things of a whole fleet, as lines and without the words that make them: that is what it is fast by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._guild_ids import app_role, owner_role, schema_name
from ansible_collections.dcm.platform.plugins.module_utils._guild_store import Conn

# Stands for guild_<id>, also in the names of its roles. No text of Postgres can hold it.
HERE = "\0"
# {acl:list, kind, owner}: the rights as [who, right, may pass it on]. A list that is not there stands for what Postgres gives by itself.
ACL = re.compile(r"\{acl:(.+?), (.+?), (.+?)\}")
RIGHTS = r"""(SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_array(CASE x.grantee WHEN 0 THEN 'public' ELSE pg_get_userbyid(x.grantee) END,
    x.privilege_type, x.is_grantable)), '[]') FROM aclexplode(coalesce(\1, acldefault(\2, \3))) x)"""
WITH = """WITH n AS MATERIALIZED (SELECT oid, nspowner, nspacl FROM pg_namespace WHERE nspname = %(schema)s),
r AS MATERIALIZED (SELECT * FROM pg_roles WHERE rolname = ANY (%(roles)s)),
c AS MATERIALIZED (SELECT k.* FROM n JOIN pg_class k ON k.relnamespace = n.oid)
"""
# One SELECT for each kind: (kind, name as an array of texts, facts).
PARTS = (
    "SELECT 'schema', ARRAY[]::text[], jsonb_build_object('owner', pg_get_userbyid(nspowner), 'acl', {acl:nspacl, 'n', nspowner}) FROM n",
    """SELECT 'role', ARRAY[rolname::text], jsonb_build_object('LOGIN', rolcanlogin, 'INHERIT', rolinherit, 'SUPERUSER', rolsuper,
        'CREATEDB', rolcreatedb, 'CREATEROLE', rolcreaterole, 'REPLICATION', rolreplication, 'BYPASSRLS', rolbypassrls) FROM r""",
    """SELECT DISTINCT 'membership', ARRAY[pg_get_userbyid(m.roleid)::text, pg_get_userbyid(m.member)::text], '{}'::jsonb
        FROM r JOIN pg_auth_members m ON r.oid IN (m.roleid, m.member)
        WHERE pg_get_userbyid(m.member) <> %(service)s OR pg_get_userbyid(m.roleid) = %(owner)s""",
    """SELECT 'default rights', ARRAY[pg_get_userbyid(d.defaclrole)::text, d.defaclobjtype::text,
            CASE WHEN d.defaclnamespace = 0 THEN 'everywhere' ELSE 'here' END],
        jsonb_build_object('acl', {acl:d.defaclacl, 'r', d.defaclrole})
        FROM pg_default_acl d
        WHERE d.defaclnamespace = (SELECT oid FROM n) OR d.defaclrole = (SELECT oid FROM r WHERE rolname = %(owner)s)""",
    """SELECT 'relation', ARRAY[relname::text], jsonb_build_object('kind', relkind, 'persistence', relpersistence,
        'row security', relrowsecurity, 'forced row security', relforcerowsecurity, 'owner', pg_get_userbyid(relowner),
        'options', coalesce(reloptions, '{}'),
        'acl', {acl:relacl, (CASE relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char", relowner},
        'definition', CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END) FROM c WHERE relkind NOT IN ('i', 'I', 't')""",
    """SELECT 'column', ARRAY[c.relname::text, a.attname::text], jsonb_build_object('number', a.attnum,
        'type', format_type(a.atttypid, a.atttypmod), 'not null', a.attnotnull, 'identity', a.attidentity, 'generated', a.attgenerated,
        'collation', (SELECT k.collname FROM pg_collation k WHERE k.oid = a.attcollation AND k.collname <> 'default'),
        'options', (SELECT coalesce(jsonb_agg(o ORDER BY o), '[]') FROM unnest(a.attoptions) o WHERE o !~ '^pg_attver='),
        'default', pg_get_expr(d.adbin, d.adrelid), 'acl', {acl:a.attacl, 'c', c.relowner})
        FROM c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE c.relkind IN ('r', 'p', 'f')""",
    """SELECT 'index', ARRAY[c.relname::text], jsonb_build_object('table', t.relname, 'valid', i.indisvalid,
        'definition', pg_get_indexdef(c.oid))
        FROM c JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_class t ON t.oid = i.indrelid
        WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid AND k.contype IN ('p', 'u', 'x'))""",
    """SELECT 'constraint', ARRAY[c.relname::text, k.conname::text], jsonb_build_object('type', k.contype, 'validated', k.convalidated,
        'definition', pg_get_constraintdef(k.oid))
        FROM c JOIN pg_constraint k ON k.conrelid = c.oid WHERE k.contype IN ('p', 'u', 'x', 'f', 'c') AND k.coninhcount = 0""",
    """SELECT 'sequence', ARRAY[c.relname::text], jsonb_build_object('AS', format_type(s.seqtypid, NULL), 'START', s.seqstart,
        'INCREMENT', s.seqincrement, 'MINVALUE', s.seqmin, 'MAXVALUE', s.seqmax, 'CACHE', s.seqcache, 'CYCLE', s.seqcycle)
        FROM c JOIN pg_sequence s ON s.seqrelid = c.oid""",
    """SELECT 'function', ARRAY[p.proname::text, pg_get_function_identity_arguments(p.oid)], jsonb_build_object('kind', p.prokind,
        'returns', pg_get_function_result(p.oid), 'definition', CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END,
        'owner', pg_get_userbyid(p.proowner), 'acl', {acl:p.proacl, 'f', p.proowner}) FROM n JOIN pg_proc p ON p.pronamespace = n.oid""",
    """SELECT 'type', ARRAY[t.typname::text], jsonb_build_object('kind', t.typtype, 'owner', pg_get_userbyid(t.typowner),
        'not null', t.typnotnull, 'default', t.typdefault,
        'base', CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
        'labels', (SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
        'checks', (SELECT jsonb_agg(pg_get_constraintdef(k.oid) ORDER BY k.conname) FROM pg_constraint k WHERE k.contypid = t.oid),
        'acl', {acl:t.typacl, 'T', t.typowner})
        FROM n JOIN pg_type t ON t.typnamespace = n.oid AND t.typrelid = 0 AND t.typcategory <> 'A'""",
    """SELECT 'trigger', ARRAY[c.relname::text, t.tgname::text], jsonb_build_object('enabled', t.tgenabled,
        'definition', pg_get_triggerdef(t.oid))
        FROM c JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal""",
    """SELECT 'policy', ARRAY[c.relname::text, p.polname::text], jsonb_build_object('command', p.polcmd, 'permissive', p.polpermissive,
        'roles', (SELECT jsonb_agg(CASE o WHEN 0 THEN 'public' ELSE pg_get_userbyid(o) END) FROM unnest(p.polroles) o),
        'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid))
        FROM c JOIN pg_policy p ON p.polrelid = c.oid""",
)
READ = WITH + "\nUNION ALL\n".join(ACL.sub(RIGHTS, part) for part in PARTS)

Name = tuple[str, ...]
Facts = Mapping[str, Any]
Items = dict[tuple[str, Name], Facts]


@dataclass(frozen=True)
class Scope:
    """A guild's schema, or the one that its migrations were tried in."""

    guild_id: int
    service_role: str

    def read(self, conn: Conn) -> Items:
        """(kind, name) -> facts, with HERE in place of the guild's own name."""
        owner, schema = owner_role(self.guild_id), schema_name(self.guild_id)
        values = {"schema": schema, "owner": owner, "roles": [owner, app_role(self.guild_id)], "service": self.service_role}
        found: Items = {}
        for kind, name, facts in conn.execute(READ.encode(), values):
            found[kind, tuple(part.replace(schema, HERE) for part in name)] = _unnamed(facts, schema)
        return found


def _unnamed(value: Any, schema: str) -> Any:
    if isinstance(value, str):
        return value.replace(schema, HERE)
    if isinstance(value, dict):
        return {key: _unnamed(inner, schema) for key, inner in value.items()}
    return [_unnamed(inner, schema) for inner in value] if isinstance(value, list) else value


def named(text: str, guild_id: int) -> str:
    return text.replace(HERE, schema_name(guild_id))
