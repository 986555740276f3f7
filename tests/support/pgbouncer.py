# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real PgBouncer for tests, with the settings that the chart ships: loopback only, stopped and removed at the end."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yaml

from tests.support.postgres import PostgresServer

CHART = Path(__file__).parents[2] / "charts" / "lite-pgbouncer"
START_SECONDS = 20


def chart_settings() -> dict[str, str]:
    settings: dict[str, str] = yaml.safe_load((CHART / "values.yaml").read_text())["settings"]
    return settings


@dataclass
class Pooler:
    """Where a running pooler listens, and the one login that it lets in."""

    port: int
    login: str
    password: str
    process: subprocess.Popen[bytes]

    def connect(self, database: str, **other: Any) -> psycopg.Connection[Any]:
        wanted = {"user": self.login, "password": self.password, "prepare_threshold": None, **other}
        return psycopg.connect(host="127.0.0.1", port=self.port, dbname=database, **wanted)


def _binary() -> str:
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not found:
        raise RuntimeError("no PgBouncer found: install the package pgbouncer")
    return found


def _account(folder: Path) -> dict[str, Any]:
    """PgBouncer refuses to run as root: a root test run lends it another account."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("nobody")
    for path in (folder, *folder.iterdir()):
        os.chown(path, account.pw_uid, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def running_pgbouncer(
    server: PostgresServer, database: str, login: str, password: str, settings: Mapping[str, str] | None = None
) -> Iterator[Pooler]:
    folder = Path(tempfile.mkdtemp(prefix="dcm-pgbouncer-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    users = folder / "users.txt"
    users.touch(0o600)
    users.write_text(f'"{login}" "{password}"\n')
    own = {"listen_addr": "127.0.0.1", "listen_port": str(port), "unix_socket_dir": "", "auth_file": str(users)}
    lines = ["[databases]", f"{database} = host={server.host} port={server.port} dbname={database}", "[pgbouncer]"]
    lines += [f"{name} = {value}" for name, value in {**chart_settings(), **own, **(settings or {})}.items()]
    config = folder / "pgbouncer.ini"
    config.write_text("\n".join(lines) + "\n")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([_binary(), str(config)], stdout=log, stderr=log, cwd="/", **_account(folder))
    try:
        _wait(process, port, folder)
        yield Pooler(port, login, password, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        shutil.rmtree(folder)


def _wait(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError as problem:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"pgbouncer did not start: {(folder / 'log').read_text()[-2000:]}") from problem
            time.sleep(0.05)
