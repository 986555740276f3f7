# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Postgres, Redis and the guild registry promise."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import redis
from ansible_collections.dcm.platform.plugins.module_utils._verify import Broken, NotApplicable, Promise
from ansible_collections.dcm.platform.plugins.module_utils._verify_site import Site
from psycopg import sql
from redis.backoff import NoBackoff
from redis.retry import Retry

SCRAM = {"require_auth": "scram-sha-256", "connect_timeout": 10}
TABLE = "cleanup_action"
POOLED_TRANSACTIONS = 40
READ_DIRECTORY = "SELECT guild_id, state, schema_version FROM dcm.guild_directory"


@contextlib.contextmanager
def connect(site: Site, user: str, password: str, name: str | None = None) -> Iterator[psycopg.Connection[Any]]:
    """A connection that the server has to ask a SCRAM proof for; any other way in is refused on our side."""
    inputs = site.inputs
    with (
        site.reach_name(name or inputs.postgres_host, inputs.postgres_port) as (host, port),
        psycopg.connect(host=host, port=port, dbname=inputs.postgres_database, user=user, password=password, **SCRAM) as connection,  # type: ignore[arg-type]
    ):
        yield connection


def administrator(site: Site) -> tuple[str, str]:
    reference = f"{site.inputs.namespace_data}/{site.inputs.postgres_admin_secret}"
    return site.secret(reference, "username"), site.secret(reference, "password")


def services(site: Site) -> tuple[str, str]:
    """The login of the services."""
    return site.inputs.service_role, site.credential("postgres-password")


def two_guilds(site: Site) -> tuple[int, int]:
    """The first two of the inventory; with several servers, the first two that live on the site's own."""
    here = site.inputs.guilds
    if len(site.inputs.placements) > 1:
        with connect(site, *administrator(site)) as connection:
            lives = {row[0] for row in connection.execute("SELECT guild_id FROM dcm.guild_directory WHERE state = 'active'")}
        here = [guild for guild in here if guild in lives]
    if len(here) < 2:
        raise NotApplicable("needs two guilds on one server; name them in verify_guild_ids")
    return here[0], here[1]


def directories(site: Site) -> dict[str, list[tuple[int, str, str]]]:
    """Guild, state and schema version by name of the server; each server has to answer."""
    if not site.inputs.placements:
        with connect(site, *administrator(site)) as connection:
            return {"default": connection.execute(READ_DIRECTORY).fetchall()}
    found = {}
    for placement in site.inputs.placements:
        user, password = (site.secret(placement["admin_secret"], key) for key in ("username", "password"))
        where = {"dbname": placement["database"], "user": user, "password": password, **SCRAM}
        with (
            site.reach_name(placement["host"], int(placement["port"])) as (host, port),
            psycopg.connect(host=host, port=port, **where) as connection,
        ):
            found[str(placement["name"])] = connection.execute(READ_DIRECTORY).fetchall()
    return found


def postgres_scram(site: Site) -> str:
    """The services log in by SCRAM, and may do nothing by themselves."""
    with connect(site, *services(site)) as connection:
        row = connection.execute(
            "SELECT current_setting('server_version'), rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = user"
        )
        version, mighty = row.fetchone() or ("?", True)
    if mighty:
        raise Broken(f"no rights for {site.inputs.service_role}", "it is superuser, or may create roles or databases")
    return f"Postgres {version} let {site.inputs.service_role} in by SCRAM-SHA-256"


def postgres_wrong_password(site: Site) -> str:
    """The same with a wrong password fails, for every login that we know."""
    for user, password in (services(site), administrator(site)):
        try:
            with connect(site, user, password[::-1] + "x"):
                raise Broken("a refusal", f"{user} got in with a wrong password")
        except psycopg.OperationalError as error:
            if "password authentication failed" not in str(error):
                raise
    return "two logins were refused with a wrong password"


def guild_isolation(site: Site) -> str:
    """As one guild's role: its own table can be read, the other's cannot, nor can the role be changed into the other's by name in SQL."""
    mine, other = two_guilds(site)
    with connect(site, *services(site)) as connection:
        for guild in (mine, other):
            _read_own(connection, guild)
        for reader, owner in ((mine, other), (other, mine), (None, mine)):
            try:
                _read_as(connection, reader, owner)
            except psycopg.errors.InsufficientPrivilege:
                continue
            who = f"guild {reader}'s role" if reader else f"{site.inputs.service_role} without a guild's role"
            raise Broken(f"{who} refused on the tables of guild {owner}", "it can read them")
    return f"guilds {mine} and {other} read their own table, and are refused on each other's"


def pooler_wipes(site: Site) -> str:
    """Through the pooler, as the services go: what one client leaves in a session, on purpose even, is not there for the next."""
    mine, other = two_guilds(site)
    pooler = site.inputs.postgres_pooler_host
    with connect(site, *services(site), pooler) as connection:
        connection.autocommit = True
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(f"guild_{mine}_app")))
        connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(f"guild_{mine}")))
    with connect(site, *services(site), pooler) as connection:
        connection.prepare_threshold = None
        sessions = _look_for_leftovers(connection, site.inputs.service_role)
        try:
            _read_as(connection, other, mine)
        except psycopg.errors.InsufficientPrivilege:
            return f"{POOLED_TRANSACTIONS} transactions on {sessions} sessions began without role and search_path"
    raise Broken(f"guild {other}'s role refused on the tables of guild {mine}", "it can read them through the pooler")


