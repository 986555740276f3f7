# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The worker's client of Discord's REST API: deletes messages, keeps to the rate limits, tries again what may pass."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import quote

import aiohttp
from opentelemetry.trace import SpanKind

from dcm_service import __version__, logs, metrics, tracing
from dcm_service.secretfiles import DISCORD, SecretFiles

ROUTE = "DELETE /channels/{channel.id}/messages/{message.id}"
ATTEMPTS = 6
LONGEST_WAIT = 120.0
DELETED, GONE, FORBIDDEN = "deleted", "gone", "forbidden"
_RESULTS = {200: DELETED, 204: DELETED, 404: GONE, 403: FORBIDDEN}
_MOST_CHANNELS = 10_000
log = logs.get(__name__)


class DiscordUnavailableError(Exception):
    """Discord cannot be reached or does not know us now; nothing is wrong with the event."""


class DiscordRefusedError(Exception):
    """Discord does not accept this very request."""


class DiscordRest:
    """One session for all workers of a process."""

    def __init__(self, api_url: str, secrets: SecretFiles) -> None:
        self._url = api_url
        self._secrets = secrets
        self._session: aiohttp.ClientSession | None = None
        self._open_at: dict[int | None, float] = {}  # channel (None: all of them) -> when the next request may go

    async def open(self) -> None:
        """Make the session."""
        agent = f"DiscordBot (dcm-service, {__version__})"
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10, connect=3), headers={"User-Agent": agent})

    async def close(self) -> None:
        """End the session."""
        if self._session is not None:
            await self._session.close()

    async def delete_message(self, channel_id: int, message_id: int, reason: str) -> str:
        """Delete a message; `deleted`, `gone` (it was away already) or `forbidden` (the bot lacks the permission)."""
        with tracing.span("discord delete message", SpanKind.CLIENT, http__request__method="DELETE", http__route=ROUTE):
            for attempt in range(ATTEMPTS):
                await self._wait(channel_id)
                status, pause = await self._try(channel_id, message_id, reason)
                if status in _RESULTS:
                    return _RESULTS[status]
                if status == 401:
                    raise DiscordUnavailableError("Discord does not accept the token in the secret file discord-token (401)")
                if 400 <= status < 500 and status != 429:
                    raise DiscordRefusedError(f"Discord refused to delete message {message_id} in channel {channel_id} ({status})")
                await self._pause(pause if pause is not None else min(0.25 * 2**attempt, 4))
        raise DiscordUnavailableError(f"Discord did not delete the message in {ATTEMPTS} attempts (last status {status or 'none'})")

    async def _try(self, channel_id: int, message_id: int, reason: str) -> tuple[int, float | None]:
        """One request: its status (0: no answer) and how long to wait before the next one."""
        if self._session is None:
            raise DiscordUnavailableError("the session is closed")
        headers = {"Authorization": f"Bot {self._secrets.read(DISCORD)}", "X-Audit-Log-Reason": quote(reason[:200])}
        url = f"{self._url}/channels/{channel_id}/messages/{message_id}"
        try:
            async with self._session.delete(url, headers=headers) as answer:
                metrics.DISCORD_REQUESTS.labels(ROUTE, str(answer.status)).inc()
                return answer.status, self._learn(channel_id, answer)
        except (aiohttp.ClientError, TimeoutError) as error:
            metrics.DISCORD_REQUESTS.labels(ROUTE, "error").inc()
            log.warning("Discord does not answer", error=f"{type(error).__name__}: {error}")
            return 0, None

    def _learn(self, channel_id: int, answer: aiohttp.ClientResponse) -> float | None:
        """Note the limits that an answer states; returns the wait after a 429."""
        headers = answer.headers
        if answer.status == 429:
            seconds = _seconds(headers.get("Retry-After"), 1.0)
            scope = None if headers.get("X-RateLimit-Global") or headers.get("X-RateLimit-Scope") == "global" else channel_id
            self._block(scope, seconds)
            log.warning("Discord limits the rate", retry_after=seconds, everywhere=scope is None)
            return 0.0
        if headers.get("X-RateLimit-Remaining") == "0":
            self._block(channel_id, _seconds(headers.get("X-RateLimit-Reset-After"), 0.0))
        return None

    def _block(self, scope: int | None, seconds: float) -> None:
        now = time.monotonic()
        if len(self._open_at) > _MOST_CHANNELS:
            self._open_at = {key: at for key, at in self._open_at.items() if at > now}
        self._open_at[scope] = max(self._open_at.get(scope, 0.0), now + min(seconds, LONGEST_WAIT))

    async def _wait(self, channel_id: int) -> None:
        pause = max(self._open_at.get(None, 0.0), self._open_at.get(channel_id, 0.0)) - time.monotonic()
        if pause > 0:
            metrics.DISCORD_WAIT.inc(pause)
            await self._pause(pause)

    @staticmethod
    async def _pause(seconds: float) -> None:
        if seconds > 0:
            await asyncio.sleep(seconds)


def _seconds(text: str | None, default: float) -> float:
    try:
        return max(0.0, float(text)) if text is not None else default
    except ValueError:
        return default
