# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The bot's way to Redis: a bounded buffer, so that a short absence of Redis loses nothing and a long one fills no memory."""

from __future__ import annotations

import asyncio
import contextlib

from redis.exceptions import RedisError

from dcm_service import logs, metrics
from dcm_service.stream import EventStream

CAPACITY = 10_000
RETRY_SECONDS = 0.5
log = logs.get(__name__)


class Publisher:
    """Takes events at once and writes them in their order."""

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        self._buffer: asyncio.Queue[dict[str, str]] = asyncio.Queue(CAPACITY)

    def put(self, fields: dict[str, str]) -> None:
        """Buffer an event; one that finds the buffer full is dropped and counted."""
        try:
            self._buffer.put_nowait(fields)
        except asyncio.QueueFull:
            metrics.EVENTS_DROPPED.labels("buffer_full").inc()
        metrics.BUFFERED.set(self._buffer.qsize())

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            fields = await self._buffer.get()
            await self._write(fields)
            self._buffer.task_done()
            metrics.BUFFERED.set(self._buffer.qsize())

    async def _write(self, fields: dict[str, str]) -> None:
        while True:
            try:
                await self._stream.publish(fields)
            except (RedisError, OSError) as error:
                log.warning("Redis does not take the event, trying again", error=str(error), guild_id=fields["guild_id"])
                await asyncio.sleep(RETRY_SECONDS)
            else:
                metrics.EVENTS_DONE.labels("published").inc()
                return

    async def flush(self, seconds: float) -> None:
        """Wait until the buffer is written, at most so long; what is left is counted as dropped."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._buffer.join(), seconds)
        left = self._buffer.qsize()
        if left:
            metrics.EVENTS_DROPPED.labels("shutdown").inc(left)
            log.error("events were not written before the end", count=left)
