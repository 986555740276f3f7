# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading and connecting: everything the engine asks Postgres, in few set-based statements."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from ansible_collections.dcm.platform.plugins.module_utils._guild_capacity import READ_SETTINGS, normal
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Current, Unreachable
from ansible_collections.dcm.platform.plugins.module_utils._guild_server import explain

Conn = psycopg.Connection[tuple[Any, ...]]
MANY = 2000

READ_GUILDS = """
SELECT g.guild_id, g.state, g.plan, g.placement, g.schema_version, g.ledger_digest,
    n.oid IS NOT NULL, o.oid IS NOT NULL, a.oid IS NOT NULL, m.roleid IS NOT NULL
FROM dcm.guild g
LEFT JOIN pg_namespace n ON n.nspname = ('guild_' || g.guild_id)::name
LEFT JOIN pg_roles o ON o.rolname = ('guild_' || g.guild_id || '_owner')::name
LEFT JOIN pg_roles a ON a.rolname = ('guild_' || g.guild_id || '_app')::name
LEFT JOIN pg_auth_members m ON m.roleid = a.oid AND m.member = (SELECT oid FROM pg_roles WHERE rolname = %(service)s)
"""
READ_ORPHANS = """
SELECT w.id, coalesce('schema ' || n.nspname, 'role ' || r.rolname)
FROM unnest(%(ids)s::bigint[]) AS w (id)
LEFT JOIN pg_namespace n ON n.nspname = ('guild_' || w.id)::name
LEFT JOIN pg_roles r ON r.rolname IN (('guild_' || w.id || '_owner')::name, ('guild_' || w.id || '_app')::name)
WHERE n.oid IS NOT NULL OR r.oid IS NOT NULL
"""
READ_LEDGER = "SELECT version, checksum FROM dcm.guild_migration WHERE guild_id = %s ORDER BY version"


@dataclass(frozen=True)
class Access:
    """Where the server is and how long to wait for it."""

    parameters: Mapping[str, Any] = field(repr=False)
    lock_timeout: float = 2.0
    statement_timeout: float = 60.0

    def connect(self, purpose: str = "guild engine") -> Conn:
        options = {
            "lock_timeout": f"{int(self.lock_timeout * 1000)}ms",
            "statement_timeout": f"{int(self.statement_timeout * 1000)}ms",
            "synchronous_commit": "off",
            "search_path": "pg_catalog,pg_temp",
            "client_min_messages": "warning",
            "jit": "off",
        }
        text = " ".join(f"-c {name}={value}" for name, value in options.items())
        try:
            return psycopg.connect(
                **{"connect_timeout": 10, **self.parameters}, options=text, application_name=f"dcm {purpose}", autocommit=True
            )
        except psycopg.OperationalError as problem:
            where = f"{self.parameters.get('host')}:{self.parameters.get('port')}, database {self.parameters.get('dbname')}"
            raise Unreachable(
                f"cannot log in to Postgres at {where} as {self.parameters.get('user')}: {explain(_short(problem))}"
            ) from problem


def _short(problem: Exception) -> str:
    return " ".join(str(problem).split())[:300]


def is_superuser(conn: Conn) -> bool:
    return bool(_value(conn, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))


def has_table(conn: Conn, name: str) -> bool:
    """Reads the catalog's tables: to_regclass may answer from a cache that is older than a lock just taken."""
    statement = "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'dcm' AND c.relname = %s"
    return conn.execute(statement, (name,)).fetchone() is not None


def has_registry(conn: Conn) -> bool:
    return has_table(conn, "guild")


def read_current(conn: Conn, service_role: str, ids: Iterable[int] | None = None) -> dict[int, Current]:
    """The registry with what the catalog says about each guild; all of it when ids is None or many."""
    wanted = None if ids is None else list(ids)
    parameters: dict[str, Any] = {"service": service_role}
    statement = READ_GUILDS
    if wanted is not None and len(wanted) <= MANY:
        statement += "WHERE g.guild_id = ANY (%(ids)s::bigint[])"
        parameters["ids"] = wanted
    kept = None if wanted is None else set(wanted)
    rows = conn.execute(statement.encode(), parameters)
    return {row[0]: Current(*row) for row in rows if kept is None or row[0] in kept}


@contextlib.contextmanager
def one_snapshot(conn: Conn) -> Iterator[None]:
    """Registry and catalog of the same moment, while other operators work."""
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def read_orphans(conn: Conn, ids: Iterable[int]) -> dict[int, str]:
    """Unregistered ids whose schema or role exists all the same."""
    wanted = list(ids)
    return dict(conn.execute(READ_ORPHANS.encode(), {"ids": wanted}).fetchall()) if wanted else {}


def read_ledger(conn: Conn, guild_id: int) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in conn.execute(READ_LEDGER, (guild_id,))]


def read_settings(conn: Conn) -> dict[str, int]:
    """The settings of the server that depend on the number of guilds: bytes, milliseconds, or plain numbers."""
    return normal({name: (setting, unit) for name, setting, unit in conn.execute(READ_SETTINGS.encode())})


def count_guilds(conn: Conn) -> int:
    return int(_value(conn, "SELECT count(*) FROM dcm.guild"))


def make_durable(conn: Conn, run_id: str, action: str, detail: str, actor: str) -> None:
    """One synchronous commit at the end also flushes every earlier asynchronous one."""
    with conn.transaction():
        conn.execute("SET LOCAL synchronous_commit = on")
        conn.execute(
            "INSERT INTO dcm.audit_log (run_id, action, detail, actor) VALUES (%s, %s, %s::jsonb, %s)", (run_id, action, detail, actor)
        )


def _value(conn: Conn, statement: str) -> Any:
    row = conn.execute(statement.encode()).fetchone()
    return row[0] if row else None
