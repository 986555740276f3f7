# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The control schema and the login role of the services: brought up to date by the same migrations code, under one lock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ansible_collections.dcm.platform.plugins.module_utils import _guild_scram as scram
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import MigrationSet
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Migration
from ansible_collections.dcm.platform.plugins.module_utils._guild_store import Conn, has_table
from psycopg import sql

CONTROL_LOCK = 0x64636D
NEW_ROLE = ("create", "password", "connect", "directory")
SAFE_ATTRIBUTES = "LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
READ_ROLE = """
SELECT r.rolcanlogin AND NOT (r.rolinherit OR r.rolsuper OR r.rolcreatedb OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls),
    EXISTS (SELECT FROM pg_database d, aclexplode(d.datacl) x
        WHERE d.datname = current_database() AND x.grantee = r.oid AND x.privilege_type = 'CONNECT'),
    EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid AND g.rolname = 'dcm_directory')
FROM pg_roles r WHERE r.rolname = %s
"""


class Login(Protocol):
    """The role that services log in as."""

    service_role: str
    service_password: str | None


@dataclass(frozen=True)
class ControlPlan:
    """What the control schema and the service role still need."""

    migrations: tuple[Migration, ...]
    role_steps: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.migrations or self.role_steps)


def pending_control(conn: Conn, wanted: MigrationSet | None) -> tuple[Migration, ...]:
    applied: list[tuple[str, str]] = []
    if has_table(conn, "control_migration"):
        applied = [(version, found) for version, found in conn.execute("SELECT version, checksum FROM dcm.control_migration")]
    elif wanted is None:
        raise PlatformError("the database holds no control schema dcm: give control_migrations_dir, or run the role guild_data first")
    return wanted.pending(applied) if wanted else ()


def role_steps(conn: Conn, role: str, password: str | None, try_login: Callable[[str, str], bool]) -> tuple[str, ...]:
    row = conn.execute(READ_ROLE.encode(), (role,)).fetchone()
    if row is None:
        return tuple(step for step in NEW_ROLE if password or step != "password")
    safe, connects, reads_directory = row
    steps = [] if safe else ["attributes"]
    if password and not _password_holds(conn, role, password, try_login):
        steps.append("password")
    return (*steps, *(() if connects else ("connect",)), *(() if reads_directory else ("directory",)))


def _password_holds(conn: Conn, role: str, password: str, try_login: Callable[[str, str], bool]) -> bool:
    """From the stored verifier; without the right to read that, by logging in."""
    row = conn.execute("SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')").fetchone()
    if not (row and row[0]):
        return try_login(role, password)
    found = conn.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (role,)).fetchone()
    return scram.matches(found[0] if found else None, password)


def plan_control(conn: Conn, wanted: MigrationSet | None, login: Login, try_login: Callable[[str, str], bool]) -> ControlPlan:
    if login.service_password:
        scram.check_password(login.service_password, "service_password")
    return ControlPlan(pending_control(conn, wanted), role_steps(conn, login.service_role, login.service_password, try_login))


def apply_control(conn: Conn, replan: Callable[[], ControlPlan], login: Login) -> ControlPlan:
    """Locks, looks again, and does what is left to do, in one durable transaction."""
    with conn.transaction():
        conn.execute("SET LOCAL synchronous_commit = on")
        conn.execute("SET LOCAL lock_timeout = '60s'")
        # Where the server spreads all new schemas by Citus, the registry is kept out of it.
        conn.execute("SELECT set_config(name, 'off', true) FROM pg_settings WHERE name = 'citus.enable_schema_based_sharding'")
        conn.execute("SELECT pg_advisory_xact_lock(%s)", (CONTROL_LOCK,))
        plan = replan()
        for migration in plan.migrations:
            conn.execute(migration.up.encode())
            conn.execute(
                "INSERT INTO dcm.control_migration (version, name, checksum) VALUES (%s, %s, %s)",
                (migration.version, migration.name, migration.checksum),
            )
        for step in plan.role_steps:
            conn.execute(_role_statement(conn, step, login.service_role, login.service_password or ""))
    return plan


def _role_statement(conn: Conn, step: str, role: str, password: str) -> sql.Composed:
    """The password itself never leaves this process: the server gets the finished verifier."""
    name = sql.Identifier(role)
    if step == "password":
        verifier = conn.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
        return sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, verifier)
    if step == "connect":
        return sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(conn.info.dbname), name)
    if step == "directory":
        return sql.SQL("GRANT dcm_directory TO {}").format(name)
    verb = sql.SQL("CREATE" if step == "create" else "ALTER")
    return sql.SQL("{} ROLE {} {}").format(verb, name, sql.SQL(SAFE_ATTRIBUTES))
