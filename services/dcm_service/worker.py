# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The worker: takes events from the stream, applies the guild's rules, and records what it did in that guild's schema."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import structlog
from opentelemetry.trace import SpanKind, Status, StatusCode, get_current_span
from redis.exceptions import RedisError, ResponseError

from dcm_service import logs, metrics, repository, tracing
from dcm_service.database import UNAVAILABLE, Database
from dcm_service.discord_rest import DELETED, FORBIDDEN, GONE, DiscordRest, DiscordUnavailableError
from dcm_service.events import MalformedEventError, MessageEvent, decode, trace_headers
from dcm_service.guildcache import GuildCache
from dcm_service.rules import MAX_REASON, Hit, first_hit
from dcm_service.runtime import Context
from dcm_service.stream import STREAM, Entry, EventStream, connect

log = logs.get(__name__)
BLOCK_MS = 1000
LONGEST_HOLD_SECONDS = 300.0
GONE_CONSUMER_MS = 3_600_000
_REMEMBERED_ERRORS = 1_000


class Processor:
    """The decision and its effect for one event."""

    def __init__(self, database: Database, discord: DiscordRest, cache: GuildCache) -> None:
        self._database = database
        self._discord = discord
        self._cache = cache

    async def process(self, event: MessageEvent) -> str:
        """Do all that the event asks for and return the outcome. Doing it twice leaves one record."""
        view = await self._cache.get(event.guild)
        if view.refusal is not None:
            metrics.EVENTS_DROPPED.labels(view.refusal).inc()
            return view.refusal
        hit = first_hit(view.rules, event)
        if hit is None:
            return "clean"
        async with self._database.as_guild(event.guild, "find action") as connection:
            if await repository.is_processed(connection, event.event_id):
                return "duplicate"
        action, reason = await self._act(event, hit)
        async with self._database.as_guild(event.guild, "record action") as connection:
            first = await repository.record_action(connection, event, hit, (action, reason), tracing.trace_id())
        if not first:
            return "duplicate"
        metrics.RULE_HITS.labels(hit.rule.kind, action).inc()
        log.info("message cleaned", action=action, rule=hit.rule.name, event_id=event.event_id, channel_id=event.channel_id)
        return action

    async def _act(self, event: MessageEvent, hit: Hit) -> tuple[str, str]:
        """Delete or flag; what may not be deleted is flagged."""
        if hit.action == "flag":
            return "flagged", hit.reason
        result = await self._discord.delete_message(int(event.channel_id), int(event.message_id), hit.reason)
        if result == FORBIDDEN:
            return "flagged", f"{hit.reason} (the bot may not delete here)"[:MAX_REASON]
        assert result in (DELETED, GONE)  # noqa: S101
        return "deleted", hit.reason


