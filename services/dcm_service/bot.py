# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The bot: holds the session on Discord's gateway and hands every message to the stream. It decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route
from opentelemetry.trace import SpanKind

from dcm_service import logs, metrics, tracing
from dcm_service.events import MAX_CONTENT, MessageEvent
from dcm_service.publisher import Publisher
from dcm_service.runtime import Context
from dcm_service.secretfiles import DISCORD
from dcm_service.stream import EventStream, connect
from dcm_service.topguilds import TopGuilds

log = logs.get(__name__)
CLOSE_SECONDS = 3
RETRY_SECONDS = (1, 2, 5, 10, 30)
REJECTED_RETRY_SECONDS = 300  # each of these attempts costs a session of the budget
PASSING = (OSError, aiohttp.ClientError, TimeoutError, discord.GatewayNotFound, discord.HTTPException, discord.LoginFailure)
REJECTED = (discord.ConnectionClosed, discord.PrivilegedIntentsRequired)


class BudgetUsedUpError(Exception):
    """Discord allows no further session before the reset."""

    def __init__(self, remaining: int, total: int, reset_after_ms: int) -> None:
        self.seconds = max(reset_after_ms / 1000, 1.0)
        self.resets_at = datetime.now(UTC) + timedelta(seconds=self.seconds)
        super().__init__(f"{remaining} of {total} session starts are left; the count resets at {self.resets_at:%Y-%m-%d %H:%M:%S} UTC")


class Bot(discord.AutoShardedClient):
    """discord.py with small caches; asks for the session budget before every identify."""

    def __init__(self, context: Context, publisher: Publisher) -> None:
        intents = discord.Intents(guilds=True, guild_messages=True, message_content=True)
        shards: dict[str, Any] = {"shard_ids": context.settings.shard_ids, "shard_count": context.settings.shard_count}
        super().__init__(
            intents=intents,
            **shards,
            max_messages=None,
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            allowed_mentions=discord.AllowedMentions.none(),
        )
        self._reserve = context.settings.session_reserve
        self._publisher = publisher
        self._guild_metric = TopGuilds(metrics.GUILD_EVENTS, context.settings.metrics_top_guilds)
        self.live: set[int] = set()
        self.was_live = False
        self.refusal: asyncio.Future[BudgetUsedUpError] = asyncio.get_running_loop().create_future()

    async def check_budget(self) -> None:
        """Log the session budget; raise when no session may be started."""
        shards, url, limit = await self.http.get_bot_gateway()
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url)
        remaining, total = limit["remaining"], limit["total"]
        metrics.SESSIONS_LEFT.set(remaining)
        resets_at = datetime.now(UTC) + timedelta(milliseconds=limit["reset_after"])
        log.info("session budget", remaining=remaining, total=total, resets_at=resets_at.isoformat(), recommended_shards=shards)
        if remaining <= self._reserve:
            raise BudgetUsedUpError(remaining, total, limit["reset_after"])

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """discord.py calls this before each IDENTIFY, also those after a lost session."""
        await super().before_identify_hook(shard_id, initial=initial)
        if initial:
            return  # asked just now, before the connection was made
        try:
            await self.check_budget()
        except BudgetUsedUpError as error:
            if not self.refusal.done():
                self.refusal.set_result(error)
            await asyncio.Event().wait()  # never identify; the session is ended from outside

    def _is_live(self, shard_id: int, event: str) -> None:
        metrics.SESSION_EVENTS.labels(event).inc()
        if event == "disconnect":
            self.live.discard(shard_id)
        else:
            self.live.add(shard_id)
            self.was_live = True
        metrics.SHARDS_CONNECTED.set(len(self.live))
        log.info("session", session_event=event, shard=shard_id, guilds=len(self.guilds))

    async def on_shard_connect(self, shard_id: int) -> None:
        """A new session is there."""
        self._is_live(shard_id, "connect")

    async def on_shard_resumed(self, shard_id: int) -> None:
        """A cut session goes on; Discord has sent what was missed."""
        self._is_live(shard_id, "resume")

    async def on_shard_disconnect(self, shard_id: int) -> None:
        """The connection is cut; discord.py makes a new one."""
        self._is_live(shard_id, "disconnect")

    async def on_error(self, event_method: str, /, *_args: Any, **_kwargs: Any) -> None:
        """Errors of handlers go to the log, not to stderr."""
        log.error("event handler failed", handler=event_method, exc_info=sys.exc_info())

    async def on_message(self, message: discord.Message) -> None:
        """A new message."""
        if message.guild is None or (self.user is not None and message.author.id == self.user.id):
            metrics.EVENTS_DROPPED.labels("not_for_us").inc()
            return
        mentions = len(message.raw_mentions) + len(message.raw_role_mentions) + int(message.mention_everyone)
        self._publish(
            MessageEvent.model_construct(
                event_id=f"{message.id}:create",
                kind="message_create",
                guild_id=str(message.guild.id),
                channel_id=str(message.channel.id),
                message_id=str(message.id),
                author_id=str(message.author.id),
                content=message.content[:MAX_CONTENT],
                mentions=mentions,
                created_ms=int(message.created_at.timestamp() * 1000),
            )
        )

    async def on_raw_message_edit(self, payload: discord.RawMessageUpdateEvent) -> None:
        """An edited message may break a rule as well as a new one."""
        data: dict[str, Any] = dict(payload.data)
        edited, author = data.get("edited_timestamp"), data.get("author", {}).get("id")
        if payload.guild_id is None or not edited or not author or "content" not in data:
            return
        at = int(datetime.fromisoformat(edited).timestamp() * 1000)
        mentions = len(data.get("mentions", [])) + len(data.get("mention_roles", [])) + int(data.get("mention_everyone", False))
        self._publish(
            MessageEvent.model_construct(
                event_id=f"{payload.message_id}:edit:{at}",
                kind="message_edit",
                guild_id=str(payload.guild_id),
                channel_id=str(payload.channel_id),
                message_id=str(payload.message_id),
                author_id=str(author),
                content=str(data["content"])[:MAX_CONTENT],
                mentions=mentions,
                created_ms=at,
            )
        )

    def _publish(self, event: MessageEvent) -> None:
        metrics.EVENTS_IN.labels(event.kind).inc()
        self._guild_metric.count(event.guild)
        with tracing.span(f"discord {event.kind}", SpanKind.CONSUMER, dcm__guild_id=event.guild, messaging__message__id=event.event_id):
            fields = event.encode()
            tracing.inject(fields)
            self._publisher.put(fields)
            log.debug("event received", guild_id=event.guild_id, event_id=event.event_id)


