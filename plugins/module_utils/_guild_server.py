# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a Postgres server that somebody else runs can carry the platform: what it is, beside what has to be. Pure.

Every sentence says what is wrong and what to do about it. Managed servers (RDS and its like) give no superuser to anybody: a role that
may create roles and owns the database is enough for all that the guild engine does.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.dcm.platform.plugins.module_utils import _guild_capacity as capacity
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

OLDEST = 15
OLDEST_CITUS = 12

READ_SERVER = """
SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_user::text,
    r.rolsuper, r.rolcreaterole, r.rolconnlimit,
    pg_has_role(d.datdba, 'MEMBER'), pg_get_userbyid(d.datdba)::text, d.datconnlimit, pg_encoding_to_char(d.encoding)::text,
    pg_is_in_recovery(),
    EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_superuser'),
    coalesce(current_setting('rds.restrict_password_commands', true), 'off') = 'on'
        AND NOT coalesce((SELECT pg_has_role(oid, 'MEMBER') FROM pg_roles WHERE rolname = 'rds_password'), false),
    -- Up to Postgres 15 CREATEROLE may grant every role; from 16 on only those that it made, or got to administer.
    (r.rolcreaterole AND current_setting('server_version_num')::int < 160000)
        OR NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'dcm_directory')
        OR EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
            WHERE g.rolname = 'dcm_directory' AND m.admin_option AND pg_has_role(m.member, 'MEMBER')),
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())
FROM pg_database d, pg_roles r WHERE d.datname = current_database() AND r.rolname = current_user
"""
READ_CITUS = """
SELECT a.default_version, e.extversion FROM pg_available_extensions a LEFT JOIN pg_extension e ON e.extname = a.name WHERE a.name = 'citus'
"""
# Not from shared_preload_libraries, which only a superuser may read.
READ_PRELOADED = "SELECT EXISTS (SELECT FROM pg_settings WHERE name LIKE 'citus.%')"

# What libpq and the server say when nobody gets in, and what that means to an operator.
REFUSALS: tuple[tuple[str, str, str], ...] = (
    (
        r"could not translate host name|failed to resolve|Name or service not known|No address associated",
        "no such host name",
        "correct the host, or the name servers of this machine",
    ),
    (r"Connection refused", "nothing listens there", "correct host and port, or start the server"),
    (
        r"timeout expired|timed out|No route to host|Network is unreachable",
        "no answer",
        "let this machine and the cluster's nodes through to it (firewall, security group, route)",
    ),
    (
        r"password authentication failed|empty password|no password supplied",
        "wrong user name or password",
        "correct the administrator's Secret",
    ),
    (r"no pg_hba.conf entry.*(no encryption|SSL off)", "the server wants TLS", "set ssl_mode to verify-full and give its CA"),
    (r"no pg_hba.conf entry", "the server's pg_hba.conf lets nobody in like this", "allow this user, database and address there"),
    (r'database ".*" does not exist', "the database is not there", "create it, owned by the administrator"),
    (r"does not match host name", "its certificate is for another name", "connect by a name that is in the certificate"),
    (r"certificate verify failed", "its certificate is not signed by the given CA", "give the CA of this server"),
    (
        r"root certificate file|server does not support SSL|SSL was required",
        "no verified TLS",
        "give the CA, and switch TLS on in the server",
    ),
    (r"too many (clients|connections)|connection slots are reserved", "no connection is free", "close some, or raise max_connections"),
    (
        r"is not permitted to log in|role \".*\" does not exist",
        "this role cannot log in",
        "correct the user name, or create the role WITH LOGIN",
    ),
)


@dataclass(frozen=True, slots=True)
class Server:
    """What one statement tells, in its order, with what else was read."""

    number: int
    version: str
    user: str
    superuser: bool
    creates_roles: bool
    role_limit: int
    owns_database: bool
    owner: str
    database_limit: int
    encoding: str
    standby: bool
    rds: bool
    passwords_restricted: bool
    directory: bool
    busy: int
    tls: bool
    database: str


@dataclass(frozen=True)
class Needs:
    """What the platform is going to ask of it."""

    guilds: int
    connections: int
    max_connections: int = 0
    networks: Sequence[str] = ()


def explain(said: str) -> str:
    """A refused connection in the operator's words, with the server's own behind them."""
    for pattern, meaning, advice in REFUSALS:
        if re.search(pattern, said, re.IGNORECASE | re.DOTALL):
            return f"{meaning}; {advice} ({said})"
    return said