def _look_for_leftovers(connection: psycopg.Connection[Any], login: str) -> int:
    seen = set()
    for _number in range(POOLED_TRANSACTIONS):
        with connection.transaction():
            row = connection.execute("SELECT current_user::text, pg_backend_pid(), current_setting('search_path')").fetchone()
        user, backend, path = row or ("?", 0, "")
        seen.add(backend)
        if user != login or "guild_" in path:
            raise Broken(f"a wiped session of {login}", f"a session of another client: role {user}, search_path {path}")
    return len(seen)


def _read_own(connection: psycopg.Connection[Any], guild: int) -> None:
    try:
        _read_as(connection, guild, guild)
    except (psycopg.errors.InvalidParameterValue, psycopg.errors.UndefinedTable) as error:
        raise Broken(f"schema and role of guild {guild}", str(error).strip()) from error


def _read_as(connection: psycopg.Connection[Any], reader: int | None, owner: int) -> None:
    with connection.transaction(force_rollback=True):
        if reader:
            connection.execute("SELECT set_config('role', %s, true)", (f"guild_{reader}_app",))
        connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(f"guild_{owner}", TABLE)))


def registry_complete(site: Site) -> str:
    """Every guild of the inventory is active, every registered one lives on one server alone, and is at the newest version."""
    newest = max(path.name.partition("_")[0] for path in Path(site.inputs.migrations_dir).glob("*.sql"))
    servers = directories(site)
    rows = [row for found in servers.values() for row in found if row[1] != "moving"]
    states = {guild: state for guild, state, _version in rows}
    twice = [str(guild) for guild, number in Counter(row[0] for row in rows).items() if number > 1]
    missing = [str(guild) for guild in site.inputs.guilds if states.get(guild) != "active"]
    behind = [f"{guild} at {version or 'none'}" for guild, _state, version in rows if version != newest]
    if missing or behind or twice:
        found = ["not active: " + ", ".join(missing[:5])] if missing else []
        found += ["on more than one server: " + ", ".join(twice[:5])] if twice else []
        found += [f"{len(behind)} behind: " + ", ".join(behind[:5])] if behind else []
        raise Broken(f"all guilds of the inventory active, all registered ones at {newest}", "; ".join(found))
    return f"{len(rows)} guilds on {len(servers)} server(s) at schema version {newest}"


def redis_auth(site: Site) -> str:
    """Redis says nothing without the password, or with a wrong one."""
    password = site.secret(f"{site.inputs.namespace_data}/{site.inputs.redis_secret}", "password")
    with site.reach_name(site.inputs.redis_host, site.inputs.redis_port) as (host, port):
        for given in (None, password[::-1] + "x"):
            try:
                _ping(host, port, given)
            except redis.AuthenticationError:
                continue
            raise Broken("a refusal", f"Redis answers {'a wrong password' if given else 'without a password'}")
        _ping(host, port, password)
    return "refused without and with a wrong password, answered with the right one"


def _ping(host: str, port: int, password: str | None) -> None:
    once = Retry(NoBackoff(), 0)
    with contextlib.closing(redis.Redis(host, port, password=password, socket_timeout=5, socket_connect_timeout=5, retry=once)) as client:
        client.ping()


PROMISES = (
    Promise(
        "data.postgres_scram",
        "Postgres lets the services in by SCRAM",
        postgres_scram,
        "the log of pod postgres-0; Secret dcm-service against the role's password",
        needs=("cluster.pods_running",),
    ),
    Promise(
        "data.postgres_wrong_password",
        "Postgres refuses a wrong password",
        postgres_wrong_password,
        "pg_hba.conf: a line with trust",
        needs=("data.postgres_scram",),
    ),
    Promise(
        "data.guild_isolation",
        "A guild's role is refused on another guild's tables",
        guild_isolation,
        "the grants on the schemas named: playbooks/guild_report.yml; stop the services until it is understood",
        needs=("data.postgres_scram",),
    ),
    Promise(
        "data.pooler_wipes",
        "The pooler hands on no role and no search_path",
        pooler_wipes,
        "the settings of release postgres-pooler: helm upgrade or an edited ConfigMap? playbooks/data.yml puts them right",
        needs=("data.postgres_scram",),
    ),
    Promise(
        "data.registry_complete",
        "All guilds are registered once, and at the newest schema version",
        registry_complete,
        "playbooks/guild_migrate.yml and what it reports",
        needs=("cluster.pods_running",),
    ),
    Promise(
        "data.redis_auth",
        "Redis wants its password",
        redis_auth,
        "requirepass of pod redis-0; Secret redis-auth",
        needs=("cluster.pods_running",),
    ),
)
