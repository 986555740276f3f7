# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The text that is sent for one guild: one multi-statement string, so one round trip and one transaction. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.dcm.platform.plugins.module_utils._guild_ids import app_role, owner_role, schema_name
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import (
    CREATE,
    MOVING,
    ONBOARDING,
    SUSPENDED,
    Current,
    GuildPlan,
    Segment,
)
from psycopg import sql

DEFAULT_RIGHTS = """
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO {app};
ALTER DEFAULT PRIVILEGES GRANT USAGE ON TYPES TO {app};
ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app};
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO {app};
"""
FORGET_DEFAULT_RIGHTS = """
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT EXECUTE ON FUNCTIONS TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT USAGE ON TYPES TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE EXECUTE ON FUNCTIONS FROM {app};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE USAGE ON TYPES FROM {app};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE SELECT, INSERT, UPDATE, DELETE ON TABLES FROM {app};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE USAGE ON SEQUENCES FROM {app};
"""
CREATE_GUILD = """
CREATE ROLE {owner} {login};
CREATE ROLE {app} {login};
{join}
CREATE SCHEMA {schema} AUTHORIZATION {owner};
GRANT USAGE ON SCHEMA {schema} TO {app};
"""

LET_SERVICE_IN = "GRANT {app} TO {service};"
ENTER_GUILD = "SET LOCAL ROLE {owner};" + DEFAULT_RIGHTS + "SET LOCAL search_path = {schema};"
# Why a guild's data leaves a server.
ERASED, MOVED, DISCARDED = "erased", "moved", "discarded"

# The path goes back first of all: the plans that functions keep are good for one path only.
BACK = "\n;SET LOCAL ROLE NONE; {leave} SET LOCAL search_path = pg_catalog, pg_temp; "

# Where the database has Citus. Several definitions in one transaction go to its workers over one connection each.
SHARDING = {
    "": "",
    "on": "SET LOCAL citus.enable_schema_based_sharding = on; SET LOCAL citus.multi_shard_modify_mode = 'sequential';",
    "off": "SET LOCAL citus.enable_schema_based_sharding = off;",
}


@dataclass(frozen=True, slots=True)
class Session:
    """Who does the work, and whether new schemas are spread by Citus (on), are not (off), or there is none."""

    service_role: str
    superuser: bool
    run_id: str
    actor: str
    sharding: str = ""


@dataclass(frozen=True, slots=True)
class Script:
    """A text for one transaction, and where in it the migrations begin."""

    text: str
    body_at: int = 0


def _names(guild_id: int, session: Session) -> dict[str, sql.Composable]:
    owner = sql.Identifier(owner_role(guild_id))
    return {
        "schema": sql.Identifier(schema_name(guild_id)),
        "owner": owner,
        "app": sql.Identifier(app_role(guild_id)),
        "service": sql.Identifier(session.service_role),
        "id": sql.Literal(guild_id),
        "join": sql.SQL("") if session.superuser else sql.SQL("GRANT {} TO CURRENT_USER;").format(owner),
        # Citus connects to its workers as the role that is taken. Without a password nobody else gets in as it by SCRAM.
        "login": sql.SQL("LOGIN" if session.sharding == "on" else "NOLOGIN"),
        "leave": sql.SQL("") if session.superuser else sql.SQL("REVOKE {} FROM CURRENT_USER;").format(owner),
    }


def _text(parts: Sequence[sql.Composable]) -> str:
    return sql.Composed(parts).as_string(None)


def claim(guild_id: int, state: str | None, digest: str | None) -> sql.Composed:
    return sql.SQL("SELECT dcm.claim_guild({}, {}, {});").format(guild_id, state, digest)


def body_of(segment: Segment) -> str:
    return "\n;\n".join(migration.up for migration in segment.migrations)