class Worker:
    """Reads, holds and acknowledges entries; keeps the claim on those it works on."""

    def __init__(self, context: Context, stream: EventStream, processor: Processor) -> None:
        self._settings = context.settings
        self._stop = context.stop
        self._stream = stream
        self._processor = processor
        self._consumer = f"{socket.gethostname()}-{os.getpid()}"
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._errors: OrderedDict[str, str] = OrderedDict()

    async def run(self) -> None:
        """Work until the stop event, then finish what is held."""
        loops = [asyncio.create_task(self._forever(step, pause)) for step, pause in self._steps()]
        await self._stop.wait()
        reader, *others = loops
        await reader  # ends by itself: its step returns within BLOCK_MS
        if self._tasks:
            log.info("finishing", events=len(self._tasks))
            await asyncio.wait(self._tasks.values(), timeout=self._settings.shutdown_seconds - 3)
        left = [*self._tasks.values(), *others]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _steps(self) -> list[tuple[Callable[[], Awaitable[None]], float]]:
        idle = self._settings.claim_idle_ms / 1000
        return [(self._read, 0), (self._claim, idle / 2), (self._keep, idle / 4), (self._sweep, 600)]

    async def _forever(self, step: Callable[[], Awaitable[None]], pause: float) -> None:
        """Repeat a step; Redis being away is waited out, a lost group is made again."""
        while not self._stop.is_set() or step in (self._keep,):
            try:
                await step()
            except ResponseError as error:
                log.warning("Redis refuses", step=step.__name__, error=str(error))
                with contextlib.suppress(RedisError, OSError):
                    await self._stream.ensure_group()
                await asyncio.sleep(0.5)
            except (RedisError, OSError) as error:
                log.warning("Redis does not answer", step=step.__name__, error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.5)
            await asyncio.sleep(pause)

    @property
    def _free(self) -> int:
        return self._settings.worker_concurrency - len(self._tasks)

    async def _read(self) -> None:
        if self._free <= 0:
            await asyncio.wait([*self._tasks.values()], return_when=asyncio.FIRST_COMPLETED, timeout=BLOCK_MS / 1000)
            return
        for entry in await self._stream.read(self._consumer, self._free, BLOCK_MS):
            self._take(entry)

    async def _claim(self) -> None:
        if self._free > 0:
            for entry in await self._stream.claim(self._consumer, self._settings.claim_idle_ms, self._free):
                if entry.entry_id not in self._tasks:
                    log.info("entry taken over", entry_id=entry.entry_id, deliveries=entry.deliveries)
                    self._take(entry)

    async def _keep(self) -> None:
        await self._stream.keep(self._consumer, list(self._tasks))

    async def _sweep(self) -> None:
        await self._stream.forget_consumers(GONE_CONSUMER_MS)

    def _take(self, entry: Entry) -> None:
        task = asyncio.create_task(self._handle(entry))
        self._tasks[entry.entry_id] = task
        task.add_done_callback(lambda _done: self._tasks.pop(entry.entry_id, None))

    async def _handle(self, entry: Entry) -> None:
        """One entry from its decoding to its acknowledgement; an error leaves it pending for another delivery."""
        try:
            if entry.deliveries > self._settings.max_deliveries:
                last = self._errors.pop(entry.entry_id, "the workers that held it ended")
                await self._bury(entry, "too_many_deliveries", f"handed out {entry.deliveries} times without success: {last}")
                return
            event = decode(entry.fields)
            await self._handle_event(entry, event)
        except MalformedEventError as error:
            await self._bury(entry, "malformed", f"malformed: {error}")
        except (RedisError, OSError) as error:
            log.warning("entry stays pending", entry_id=entry.entry_id, error=f"{type(error).__name__}: {error}")

    async def _handle_event(self, entry: Entry, event: MessageEvent) -> None:
        structlog.contextvars.bind_contextvars(guild_id=event.guild_id)
        attributes = {"messaging__system": "redis", "messaging__destination__name": STREAM, "messaging__message__id": event.event_id}
        started = time.perf_counter()
        parent = trace_headers(entry.fields)
        with tracing.span("process event", SpanKind.CONSUMER, parent, dcm__guild_id=event.guild, **attributes) as current:
            try:
                outcome = await self._persist(event)
            except Exception as error:
                current.set_status(Status(StatusCode.ERROR))
                self._note_failure(entry, error)
                return
            current.set_attribute("dcm.outcome", outcome)
            await self._stream.ack(entry.entry_id)
            metrics.EVENTS_DONE.labels(outcome).inc()
            metrics.EVENT_SECONDS.observe(time.perf_counter() - started, exemplar=tracing.exemplar())
            metrics.EVENT_AGE.observe(max(0.0, time.time() - event.created_ms / 1000), exemplar=tracing.exemplar())
            log.debug("event processed", event_id=event.event_id, outcome=outcome)

    async def _persist(self, event: MessageEvent) -> str:
        """Process; while Postgres or Discord is away, hold the event and try again: nothing is wrong with it."""
        deadline, pause = time.monotonic() + LONGEST_HOLD_SECONDS, 0.25
        while True:
            try:
                return await self._processor.process(event)
            except (*UNAVAILABLE, DiscordUnavailableError) as error:
                metrics.EVENT_RETRIES.labels(type(error).__name__).inc()
                if time.monotonic() + pause > deadline:
                    raise
                log.warning("waiting to process the event", event_id=event.event_id, error=str(error).strip())
                get_current_span().add_event("retry", {"error": str(error)[:200]})
                await asyncio.sleep(pause)
                pause = min(pause * 2, 10.0)

    def _note_failure(self, entry: Entry, error: Exception) -> None:
        metrics.EVENT_RETRIES.labels(type(error).__name__).inc()
        self._errors[entry.entry_id] = f"{type(error).__name__}: {error}".splitlines()[0]
        if len(self._errors) > _REMEMBERED_ERRORS:
            self._errors.popitem(last=False)
        log.error("event failed, it will be delivered again", entry_id=entry.entry_id, deliveries=entry.deliveries, exc_info=error)

    async def _bury(self, entry: Entry, reason: str, text: str) -> None:
        await self._stream.bury(entry, text)
        metrics.EVENTS_DROPPED.labels(reason).inc()
        log.error("entry moved to the dead letters", entry_id=entry.entry_id, reason=text)


async def _refresh_depth(stream: EventStream) -> None:
    depth = await stream.depth()
    metrics.QUEUE_LAG.set(float("nan") if depth.lag is None else depth.lag)
    metrics.QUEUE_PENDING.set(depth.pending)
    metrics.QUEUE_LENGTH.set(depth.length)
    metrics.QUEUE_DEAD.set(depth.dead)


async def run(context: Context) -> None:
    """Work until the stop event."""
    settings = context.settings
    client = connect(settings, context.secrets)
    stream = EventStream(client, settings.stream_maxlen)
    database = Database(settings, context.secrets, context.process)
    discord = DiscordRest(settings.discord_api_url, context.secrets)
    context.health.add("redis", stream.ping)
    context.health.add("postgres", database.ping)
    context.health.on_scrape(database.refresh_metrics)
    context.health.on_scrape(lambda: _refresh_depth(stream))
    await database.open()
    await discord.open()
    try:
        with contextlib.suppress(RedisError, OSError):
            await stream.ensure_group()
        context.health.started = True
        await Worker(context, stream, Processor(database, discord, GuildCache(database, settings.cache_seconds))).run()
    finally:
        await discord.close()
        await database.close()
        await client.aclose()
