# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The dashboard's client of the API."""

from __future__ import annotations

from typing import Any

import aiohttp
from opentelemetry.trace import SpanKind

from dcm_service import tracing


class ApiError(Exception):
    """The API did not answer as wished; `status` is 0 when it did not answer at all."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


class Api:
    """One session for all users; the token goes with each call."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the session."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5, connect=2), cookie_jar=aiohttp.DummyCookieJar())

    async def close(self) -> None:
        """End the session."""
        if self._session is not None:
            await self._session.close()

    async def ping(self) -> None:
        """Raise when the API does not answer."""
        await self._get("/v1/ping", None)

    async def guilds(self, token: str) -> list[dict[str, Any]]:
        """The guilds of the token."""
        found: list[dict[str, Any]] = (await self._get("/v1/guilds", token))["guilds"]
        return found

    async def actions(self, token: str, guild_id: str) -> list[dict[str, Any]]:
        """Recent actions of a guild."""
        found: list[dict[str, Any]] = (await self._get(f"/v1/guilds/{guild_id}/actions?limit=50", token))["actions"]
        return found

    async def rules(self, token: str, guild_id: str) -> list[dict[str, Any]]:
        """The rules of a guild."""
        found: list[dict[str, Any]] = (await self._get(f"/v1/guilds/{guild_id}/rules", token))["rules"]
        return found

    async def _get(self, path: str, token: str | None) -> Any:
        if self._session is None:
            raise ApiError(0, "the session is closed")
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        with tracing.span("api get", SpanKind.CLIENT, http__request__method="GET"):
            tracing.inject(headers)
            try:
                async with self._session.get(self._url + path, headers=headers, allow_redirects=False) as answer:
                    body = await answer.json()
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                raise ApiError(0, f"the API does not answer ({type(error).__name__})") from None
        if answer.status != 200:
            raise ApiError(answer.status, str(body.get("error", "")) if isinstance(body, dict) else "")
        return body