def problems(server: Server, needs: Needs, findings: Sequence[capacity.Finding], addresses: Sequence[str] = ()) -> list[str]:
    """Everything that would stop the platform, at once."""
    found = [*_kind(server), *_rights(server), *_room(server, needs, findings)]
    networks = [ipaddress.ip_network(network, strict=False) for network in needs.networks]
    outside = [address for address in addresses if not any(ipaddress.ip_address(address) in network for network in networks)]
    if networks and outside:
        found.append(
            f"{', '.join(outside)} is in none of {', '.join(needs.networks)}: network policies would keep the pooler from it; "
            "add its network to the peers of Postgres"
        )
    return found


def warnings(server: Server, findings: Sequence[capacity.Finding], ssl_mode: str) -> list[str]:
    found = [finding.text() for finding in findings if finding.severity == capacity.WARN]
    if not server.tls:
        found.append("the connection is not encrypted: set ssl_mode to verify-full and give the server's CA")
    elif ssl_mode != "verify-full":
        found.append(f"ssl_mode {ssl_mode} does not check that the server is the one it says it is: set it to verify-full and give its CA")
    return found


def _kind(server: Server) -> list[str]:
    found = []
    if server.number // 10000 < OLDEST:
        found.append(f"Postgres {server.version} is too old: {OLDEST} is the oldest that the engine works with; upgrade the server")
    if server.standby:
        found.append("this is a standby, which takes no writes: name the primary")
    if server.encoding != "UTF8":
        found.append(f"database {server.database} has the encoding {server.encoding}: create it anew with ENCODING 'UTF8'")
    return found


def _rights(server: Server) -> list[str]:
    if server.superuser:
        return []
    found = []
    if not server.creates_roles:
        rds = ", as the master user; members of rds_superuser do not have it by that" if server.rds else ""
        found.append(f"{server.user} may not create roles: ALTER ROLE {server.user} CREATEROLE{rds}")
    if not server.owns_database:
        by = f"ALTER DATABASE {server.database} OWNER TO {server.user}"
        found.append(f"database {server.database} belongs to {server.owner}, not to {server.user}: {by}")
    if server.passwords_restricted:
        found.append(f"rds.restrict_password_commands is on: GRANT rds_password TO {server.user}")
    if not server.directory:
        found.append(
            f"role dcm_directory exists, and {server.user} may not grant it: GRANT dcm_directory TO {server.user} WITH ADMIN OPTION"
        )
    return found


def _room(server: Server, needs: Needs, findings: Sequence[capacity.Finding]) -> list[str]:
    found = [finding.text() for finding in findings if finding.severity == capacity.REFUSE]
    has = next(finding.found for finding in findings if finding.name == "max_connections")
    if has < needs.max_connections:
        found.append(f"max_connections is {has}, but the pooler was planned for {needs.max_connections}: raise it, or plan with less")
    limits = {f"role {server.user}": server.role_limit, f"database {server.database}": server.database_limit}
    least = needs.connections + 1
    found += [f"{what} has CONNECTION LIMIT {limit}, {least} are needed: raise it" for what, limit in limits.items() if 0 <= limit < least]
    if server.busy + least > has:
        found.append(f"{server.busy} of {has} connections are taken, {least} more are needed: close some, or raise max_connections")
    return found


def sharding(mode: str, found: Mapping[str, object], database: str) -> str:
    """What the option schema_sharding comes to on this server: on, off, or nothing where there is no Citus to tell."""
    if mode == "off" or not found["loaded"]:
        if mode == "on":
            raise PlatformError(f"schema_sharding is on, but {_without(found, database)}. Set it to auto or off, or bring Citus")
        return "off" if found["loaded"] else ""
    major = int(str(found["version"]).partition(".")[0])
    if major < OLDEST_CITUS:
        if mode == "on":
            raise PlatformError(
                f"schema_sharding is on, but Citus {found['version']} shards no schemas: {OLDEST_CITUS} is the oldest that does"
            )
        return ""
    return "on"


def _without(found: Mapping[str, object], database: str) -> str:
    if not found["available"]:
        return "this server has no extension citus"
    first = "" if found["preloaded"] else "put citus into shared_preload_libraries and restart it, then "
    return f"database {database} has no extension citus: {first}CREATE EXTENSION citus"


def citus(row: tuple[str, str | None] | None, preloaded: bool) -> dict[str, object]:
    """Whether the extension can be had on this server, is there in this database, and in which version."""
    available, loaded = row is not None, bool(row and row[1])
    return {"available": available, "loaded": loaded, "version": (row[1] or row[0]) if row else "", "preloaded": preloaded}
