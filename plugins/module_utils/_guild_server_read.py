# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks a server what it is."""

from __future__ import annotations

import socket
from typing import Any

import psycopg
from ansible_collections.dcm.platform.plugins.module_utils import _guild_capacity as capacity
from ansible_collections.dcm.platform.plugins.module_utils import _guild_server as server
from ansible_collections.dcm.platform.plugins.module_utils import _guild_store as store
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

NOTHING: dict[str, Any] = {
    "reached": False,
    "problems": [],
    "warnings_found": [],
    "server": {},
    "citus": server.citus(None, False),
    "settings": [],
}


def ask(access: store.Access, needs: server.Needs, ssl_mode: str) -> dict[str, Any]:
    try:
        with access.connect("server info") as conn:
            return _judge(conn, needs, ssl_mode)
    except psycopg.Error as problem:
        raise PlatformError(f"Postgres refused: {' '.join(str(problem).split())} [{problem.sqlstate or 'connection'}]") from problem


def _judge(conn: store.Conn, needs: server.Needs, ssl_mode: str) -> dict[str, Any]:
    row = conn.execute(server.READ_SERVER.encode()).fetchone()
    if row is None:
        raise PlatformError("the server tells nothing about the role or the database of this connection")
    found = server.Server(*(*row, bool(conn.pgconn.ssl_in_use), conn.info.dbname))
    load = capacity.Load(needs.guilds, needs.guilds, needs.connections)
    findings = capacity.findings(store.read_settings(conn), load)
    return {
        "reached": True,
        "problems": server.problems(found, needs, findings, _addresses(conn)),
        "warnings_found": server.warnings(found, findings, ssl_mode),
        "server": {
            "version": found.version,
            "user": found.user,
            "superuser": found.superuser,
            "rds": found.rds,
            "owner": found.owner,
            "tls": found.tls,
        },
        "citus": read_citus(conn),
        "settings": [finding.as_dict() for finding in findings],
    }


def read_citus(conn: store.Conn) -> dict[str, Any]:
    row = conn.execute(server.READ_CITUS.encode()).fetchone()
    preloaded = conn.execute(server.READ_PRELOADED.encode()).fetchone()
    return server.citus(row, bool(preloaded and preloaded[0]))


def _addresses(conn: store.Conn) -> list[str]:
    """Every address that pods may get for the server's name."""
    found = socket.getaddrinfo(conn.info.host, conn.info.port, type=socket.SOCK_STREAM)
    return sorted({str(entry[4][0]) for entry in found})