async def _session(bot: Bot, context: Context) -> None:
    """One session from login to its end: by the stop event, by a refusal, or by an error."""
    await bot.login(context.secrets.read(DISCORD))
    await bot.check_budget()
    connection = asyncio.create_task(bot.connect())
    stop = asyncio.create_task(context.stop.wait())
    try:
        ends: set[asyncio.Future[Any]] = {connection, stop, bot.refusal}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if bot.refusal.done():
            raise bot.refusal.result()
        if connection.done():
            await connection
    finally:
        bot.live.clear()
        metrics.SHARDS_CONNECTED.set(0)
        await _close(bot)  # first: discord.py may swallow a cancellation, but its loop ends when the client is closed
        connection.cancel()
        stop.cancel()
        await asyncio.wait({connection, stop}, timeout=CLOSE_SECONDS)


async def _close(bot: Bot) -> None:
    with contextlib.suppress(Exception):
        await asyncio.wait_for(bot.close(), CLOSE_SECONDS)


async def _hold_sessions(context: Context, publisher: Publisher, current: list[Bot]) -> None:
    """Session after session, until the stop event; waits where Discord says so."""
    failures = 0
    while not context.stop.is_set():
        bot = Bot(context, publisher)
        current[:] = [bot]
        pause: float = 1
        try:
            await _session(bot, context)
            failures = 0
        except BudgetUsedUpError as error:
            log.error("no session is started: the budget is used up", error=str(error), wait_seconds=round(error.seconds))
            pause = error.seconds
        except REJECTED as error:
            pause = REJECTED_RETRY_SECONDS
            log.error("Discord ended the session", error=str(error), retry_seconds=pause)
        except PASSING as error:
            failures = 0 if bot.was_live else failures
            pause = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
            failures += 1
            log.error("no session on Discord", error=f"{type(error).__name__}: {error}", retry_seconds=pause)
        finally:
            await _close(bot)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(context.stop.wait(), pause)


async def run(context: Context) -> None:
    """Hold the session until the stop event, then write out what is buffered."""
    Route.BASE = context.settings.discord_api_url
    client = connect(context.settings, context.secrets)
    stream = EventStream(client, context.settings.stream_maxlen)
    publisher = Publisher(stream)
    current: list[Bot] = []

    async def session_is_live() -> None:
        if not current or not current[0].live:
            raise ConnectionError("no live session on Discord's gateway")

    context.health.add("redis", stream.ping)
    context.health.add("discord", session_is_live)
    writer = asyncio.create_task(publisher.run())
    context.health.started = True
    try:
        await _hold_sessions(context, publisher, current)
        await publisher.flush(context.settings.shutdown_seconds / 2)
    finally:
        writer.cancel()
        await client.aclose()
