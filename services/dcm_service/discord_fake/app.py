# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Routes of the fake: Discord's own, and /_control for whoever plays the users and the bad luck."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from urllib.parse import unquote

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dcm_service import logs
from dcm_service.discord_fake.socket import Connection
from dcm_service.discord_fake.state import BOT_ID, State, user
from dcm_service.ops import listen
from dcm_service.runtime import Context
from dcm_service.secretfiles import DISCORD
from dcm_service.snowflake import Snowflake

API = "/api/v10"
CHANNEL, AUTHOR = "700000000000000001", "800000000000000001"
log = logs.get(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """As Discord sends it: without a charset, which discord.py compares."""
    return web.Response(body=json.dumps(body).encode(), status=status, headers={"Content-Type": "application/json", **(headers or {})})


class Body(BaseModel):
    """Base of what the control routes take."""

    model_config = ConfigDict(extra="forbid")


class NewMessage(Body):
    """A user writes."""

    guild_id: Snowflake
    channel_id: Snowflake = CHANNEL
    author_id: Snowflake = AUTHOR
    content: Annotated[str, Field(min_length=1, max_length=4000)]
    mentions: Annotated[list[Snowflake], Field(max_length=100)] = []


class Edit(Body):
    """A user edits."""

    message_id: Snowflake
    content: Annotated[str, Field(min_length=1, max_length=4000)]


class FaultsIn(Body):
    """What shall go wrong; what is not named goes well."""

    delete_delay_seconds: Annotated[float, Field(ge=0, le=600)] = 0
    rate_limit_next: Annotated[int, Field(ge=0)] = 0
    retry_after: Annotated[float, Field(ge=0, le=60)] = 1
    fail_next: Annotated[int, Field(ge=0)] = 0
    forbid_next: Annotated[int, Field(ge=0)] = 0


class DisconnectIn(Body):
    """How to cut the connections."""

    forget: bool = False


class BudgetIn(Body):
    """The session budget."""

    remaining: Annotated[int, Field(ge=0, le=1000)]
    reset_after_seconds: Annotated[float, Field(gt=0, le=86400)] = 86400


class Fake:
    """The handlers."""

    def __init__(self, context: Context, state: State) -> None:
        self._context = context
        self._state = state
        self._sockets: dict[web.WebSocketResponse, asyncio.Transport | None] = {}

    def routes(self) -> list[web.RouteDef]:
        """Discord's routes, then ours."""
        return [
            web.get(API + "/users/@me", self.me),
            web.get(API + "/oauth2/applications/@me", self.application),
            web.get(API + "/gateway", self.gateway),
            web.get(API + "/gateway/bot", self.gateway_bot),
            web.delete(API + "/channels/{channel_id:[0-9]+}/messages/{message_id:[0-9]+}", self.delete_message),
            web.get("/gateway", self.socket),
            web.get("/gateway/", self.socket),
            web.post("/_control/messages", self.post_message),
            web.post("/_control/edits", self.edit_message),
            web.get("/_control/deleted", self.deleted),
            web.get("/_control/state", self.state),
            web.post("/_control/disconnect", self.disconnect),
            web.post("/_control/faults", self.set_faults),
            web.post("/_control/budget", self.set_budget),
        ]

    def _token(self) -> str:
        return self._context.secrets.read(DISCORD)

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Discord's routes want the bot's token."""
        if request.path.startswith(API) and request.headers.get("Authorization") != f"Bot {self._token()}":
            return _json({"message": "401: Unauthorized", "code": 0}, status=401)
        try:
            return await handler(request)
        except ValidationError as error:
            parts = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
            return _json({"error": "; ".join(parts)}, status=422)

    async def me(self, _request: web.Request) -> web.Response:
        """The bot's own user."""
        return _json({**user(BOT_ID, bot=True), "username": "dcm"})

    async def application(self, _request: web.Request) -> web.Response:
        """The bot's application, with the message content intent granted."""
        names = {"id": str(BOT_ID), "name": "dcm", "description": "", "icon": None, "verify_key": "0" * 64, "summary": ""}
        flags = {"bot_public": False, "bot_require_code_grant": False, "flags": 1 << 18, "rpc_origins": []}
        return _json({**names, **flags, "owner": user(BOT_ID + 1), "team": None})

    async def gateway(self, request: web.Request) -> web.Response:
        """Where the gateway is."""
        return _json({"url": f"ws://{request.host}/gateway"})

    async def gateway_bot(self, request: web.Request) -> web.Response:
        """Where the gateway is, and how many sessions may be started."""
        body = {"url": f"ws://{request.host}/gateway", "shards": 1, "session_start_limit": self._state.budget.limit()}
        return _json(body)

    async def delete_message(self, request: web.Request) -> web.Response:
        """A deletion, after the faults that are ordered."""
        faults = self._state.faults
        channel_id, message_id = int(request.match_info["channel_id"]), int(request.match_info["message_id"])
        if faults.rate_limit_next > 0:
            faults.rate_limit_next -= 1
            body = {"message": "You are being rate limited.", "retry_after": faults.retry_after, "global": False}
            return _json(body, status=429, headers={"Retry-After": str(faults.retry_after), "X-RateLimit-Scope": "user"})
        if faults.fail_next > 0:
            faults.fail_next -= 1
            return _json({"message": "internal", "code": 0}, status=500)
        if faults.forbid_next > 0:
            faults.forbid_next -= 1
            return _json({"message": "Missing Permissions", "code": 50013}, status=403)
        await self._delay(message_id)
        if not self._state.delete(channel_id, message_id, unquote(request.headers.get("X-Audit-Log-Reason", ""))):
            return _json({"message": "Unknown Message", "code": 10008}, status=404)
        return web.Response(status=204)

    async def _delay(self, message_id: int) -> None:
        """Hold a deletion as ordered; it shows in /_control/state meanwhile."""
        if self._state.faults.delete_delay_seconds > 0:
            self._state.deleting.append(message_id)
            try:
                await asyncio.sleep(self._state.faults.delete_delay_seconds)
            finally:
                self._state.deleting.remove(message_id)

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """A bot's connection."""
        socket = web.WebSocketResponse(max_msg_size=64 * 1024, compress=False)
        await socket.prepare(request)
        self._sockets[socket] = request.transport
        try:
            await Connection(self._state, self._token(), socket, request).run()
        finally:
            del self._sockets[socket]
        return socket

    async def post_message(self, request: web.Request) -> web.Response:
        """A user writes a message; 503 when no bot would see it."""
        new = NewMessage.model_validate_json(await request.read())
        ids = (int(new.guild_id), int(new.channel_id), int(new.author_id))
        message, told = self._state.post(*ids, new.content, [int(item) for item in new.mentions])
        body = {"message_id": message["id"], "sessions": told}
        log.info("message", guild_id=new.guild_id, message_id=message["id"], sessions=told)
        return _json(body if told else {**body, "error": "no bot holds a session for this guild"}, status=201 if told else 503)

    async def edit_message(self, request: web.Request) -> web.Response:
        """A user edits a message."""
        edit = Edit.model_validate_json(await request.read())
        message = self._state.edit(int(edit.message_id), edit.content)
        return _json({"edited": message is not None}, status=200 if message else 404)

    async def deleted(self, request: web.Request) -> web.Response:
        """What was deleted; ?guild_id= and ?message_id= choose."""
        wanted = {key: request.query[key] for key in ("guild_id", "message_id") if key in request.query}
        found = [item for item in self._state.deleted if all(item[key] == value for key, value in wanted.items())]
        return _json({"deleted": found})

    async def state(self, _request: web.Request) -> web.Response:
        """Sessions, budget and faults."""
        sessions = [
            {"session_id": item.session_id[:8], "shard": list(item.shard), "connected": item.outbox is not None, "sequence": item.sequence}
            for item in self._state.sessions.values()
        ]
        body: dict[str, Any] = {"sessions": sessions, "budget": self._state.budget.limit(), "counts": self._state.counts}
        faults = dataclasses.asdict(self._state.faults)
        return _json({**body, "deleting": [str(item) for item in self._state.deleting], "faults": faults})

    async def disconnect(self, request: web.Request) -> web.Response:
        """Cut every connection without a goodbye; the sessions stay and can be resumed, unless they are to be forgotten."""
        wanted = DisconnectIn.model_validate_json(await request.read() or "{}")
        if wanted.forget:
            self._state.sessions.clear()
        transports = [transport for transport in self._sockets.values() if transport is not None]
        for transport in transports:
            transport.abort()
        return _json({"disconnected": len(transports)})

    async def set_faults(self, request: web.Request) -> web.Response:
        """Order faults."""
        wanted = FaultsIn.model_validate_json(await request.read())
        for key, value in wanted.model_dump().items():
            setattr(self._state.faults, key, value)
        return _json(wanted.model_dump())

    async def set_budget(self, request: web.Request) -> web.Response:
        """Set the session budget."""
        wanted = BudgetIn.model_validate_json(await request.read())
        self._state.budget.set(wanted.remaining, wanted.reset_after_seconds)
        return _json(self._state.budget.limit())

    async def close(self) -> None:
        """Ask the bots to come back elsewhere."""
        for socket in list(self._sockets):
            await socket.close(code=1012)


async def run(context: Context) -> None:
    """Serve until the stop event."""
    fake = Fake(context, State())
    app = web.Application(middlewares=[fake.guard], client_max_size=64 * 1024)
    app.add_routes(fake.routes())
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=3)
    await runner.setup()
    await listen(runner, context.settings.bind, context.settings.http_port)
    context.health.started = True
    try:
        await context.stop.wait()
        await fake.close()
    finally:
        await runner.cleanup()