def create_script(plan: GuildPlan, segment: Segment, state: str, session: Session) -> Script:
    """Roles, schema, rights and the first migrations of a new guild."""
    names = _names(plan.guild_id, session)
    parts = [SHARDING[session.sharding], CREATE_GUILD, *([LET_SERVICE_IN] if plan.grant_member else []), ENTER_GUILD]
    head = _text([claim(plan.guild_id, None, None), *(sql.SQL(part).format(**names) for part in parts)])
    placed = (plan.guild_id, state, plan.plan, plan.placement)
    record_it = sql.SQL("SELECT dcm.record_onboarding({}, {}, {}, {}, {});").format(*placed, _reached(segment, session))
    return Script(head + body_of(segment) + _text([sql.SQL(BACK).format(**names), record_it]), len(head))


def _reached(segment: Segment, session: Session) -> sql.Composed:
    """The last arguments of the functions that keep the books."""
    versions = [migration.version for migration in segment.migrations]
    checksums = [migration.checksum for migration in segment.migrations]
    values = (versions, checksums, segment.version, segment.digest, session.run_id, session.actor)
    return sql.SQL(", ").join(map(sql.Literal, values))


def probe_script(guild_id: int, segment: Segment, session: Session) -> str:
    """A new guild without registry, ledger and audit: for a transaction that is rolled back."""
    names = _names(guild_id, session)
    parts = [SHARDING[session.sharding], CREATE_GUILD, LET_SERVICE_IN, ENTER_GUILD]
    head = _text([sql.SQL(part).format(**names) for part in parts])
    return head + body_of(segment) + _text([sql.SQL(BACK).format(**names)])


def migrate_script(plan: GuildPlan, segment: Segment, since: tuple[str, str], state: str, session: Session) -> Script:
    """Some more migrations for a guild that exists; since = its state and digest now."""
    names = _names(plan.guild_id, session)
    enter = sql.SQL("{join} SET LOCAL ROLE {owner}; SET LOCAL search_path = {schema};").format(**names)
    head = _text([claim(plan.guild_id, *since), sql.SQL(SHARDING[session.sharding]), enter])
    tail = _text([sql.SQL(BACK).format(**names)]) + record(plan, segment, state, session)
    return Script(head + body_of(segment) + tail, len(head))


def batch_script(plans: Sequence[GuildPlan], session: Session) -> str:
    """The same migrations for several guilds, in one transaction.

    Names are made of a checked number, so they need no quoting: composing each would cost more than the server takes for it.
    """
    segment = plans[0].segments[0]
    body = body_of(segment)
    before = [plan.before for plan in plans if plan.before]
    ids = [plan.guild_id for plan in plans]
    owners = ", ".join(map(owner_role, ids))
    join, leave = ("", "") if session.superuser else (f"GRANT {owners} TO CURRENT_USER;", f"REVOKE {owners} FROM CURRENT_USER;")
    claimed = (ids, [current.state for current in before], [current.digest for current in before])
    claim_all = sql.SQL("SELECT dcm.claim_guilds({}::bigint[], {}, {});").format(*claimed)
    books = sql.SQL("SELECT dcm.record_migrations({}::bigint[], {}, {}, {});")
    recorded = books.format(ids, [plan.state for plan in plans], [plan.plan for plan in plans], _reached(segment, session))
    work = [f"SET LOCAL ROLE {owner_role(one)}; SET LOCAL search_path = {schema_name(one)};{body}\n;" for one in ids]
    return "".join([_text([claim_all]), SHARDING[session.sharding], join, *work, BACK.replace("{leave}", leave), _text([recorded])])


def record(plan: GuildPlan, segment: Segment, state: str, session: Session) -> str:
    """What a segment leaves in registry, ledger and audit log."""
    books = sql.SQL("SELECT dcm.record_migration({}, {}, {}, {});")
    return _text([books.format(plan.guild_id, state, plan.plan, _reached(segment, session)), *_membership(plan, session)])


def _membership(plan: GuildPlan, session: Session) -> list[sql.Composable]:
    """A suspended guild is out of the services' reach, whatever the services believe."""
    names = _names(plan.guild_id, session)
    if plan.state == SUSPENDED:
        return [sql.SQL("REVOKE {app} FROM {service};").format(**names)] if plan.before and plan.before.has_member else []
    return [sql.SQL("GRANT {app} TO {service};").format(**names)] if plan.grant_member and plan.action != CREATE else []


