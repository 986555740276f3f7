# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A Postgres cluster for one test run, and guilds in it with the roles of the platform."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg
from psycopg import sql

from tests.support.common import REPOSITORY, free_port, unprivileged

CONTROL = REPOSITORY / "roles" / "guild_data" / "files" / "control"
MIGRATIONS = REPOSITORY / "services" / "migrations"
LOGIN = "dcm_service"


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    plain = shutil.which("initdb")
    if not found and not plain:
        raise RuntimeError("no Postgres server on this machine: apt-get install postgresql-15")
    return found[-1].parent if found else Path(str(plain)).parent


def up_section(path: Path) -> str:
    """The part of a dbmate file that is applied."""
    return path.read_text(encoding="utf-8").split("-- migrate:up", 1)[1].split("-- migrate:down", 1)[0]


class Postgres:
    """initdb, start, stop; the superuser comes in through the socket directory alone."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.password = secrets.token_urlsafe(18)
        self._home = directory
        self._data = directory / "data"
        self._as = unprivileged("postgres")
        self._bin = _binaries()

    def __enter__(self) -> Postgres:
        if self._as:
            os.chown(self._home, self._as["user"], self._as["group"])
        self._run(
            "initdb", "-D", str(self._data), "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8", "--no-sync"
        )
        self.start()
        self._prepare()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run([str(self._bin / name), *arguments], check=True, stdout=subprocess.DEVNULL, cwd=self._home, **self._as)

    def stop(self) -> None:
        """Take the server away."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "fast", "-w", "stop")

    def start(self) -> None:
        """Start the server."""
        self._run("pg_ctl", "-D", str(self._data), "-l", str(self._home / "log"), "-w", "-o", self._options(), "start")

    @contextmanager
    def away(self) -> Iterator[None]:
        """The server is not there meanwhile."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def _options(self) -> str:
        return (
            f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self._home} -c fsync=off -c max_connections=100"
        )

    def _prepare(self) -> None:
        with self.admin("postgres") as connection:
            connection.execute("CREATE DATABASE dcm")
            statement = sql.SQL("CREATE ROLE {} LOGIN NOINHERIT PASSWORD {}")
            connection.execute(statement.format(sql.Identifier(LOGIN), self.password))
        with self.admin() as connection:
            for path in sorted(CONTROL.glob("*.sql")):
                connection.execute(up_section(path).encode())
            connection.execute("GRANT CONNECT ON DATABASE dcm TO dcm_service; GRANT dcm_directory TO dcm_service")

    def admin(self, database: str = "dcm") -> psycopg.Connection[Any]:
        """A superuser's connection."""
        return psycopg.connect(host=str(self._home), port=self.port, user="postgres", dbname=database, autocommit=True)

    def service(self) -> psycopg.Connection[Any]:
        """A connection as the services make it."""
        return psycopg.connect(host="127.0.0.1", port=self.port, user=LOGIN, dbname="dcm", password=self.password)

    def change_password(self) -> str:
        """Give the login role another password and end its connections."""
        self.password = secrets.token_urlsafe(18)
        with self.admin() as connection:
            connection.execute(sql.SQL("ALTER ROLE dcm_service PASSWORD {}").format(self.password))
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'dcm_service'")
        return self.password

    def register(self, guild_id: int, state: str = "active") -> None:
        """A line in the registry, without a schema."""
        query = "INSERT INTO dcm.guild (guild_id, state, plan, placement) VALUES (%s, %s, 'standard', 'main')"
        with self.admin() as connection:
            connection.execute(query, (guild_id, state))

    def add_guild(self, guild_id: int, state: str = "active") -> None:
        """Schema, roles, rights and tables of a guild."""
        names = {"schema": f"guild_{guild_id}", "owner": f"guild_{guild_id}_owner", "app": f"guild_{guild_id}_app", "service": LOGIN}
        before = """
            CREATE ROLE {owner} NOLOGIN; CREATE ROLE {app} NOLOGIN; GRANT {app} TO {service};
            CREATE SCHEMA {schema} AUTHORIZATION {owner}; GRANT USAGE ON SCHEMA {schema} TO {app};
            SET LOCAL ROLE {owner}; SET LOCAL search_path = {schema};
            ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app};
            ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO {app};"""
        identifiers = {key: sql.Identifier(value) for key, value in names.items()}
        with self.admin() as connection, connection.transaction():
            connection.execute(sql.SQL(before).format(**identifiers))
            for path in sorted(MIGRATIONS.glob("*.sql")):
                connection.execute(up_section(path).encode())
        self.register(guild_id, state)
