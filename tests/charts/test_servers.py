# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The start scripts of the lite charts, run as the pod would run them, with the real servers."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.pod import Pod
from tests.support.postgres import find_binaries


@pytest.fixture
def pod() -> Iterator[Callable[..., Pod]]:
    pods: list[Pod] = []

    def make(chart: str, secrets: dict[str, str], **values: Any) -> Pod:
        pods.append(Pod(chart, {"secrets": secrets}, values))
        return pods[-1]

    yield make
    for entry in pods:
        entry.remove()


@pytest.fixture
def postgres(pod: Callable[..., Pod]) -> Pod:
    secrets = {"username": "postgres", "password": """it's "quoted" \\ and $dollars"""}
    return pod("lite-postgres", secrets, binaries=str(find_binaries()), settings={"shared_buffers": "16MB"})


def connect(server: Pod, **other: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(**{**server.login(), "autocommit": True, **other})


def test_postgres_starts_keeps_data_and_stops(postgres: Pod) -> None:
    postgres.start()
    postgres.wait_ready()
    client = connect(postgres)
    client.execute("CREATE TABLE kept AS SELECT 7 AS number")
    assert client.execute("SHOW data_checksums").fetchone() == ("on",)
    assert client.execute("SHOW max_locks_per_transaction").fetchone() == ("512",)
    # a connected client must not hold the shutdown up
    began = time.monotonic()
    assert postgres.stop() == 0, postgres.log()
    assert time.monotonic() - began < 15
    assert "database system is shut down" in postgres.log()
    postgres.start()
    postgres.wait_ready()
    with connect(postgres) as again:
        assert again.execute("SELECT number FROM kept").fetchone() == (7,)
    assert "recovery" not in postgres.log().split("database system is shut down")[-1]


def test_postgres_wants_the_password(postgres: Pod) -> None:
    postgres.start()
    postgres.wait_ready()
    for wrong in ("", "wrong"):
        with pytest.raises(psycopg.OperationalError, match=r"authentication failed|no password supplied"):
            connect(postgres, password=wrong)
        with pytest.raises(psycopg.OperationalError, match=r"authentication failed|no password supplied"):
            connect(postgres, password=wrong, host=str(postgres.places["/run/postgresql"]))


def test_postgres_takes_a_changed_password_over(postgres: Pod) -> None:
    postgres.start()
    postgres.wait_ready()
    postgres.stop()
    old = (postgres.folder / "secrets" / "password").read_text()
    postgres.set_secret("password", "another one, it's")
    postgres.start()
    postgres.wait_ready()
    connect(postgres).close()
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        connect(postgres, password=old)
    assert "another one" not in postgres.log()


@pytest.mark.parametrize("delay", [0.05, 0.3, 0.8, 1.5])
def test_postgres_survives_being_killed_while_it_is_made(postgres: Pod, delay: float) -> None:
    postgres.start()
    time.sleep(delay)
    postgres.kill()
    postgres.start()
    postgres.wait_ready()
    with connect(postgres) as client:
        assert client.execute("SELECT current_database()").fetchone() == ("dcm",)
    assert not (postgres.folder / "data" / "data.new").exists()


def test_postgres_survives_being_killed_at_work(postgres: Pod) -> None:
    postgres.start()
    postgres.wait_ready()
    client = connect(postgres)
    client.execute("CREATE TABLE kept AS SELECT 7 AS number")
    postgres.kill()
    # in the next container this process id may belong to anybody
    pid_file = postgres.folder / "data" / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    sleeper = subprocess.Popen(**postgres.command(["sleep", "600"]))
    try:
        pid_file.write_text("\n".join([str(sleeper.pid), *lines[1:]]) + "\n")
        postgres.start()
        postgres.wait_ready()
        with connect(postgres) as again:
            assert again.execute("SELECT number FROM kept").fetchone() == (7,)
    finally:
        sleeper.kill()
        sleeper.wait()


def redis(server: Pod, *words: str, password: str = "") -> str:
    environment = {"PATH": os.environ["PATH"], "REDISCLI_AUTH": password}
    command = ["redis-cli", "-p", str(server.port), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return (done.stdout + done.stderr).strip()


def test_redis_starts_keeps_data_and_stops(pod: Callable[..., Pod]) -> None:
    password = """it's "quoted" \\ and $dollars"""
    server = pod("lite-redis", {"password": password})
    server.start()
    server.wait_ready()
    assert redis(server, "XADD", "dcm:events", "*", "k", "v", password=password)
    assert server.stop() == 0, server.log()
    server.start()
    server.wait_ready()
    assert redis(server, "XLEN", "dcm:events", password=password) == "1"


def test_redis_guards_itself(pod: Callable[..., Pod]) -> None:
    server = pod("lite-redis", {"password": "right"})
    server.start()
    server.wait_ready()
    assert "NOAUTH" in redis(server, "PING")
    assert "WRONGPASS" in redis(server, "PING", password="wrong")
    assert "NOPERM" in redis(server, "CONFIG", "GET", "*", password="right")
    server.set_secret("password", "wrong")
    assert server.probe().returncode != 0


def test_no_password_in_arguments_or_files(pod: Callable[..., Pod]) -> None:
    server = pod("lite-redis", {"password": "a-planted-secret"})
    server.start()
    server.wait_ready()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert b"a-planted-secret" not in process.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
    for path in server.folder.rglob("*"):
        if path.is_file() and path.parent.name != "secrets":
            assert b"a-planted-secret" not in path.read_bytes(), path