def update_script(plan: GuildPlan, before: Current, session: Session) -> Script:
    """State, plan and membership only."""
    action = "updated" if plan.state == before.state else ("suspended" if plan.state == SUSPENDED else "resumed")
    statement = "UPDATE dcm.guild SET state = {}, plan = {}, updated_at = now() WHERE guild_id = {};"
    return Script(
        _text(
            [
                claim(plan.guild_id, before.state, before.digest),
                sql.SQL(statement).format(plan.state, plan.plan, plan.guild_id),
                *_membership(plan, session),
                _audit(plan, action, {"plan": plan.plan, "plan_before": before.plan}, session),
            ]
        )
    )


def erase_script(plan: GuildPlan, before: Current, session: Session, kind: str = ERASED) -> Script:
    """The schema object by object without CASCADE, then the roles, then the registry. A discarded arrival was never here."""
    names = _names(plan.guild_id, session)
    roles = [sql.SQL(FORGET_DEFAULT_RIGHTS).format(**names)] if before.has_owner and before.has_app else []
    roles += [sql.SQL("DROP ROLE {app};").format(**names)] if before.has_app else []
    roles += [sql.SQL("DROP ROLE {owner};").format(**names)] if before.has_owner else []
    return Script(
        _text(
            [
                claim(plan.guild_id, before.state, before.digest),
                sql.SQL("{join}" if before.has_owner else "").format(**names),
                sql.SQL("SELECT dcm.drop_guild_schema({id});").format(**names),
                *roles,
                sql.SQL("DELETE FROM dcm.guild_migration WHERE guild_id = {id};").format(**names),
                sql.SQL("DELETE FROM dcm.guild WHERE guild_id = {id};").format(**names),
                *_leave_books(plan.guild_id, before, kind),
                _audit(plan, kind, {"version": before.version}, session),
            ]
        )
    )


def _leave_books(guild_id: int, before: Current, kind: str) -> list[sql.Composable]:
    """The ledger of erasures, and with a move the bookings that have gone to the other server."""
    erasure = "INSERT INTO dcm.guild_erasure (guild_id, schema_version, kind) VALUES ({}, {}, {});"
    kept = [] if kind == DISCARDED else [sql.SQL(erasure).format(guild_id, before.version, kind)]
    tables = [] if kind == ERASED else ["guild_offboarding", "guild_move"]
    return [*kept, *(sql.SQL("DELETE FROM dcm.{} WHERE guild_id = {};").format(sql.Identifier(table), guild_id) for table in tables)]


def _audit(plan: GuildPlan, action: str, detail: dict[str, str], session: Session) -> sql.Composed:
    return sql.SQL("INSERT INTO dcm.audit_log (run_id, guild_id, action, detail, actor) VALUES ({}, {}, {}, {}, {});").format(
        session.run_id, plan.guild_id, action, json.dumps(detail), session.actor
    )


def unfinished(plan: GuildPlan) -> str:
    """What a new guild is until its last segment is in. One that moves in is nobody's to finish but the mover's."""
    return MOVING if plan.state == MOVING else ONBOARDING


def state_after(plan: GuildPlan, index: int) -> str:
    """A guild is 'onboarding' until its last segment is in."""
    if index + 1 < len(plan.segments) and (plan.before is None or plan.before.state == ONBOARDING):
        return unfinished(plan)
    return plan.state if index + 1 == len(plan.segments) or plan.before is None else plan.before.state


def locate(script: Script, segment: Segment, position: int) -> str:
    """File and line of a server's error position (counted in characters, from 1)."""
    offset = position - 1 - script.body_at
    for migration in segment.migrations:
        if 0 <= offset < len(migration.up):
            return f"{migration.file}, line {migration.up_line + migration.up.count(chr(10), 0, offset)}"
        offset -= len(migration.up) + len("\n;\n")
    return ""
