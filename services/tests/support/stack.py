# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""All processes of the service as real subprocesses."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from dcm_service import tokens
from dcm_service.config import PROCESSES
from tests.support.common import REPOSITORY, Answer, eventually, free_port, request, unprivileged
from tests.support.postgres import Postgres
from tests.support.redis import RedisServer

GUILD_A = 111111111111111111
GUILD_B = 222222222222222222
SUSPENDED = 333333333333333333
WITHOUT_SCHEMA = 444444444444444444
START_SECONDS = 60.0


class Process:
    """One process, its ports and its log."""

    def __init__(self, name: str, directory: Path, environment: dict[str, str], number: int = 0) -> None:
        self.name = name
        self.http, self.ops = free_port(), free_port()
        self.log_file = directory / f"{name}-{number}.log"
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it as an unprivileged user, with nothing in its environment but what it is given."""
        variables = {**self._environment, "DCM_HTTP_PORT": str(self.http), "DCM_OPS_PORT": str(self.ops), "PYTHONDONTWRITEBYTECODE": "1"}
        with self.log_file.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dcm_service", self.name],
                cwd=REPOSITORY / "services",
                env=variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                **({} if _home_is_private() else unprivileged("nobody")),
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def wait_ready(self) -> None:
        """Until /readyz says so."""
        try:
            eventually(self.ready, START_SECONDS, f"{self.name} is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log_file.read_text()[-2000:]}") from None

    def ready(self) -> bool:
        """Whether /readyz says so now."""
        assert self._process is not None
        assert self._process.poll() is None, f"{self.name} has ended"
        try:
            return self.get_ops("/readyz").status == 200
        except OSError:
            return False

    def get_ops(self, path: str) -> Answer:
        """A request to the port for the platform."""
        return request("GET", f"http://127.0.0.1:{self.ops}{path}")

    def metric(self, name: str, **labels: str) -> float:
        """The value of one series; 0 when it is not there."""
        for line in self.get_ops("/metrics").text.splitlines():
            named = line.startswith((name + "{", name + " "))
            if named and all(f'{key}="{value}"' in line for key, value in labels.items()):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def wait(self, seconds: float) -> int:
        """Until it has ended; returns its status."""
        assert self._process is not None
        return self._process.wait(seconds)

    def kill(self) -> None:
        """End it without warning."""
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGKILL)
            self.wait(5)

    def log(self) -> list[dict[str, Any]]:
        """Its log lines; a line that is no JSON is an error."""
        return [json.loads(line) for line in self.log_file.read_text(encoding="utf-8").splitlines()]


def _home_is_private() -> bool:
    """Whether another user could not even read this interpreter or this checkout."""
    paths = [Path(sys.executable).resolve(), Path(sys.prefix).absolute(), REPOSITORY.absolute()]
    return any(not parent.stat().st_mode & 0o001 for path in paths for parent in path.parents)


class Stack:
    """The five processes, their secrets and two guilds."""

    def __init__(self, directory: Path, postgres: Postgres, redis: RedisServer, otlp_url: str) -> None:
        self.directory = directory
        self.postgres, self.redis = postgres, redis
        self.secrets_dir = directory / "secrets"
        self.values = {
            "postgres-password": postgres.password,
            "redis-password": redis.password,
            "discord-token": secrets.token_urlsafe(24),
            "api-signing-key": secrets.token_urlsafe(40),
        }
        self._otlp_url = otlp_url
        self.everything: list[Process] = []
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> Stack:
        self.directory.chmod(0o711)
        self.secrets_dir.mkdir(mode=0o755)
        for name, value in self.values.items():
            self.write_secret(name, value)
        for guild_id in (GUILD_A, GUILD_B):
            self.postgres.add_guild(guild_id)
        self.postgres.add_guild(SUSPENDED, "suspended")
        self.postgres.register(WITHOUT_SCHEMA)
        fake, gateway = self._make("discord-fake"), self._make("gateway")
        for name in PROCESSES:
            process = {"discord-fake": fake, "gateway": gateway}.get(name) or self._make(name, **self._urls(fake, gateway))
            self.processes[name] = process
            process.start()
        for process in self.processes.values():
            process.wait_ready()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self.everything:
            process.kill()

    def _urls(self, fake: Process, gateway: Process) -> dict[str, str]:
        return {"DCM_DISCORD_API_URL": f"http://127.0.0.1:{fake.http}/api/v10", "DCM_GATEWAY_URL": f"http://127.0.0.1:{gateway.http}"}

    def _make(self, name: str, **more: str) -> Process:
        environment = {
            "DCM_BIND": "127.0.0.1",
            "DCM_LOG_LEVEL": "DEBUG",
            "DCM_SECRETS_DIR": str(self.secrets_dir),
            "DCM_POSTGRES_HOST": "127.0.0.1",
            "DCM_POSTGRES_PORT": str(self.postgres.port),
            "DCM_REDIS_HOST": "127.0.0.1",
            "DCM_REDIS_PORT": str(self.redis.port),
            "DCM_CLAIM_IDLE_MS": "1000",
            "DCM_MAX_DELIVERIES": "2",
            "DCM_CACHE_SECONDS": "0.2",
            "DCM_DRAIN_SECONDS": "0.2",
            "DCM_METRICS_TOP_GUILDS": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self._otlp_url,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            **more,
        }
        process = Process(name, self.directory, environment, len(self.everything))
        self.everything.append(process)
        return process

    def another(self, name: str, **more: str) -> Process:
        """One more process, beside the five; not started yet."""
        return self._make(name, **{**self._urls(self.fake, self.processes["gateway"]), **more})

    @property
    def fake(self) -> Process:
        """The Discord of the tests."""
        return self.processes["discord-fake"]

    def write_secret(self, name: str, value: str) -> None:
        """Replace a secret file at once, as a mounted secret is replaced."""
        self.values[name] = value
        fresh = self.secrets_dir / f".{name}"
        fresh.write_text(value + "\n", encoding="utf-8")
        fresh.chmod(0o644)
        fresh.rename(self.secrets_dir / name)

    def token(self, *guilds: int, ttl: int = 600) -> str:
        """A token for some guilds."""
        return tokens.mint(self.values["api-signing-key"], "tests", list(guilds), ttl)

    def api(self, method: str, path: str, token: str | None = None, body: Any = None) -> Answer:
        """A request to the gateway."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return request(method, f"http://127.0.0.1:{self.processes['gateway'].http}{path}", body, headers)

    def control(self, method: str, path: str, body: Any = None) -> Answer:
        """A request to the control routes of the fake."""
        return request(method, f"http://127.0.0.1:{self.fake.http}/_control/{path}", body)

    def say(self, guild_id: int, content: str, **more: Any) -> str:
        """A user writes in a guild; returns the message's id."""
        answer = self.control("POST", "messages", {"guild_id": str(guild_id), "content": content, **more})
        assert answer.status == 201, answer.text
        return str(answer.json["message_id"])

    def deleted(self, message_id: str) -> list[dict[str, Any]]:
        """What the fake says about the deletion of a message."""
        found: list[dict[str, Any]] = self.control("GET", f"deleted?message_id={message_id}").json["deleted"]
        return found

    def process_all(self) -> None:
        """Wait until the workers have done all that is in the stream."""
        client = self.redis.client()

        def done() -> bool:
            [group] = client.xinfo_groups("dcm:events")
            return bool(group["lag"] == 0 and group["pending"] == 0)

        eventually(done, 15, "nothing waits in the stream")

    def actions(self, guild_id: int, message_id: str) -> list[dict[str, Any]]:
        """What the API says about a message."""
        answer = self.api("GET", f"/v1/guilds/{guild_id}/actions", self.token(guild_id))
        assert answer.status == 200, answer.text
        return [item for item in answer.json["actions"] if item["message_id"] == message_id]
