# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A Redis server for one test run."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import redis

from tests.support.common import eventually, free_port, unprivileged


class RedisServer:
    """Started with a password, on a port of its own."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.password = secrets.token_urlsafe(18)
        self._home = directory
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server; what was in it before comes back from its append-only file."""
        binary = shutil.which("redis-server")
        if binary is None:
            raise RuntimeError("no redis-server on this machine: apt-get install redis-server")
        user = unprivileged("redis")
        config = self._home / "redis.conf"
        lines = ["bind 127.0.0.1", f"port {self.port}", f"requirepass {self.password}", f"dir {self._home}", "save ''", "appendonly yes"]
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        if user:
            for path in (self._home, config):
                os.chown(path, user["user"], user["group"])
        self._process = subprocess.Popen([binary, str(config)], stdout=subprocess.DEVNULL, cwd=self._home, **user)
        eventually(self._answers, 10, "redis-server answers")

    def stop(self) -> None:
        """Take the server away."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)

    @contextmanager
    def away(self) -> Iterator[None]:
        """The server is not there meanwhile."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def client(self) -> redis.Redis:
        """A client of the tests' own."""
        return redis.Redis(port=self.port, password=self.password, decode_responses=True, protocol=2)

    def change_password(self) -> str:
        """Set another password and end every connection."""
        client = self.client()
        self.password = secrets.token_urlsafe(18)
        client.config_set("requirepass", self.password)
        client.client_kill_filter(_type="normal", skipme=True)
        return self.password

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False
