# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Redis I/O: the stream between bot and workers."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ResponseError

from dcm_service.config import Settings
from dcm_service.secretfiles import REDIS, SecretFiles

STREAM = "dcm:events"
DEAD = "dcm:events:dead"
GROUP = "workers"
DEAD_MAXLEN = 10_000


@dataclass(frozen=True)
class Entry:
    """An entry that this consumer holds, and how often it has been handed out."""

    entry_id: str
    fields: Mapping[str, str]
    deliveries: int


@dataclass(frozen=True)
class Depth:
    """How much is waiting."""

    lag: int | None
    pending: int
    length: int
    dead: int


class _PasswordFile(CredentialProvider):
    """Asked at every new connection, so that a rotated password is used at once."""

    def __init__(self, secrets: SecretFiles) -> None:
        self._secrets = secrets

    def get_credentials(self) -> tuple[str]:
        return (self._secrets.read(REDIS),)

    async def get_credentials_async(self) -> tuple[str]:
        """The same for the asynchronous client."""
        return self.get_credentials()


def connect(settings: Settings, secrets: SecretFiles) -> Redis:
    """A client that connects on first use."""
    tls: dict[str, Any] = {"ssl": True, "ssl_ca_certs": settings.redis_ca_file or None} if settings.redis_tls else {}
    if tls:
        tls["ssl_min_version"] = ssl.TLSVersion.TLSv1_2
    return Redis(
        host=settings.redis_host,
        port=settings.redis_port,
        credential_provider=_PasswordFile(secrets),
        decode_responses=True,
        encoding_errors="replace",
        socket_connect_timeout=3,
        socket_timeout=10,
        health_check_interval=15,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 2),
        protocol=2,
        **tls,
    )


class EventStream:
    """The stream dcm:events and its consumer group."""

    def __init__(self, client: Redis, maxlen: int) -> None:
        self._redis = client
        self._maxlen = maxlen
        self._cursor = "0-0"

    async def ping(self) -> None:
        """Raise when Redis does not answer."""
        await cast("Any", self._redis.ping())

    async def publish(self, fields: Mapping[str, str]) -> str:
        """Append an entry; the stream stays near its bound."""
        return str(await self._redis.xadd(STREAM, cast("Any", dict(fields)), maxlen=self._maxlen, approximate=True))

    async def ensure_group(self) -> None:
        """Create stream and group; a group that exists is well."""
        try:
            await self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def read(self, consumer: str, count: int, block_ms: int) -> list[Entry]:
        """Wait for entries that nobody has yet."""
        reply = cast("Any", await self._redis.xreadgroup(GROUP, consumer, {STREAM: ">"}, count=count, block=block_ms))
        return [Entry(entry_id, fields or {}, 1) for _name, entries in reply or [] for entry_id, fields in entries]

    async def claim(self, consumer: str, idle_ms: int, count: int) -> list[Entry]:
        """Take over entries whose holder has been silent for too long; each call looks on where the last one ended."""
        reply = cast("Any", await self._redis.xautoclaim(STREAM, GROUP, consumer, idle_ms, start_id=self._cursor, count=count))
        self._cursor = reply[0]
        claimed = [(entry_id, fields or {}) for entry_id, fields in reply[1]]
        if not claimed:
            return []
        held = cast("Any", await self._redis.xpending_range(STREAM, GROUP, claimed[0][0], claimed[-1][0], 10 * count, consumer))
        times = {item["message_id"]: int(item["times_delivered"]) for item in held}
        return [Entry(entry_id, fields, times.get(entry_id, 1)) for entry_id, fields in claimed]

    async def keep(self, consumer: str, entry_ids: Sequence[str]) -> None:
        """Say that we still work on these; does not count as a delivery."""
        if entry_ids:
            await self._redis.xclaim(STREAM, GROUP, consumer, 0, cast("Any", list(entry_ids)), justid=True)

    async def ack(self, entry_id: str) -> None:
        """The entry is done."""
        await self._redis.xack(STREAM, GROUP, entry_id)

    async def bury(self, entry: Entry, reason: str) -> None:
        """Move an entry to the dead letters with the reason, in one transaction."""
        letter = {**entry.fields, "dead_reason": reason[:500], "dead_entry_id": entry.entry_id, "dead_deliveries": str(entry.deliveries)}
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.xadd(DEAD, cast("Any", letter), maxlen=DEAD_MAXLEN, approximate=True)
            pipe.xack(STREAM, GROUP, entry.entry_id)
            await pipe.execute()

    async def forget_consumers(self, idle_ms: int) -> None:
        """Remove the names of workers that are long gone and hold nothing."""
        for info in cast("Any", await self._redis.xinfo_consumers(STREAM, GROUP)):
            if info["pending"] == 0 and info["idle"] > idle_ms:
                await self._redis.xgroup_delconsumer(STREAM, GROUP, info["name"])

    async def depth(self) -> Depth:
        """How much is waiting, for metrics."""
        groups = cast("Any", await self._redis.xinfo_groups(STREAM))
        ours: dict[str, Any] = next((item for item in groups if item["name"] == GROUP), {})
        length, dead = int(await self._redis.xlen(STREAM)), int(await self._redis.xlen(DEAD))
        return Depth(ours.get("lag"), int(ours.get("pending", 0)), length, dead)
