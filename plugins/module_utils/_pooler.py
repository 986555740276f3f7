# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings of PgBouncer that could serve one guild's rows to another, and the connections that all of it takes. Pure.

A pooled session is used by one client after the other. What keeps guilds apart is the role that a transaction takes for itself with
SET LOCAL. Refused here is what would let something of one transaction reach the next, or let somebody in with rights of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

STRONG = ("scram-sha-256",)
HARMLESS = {"extra_float_digits", "application_name", "client_encoding", "datestyle", "timezone", "intervalstyle"}
LONGEST_LIFETIME = 3600
ENGINE, OTHERS = 5, 5
Check = tuple[str, Callable[[str], bool], str, str]


@dataclass(frozen=True)
class Budget:
    """Connections: what Postgres has, and who takes them. Clients are the pools of all services together."""

    max_connections: int
    replicas: int
    databases: int
    clients: int
    reserved: int = 3


def _on(value: str) -> bool:
    return value.lower() in {"1", "on", "yes", "true"}


def _short(value: str) -> bool:
    return value.isdigit() and 0 < int(value) <= LONGEST_LIFETIME


def _startup(value: str) -> bool:
    return {part.strip().lower() for part in value.split(",") if part.strip()} <= HARMLESS


CHECKS: tuple[Check, ...] = (
    (
        "pool_mode",
        lambda value: value == "transaction",
        "a session, or a statement, would carry the role of one guild to the next client",
        "transaction",
    ),
    (
        "server_reset_query",
        lambda value: value.strip().upper() == "DISCARD ALL",
        "what a client left in the session would reach the next",
        "DISCARD ALL",
    ),
    ("server_reset_query_always", _on, "in transaction mode the reset would never run", "1"),
    (
        "auth_type",
        lambda value: value in STRONG,
        "anybody who reaches the port could be the services, or overhear their password",
        STRONG[0],
    ),
    (
        "ignore_startup_parameters",
        _startup,
        "clients would believe that a role or a search_path was set that never was",
        "extra_float_digits",
    ),
    ("server_lifetime", _short, "backends remember the tables of every guild, 75 kB each, until they are replaced", "600"),
)
# Settings that must not be there at all: they run SQL, or log in, in the client's stead.
FORBIDDEN = {
    "server_check_query": "it runs in sessions of guilds",
    "auth_query": "it takes a login with rights of its own; one login is enough",
    "auth_user": "it takes a login with rights of its own; one login is enough",
    "auth_dbname": "it takes a login with rights of its own; one login is enough",
    "track_extra_parameters": "it would hand settings from one client to the next",
}
FOREIGN = ("user", "password", "connect_query", "auth_user", "pool_mode")


def problems(settings: Mapping[str, str], databases: Mapping[str, Mapping[str, object]], budget: Budget) -> list[str]:
    """Everything that is wrong, each with value, reason and what to set."""
    found = []
    for name, good, why, wanted in CHECKS:
        value = str(settings.get(name, ""))
        if not good(value):
            found.append(f"{name} is {value or 'not set'}: {why}; set it to {wanted}")
    found += [f"{name} is set: {why}; leave it out" for name, why in FORBIDDEN.items() if name in settings]
    for database, options in databases.items():
        found += [f"database {database} has {name}: every client would get its effect; leave it out" for name in FOREIGN if name in options]
    return found + _over_budget(settings, databases, budget)


def _over_budget(settings: Mapping[str, str], databases: Mapping[str, Mapping[str, object]], budget: Budget) -> list[str]:
    """Each server has its own connections; several databases may lie on one."""
    servers: dict[tuple[str, str], list[int]] = {}
    each = int(settings.get("default_pool_size", "20"))
    for options in databases.values():
        server = (str(options.get("host", "")), str(options.get("port", "5432")))
        servers.setdefault(server, []).append(int(str(options.get("pool_size", each))))
    found = [problem for (host, _port), sizes in servers.items() if (problem := _over_one(host, sizes, settings, budget))]
    room = int(settings.get("max_client_conn", "100")) * budget.replicas
    if budget.clients > room:
        found.append(f"max_client_conn gives room for {room} clients, but the pools of the services may open {budget.clients}: raise it")
    return found


def _over_one(host: str, sizes: list[int], settings: Mapping[str, str], budget: Budget) -> str:
    reserve = int(settings.get("reserve_pool_size", "0"))
    pools = sum(size + reserve for size in sizes) * budget.replicas
    wanted = pools + ENGINE + OTHERS + budget.reserved
    if wanted <= budget.max_connections:
        return ""
    return (
        f"max_connections of Postgres at {host} is {budget.max_connections}, but {wanted} may be asked for: {pools} by the pooler "
        f"({budget.replicas} pods x pools of {' + '.join(map(str, sizes))}, each with {reserve} in reserve), "
        f"{ENGINE} by the guild engine, {OTHERS} by people and backups, "
        f"{budget.reserved} are reserved; lower default_pool_size, or raise max_connections"
    )
