# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real Postgres for tests and benchmarks: own data directory, loopback only, SCRAM, stopped and removed at the end."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

ADMIN = "postgres"
START_SECONDS = 60
CHEAP = {"fsync": "on", "shared_buffers": "128MB", "max_connections": "100", "max_locks_per_transaction": "256"}


@dataclass
class PostgresServer:
    """Where a running server listens, and as whom to log in."""

    directory: Path
    binaries: Path
    port: int
    password: str
    settings: Mapping[str, str]
    host: str = "127.0.0.1"
    user: str = ADMIN
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def login(self) -> dict[str, Any]:
        """The connection options of the guild modules."""
        return {"login_host": self.host, "login_port": self.port, "login_user": self.user, "login_password": self.password}

    def connect(self, dbname: str = ADMIN, **other: Any) -> psycopg.Connection[Any]:
        wanted = {"user": self.user, "password": self.password, "autocommit": True, **other}
        return psycopg.connect(host=self.host, port=self.port, dbname=dbname, **wanted)

    def create_database(self, name: str) -> str:
        with self.connect() as conn:
            conn.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return name

    def start(self) -> None:
        options = {"listen_addresses": self.host, "port": str(self.port), "unix_socket_directories": str(self.directory), **self.settings}
        command = [str(self.binaries / "postgres"), "-D", str(self.directory / "data")]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **_as_owner(self.directory))
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connect(connect_timeout=5).close()
                return
            except psycopg.OperationalError as problem:
                assert self.process is not None
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"postgres did not start: {problem}\n{(self.directory / 'log').read_text()[-2000:]}") from problem
                time.sleep(0.05)

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)
        self.process = None


def find_binaries() -> Path:
    """The newest installed server: $POSTGRES_BINARIES, Debian's layout, or the one in PATH."""
    if given := os.environ.get("POSTGRES_BINARIES"):
        return Path(given)
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    if in_path := shutil.which("postgres"):
        return Path(in_path).resolve().parent
    raise RuntimeError("no Postgres server found: install the package postgresql, or set POSTGRES_BINARIES")


def _owner_name() -> str:
    try:
        return pwd.getpwnam(ADMIN).pw_name
    except KeyError:
        return "nobody"


def _as_owner(directory: Path) -> dict[str, Any]:
    """Postgres refuses to run as root: a root test run lends it another account."""
    if os.geteuid() != 0:
        return {}
    owner = directory.stat()
    return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def create_server(settings: Mapping[str, str] | None = None) -> PostgresServer:
    """initdb into a new directory; not started yet."""
    directory = Path(tempfile.mkdtemp(prefix="dcm-postgres-"))
    server = PostgresServer(directory, find_binaries(), _free_port(), secrets.token_urlsafe(18), {**CHEAP, **(settings or {})})
    password_file = directory / "password"
    password_file.write_text(server.password)
    if os.geteuid() == 0:
        account = pwd.getpwnam(_owner_name())
        for path in (directory, password_file):
            os.chown(path, account.pw_uid, account.pw_gid)
    command = [str(server.binaries / "initdb"), "-D", str(directory / "data"), "-U", ADMIN, f"--pwfile={password_file}"]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    subprocess.run(command, check=True, capture_output=True, cwd="/", **_as_owner(directory))
    password_file.unlink()
    return server


@contextlib.contextmanager
def running_postgres(settings: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """A server for the length of a with block."""
    server = create_server(settings)
    try:
        server.start()
        yield server
    finally:
        remove_server(server)


def remove_server(server: PostgresServer) -> None:
    server.stop()
    shutil.rmtree(server.directory, ignore_errors=True)
