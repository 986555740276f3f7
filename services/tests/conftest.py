# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Fixtures of the end-to-end tests: a real Postgres, a real Redis, a trace receiver, and all five processes of the service."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.postgres import Postgres
from tests.support.redis import RedisServer
from tests.support.stack import Stack
from tests.support.traces import TraceReceiver


@contextmanager
def _home(name: str) -> Iterator[Path]:
    """A directory that other users can reach: pytest's own ones belong to whoever runs it alone."""
    with tempfile.TemporaryDirectory(prefix=f"dcm-test-{name}-") as path:
        yield Path(path)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A cluster of its own, with the control schema."""
    with _home("postgres") as home, Postgres(home) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A server of its own, with a password."""
    with _home("redis") as home, RedisServer(home) as server:
        yield server


@pytest.fixture(scope="session")
def traces() -> Iterator[TraceReceiver]:
    """Takes OTLP over HTTP."""
    with TraceReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def stack(postgres: Postgres, redis_server: RedisServer, traces: TraceReceiver) -> Iterator[Stack]:
    """All five processes, ready."""
    with _home("stack") as home, Stack(home, postgres, redis_server, traces.url) as running:
        yield running
