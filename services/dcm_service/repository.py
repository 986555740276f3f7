# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Every SQL statement of the service. A connection passed in has already taken its role and search path."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from dcm_service.database import Connection
from dcm_service.events import MessageEvent
from dcm_service.rules import Hit, Rule

MAX_RULES = 200


async def enabled_rules(connection: Connection) -> list[Rule]:
    """The rules that apply now, oldest first."""
    query = "SELECT id, name, kind, params FROM cleanup_rule WHERE enabled ORDER BY id LIMIT %s"
    cursor = await connection.execute(query, (MAX_RULES,))
    return [Rule(row["id"], row["name"], row["kind"], row["params"]) for row in await cursor.fetchall()]


async def is_processed(connection: Connection, event_id: str) -> bool:
    """Whether an action of this event is on record."""
    cursor = await connection.execute("SELECT 1 FROM cleanup_action WHERE event_id = %s", (event_id,))
    return await cursor.fetchone() is not None


async def record_action(connection: Connection, event: MessageEvent, hit: Hit, outcome: tuple[str, str], trace_id: str | None) -> bool:
    """Write what was done; False when another delivery of the same event was first."""
    query = """
        INSERT INTO cleanup_action (event_id, rule_id, channel_id, message_id, author_id, action, reason, trace_id)
        VALUES (%s, (SELECT id FROM cleanup_rule WHERE id = %s), %s, %s, %s, %s, %s, %s)
        ON CONFLICT (event_id) DO NOTHING RETURNING id"""
    action, reason = outcome
    ids = (int(event.channel_id), int(event.message_id), int(event.author_id))
    cursor = await connection.execute(query, (event.event_id, hit.rule.rule_id, *ids, action, reason, trace_id))
    return await cursor.fetchone() is not None


async def actions(connection: Connection, limit: int, before: int | None) -> list[dict[str, Any]]:
    """Recent actions, newest first; `before` continues a listing."""
    query = """
        SELECT a.id, a.event_id, r.name AS rule, a.channel_id, a.message_id, a.author_id, a.action, a.reason, a.trace_id, a.occurred_at
        FROM cleanup_action a LEFT JOIN cleanup_rule r ON r.id = a.rule_id
        WHERE %(before)s::bigint IS NULL OR a.id < %(before)s::bigint
        ORDER BY a.id DESC LIMIT %(limit)s"""
    cursor = await connection.execute(query, {"before": before, "limit": limit})
    return await cursor.fetchall()


async def rules(connection: Connection) -> list[dict[str, Any]]:
    """All rules of the guild."""
    cursor = await connection.execute("SELECT name, kind, params, enabled, created_at FROM cleanup_rule ORDER BY id LIMIT %s", (MAX_RULES,))
    return await cursor.fetchall()


async def rule(connection: Connection, name: str) -> dict[str, Any] | None:
    """One rule by name."""
    cursor = await connection.execute("SELECT name, kind, params, enabled, created_at FROM cleanup_rule WHERE name = %s", (name,))
    return await cursor.fetchone()


async def put_rule(connection: Connection, name: str, kind: str, params: dict[str, Any], enabled: bool) -> dict[str, Any] | None:
    """Create or replace a rule; None when the guild has too many."""
    query = """
        INSERT INTO cleanup_rule (name, kind, params, enabled)
        SELECT %(name)s::varchar, %(kind)s::varchar, %(params)s::jsonb, %(enabled)s::boolean
        WHERE (SELECT count(*) FROM cleanup_rule WHERE name <> %(name)s::varchar) < %(most)s
        ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, params = excluded.params, enabled = excluded.enabled
        RETURNING name, kind, params, enabled, created_at"""
    values = {"name": name, "kind": kind, "params": Jsonb(params), "enabled": enabled, "most": MAX_RULES}
    cursor = await connection.execute(query, values)
    return await cursor.fetchone()


async def delete_rule(connection: Connection, name: str) -> bool:
    """Remove a rule; False when there was none."""
    cursor = await connection.execute("DELETE FROM cleanup_rule WHERE name = %s", (name,))
    return cursor.rowcount > 0


async def settings(connection: Connection) -> dict[str, Any]:
    """The guild's settings."""
    cursor = await connection.execute("SELECT key, value FROM settings ORDER BY key")
    return {row["key"]: row["value"] for row in await cursor.fetchall()}
