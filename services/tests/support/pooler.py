# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A PgBouncer in transaction mode in front of several Postgres servers, one database name for each."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.support.common import eventually, free_port, unprivileged
from tests.support.postgres import LOGIN, Postgres

SETTINGS = {
    "listen_addr": "127.0.0.1",
    "unix_socket_dir": "",
    "auth_type": "scram-sha-256",
    "pool_mode": "transaction",
    "server_reset_query": "DISCARD ALL",
    "server_reset_query_always": "1",
    "ignore_startup_parameters": "extra_float_digits",
    "server_connect_timeout": "2",
    "server_login_retry": "1",
    "query_wait_timeout": "2",
}


class Pooler:
    """All servers share the one login and its password."""

    def __init__(self, directory: Path, servers: Mapping[str, Postgres]) -> None:
        self.port = free_port()
        self._home, self._servers = directory, servers
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Pooler:
        first = next(iter(self._servers.values()))
        users, config = self._home / "users.txt", self._home / "pgbouncer.ini"
        users.write_text(f'"{LOGIN}" "{first.password}"\n', encoding="utf-8")
        lines = ["[databases]"]
        lines += [f"{name} = host=127.0.0.1 port={server.port} dbname=dcm" for name, server in self._servers.items()]
        lines += ["[pgbouncer]", f"listen_port = {self.port}", f"auth_file = {users}"]
        lines += [f"{name} = {value}" for name, value in SETTINGS.items()]
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._process = self._start(users, config)
        eventually(self._listens, 15, "pgbouncer listens")
        return self

    def _start(self, users: Path, config: Path) -> subprocess.Popen[bytes]:
        account = unprivileged("nobody")
        for path in (self._home, users, config) if account else ():
            os.chown(path, account["user"], account["group"])
        binary = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if not binary:
            raise RuntimeError("no PgBouncer on this machine: apt-get install pgbouncer")
        return subprocess.Popen([binary, "-q", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd="/", **account)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
