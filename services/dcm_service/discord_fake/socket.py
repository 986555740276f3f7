# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The gateway: HELLO, heartbeat, IDENTIFY, RESUME, and events, in JSON, as a zlib stream where asked for."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from dcm_service import logs
from dcm_service.discord_fake.state import BOT_ID, Session, State, user

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, RESUME, RECONNECT, INVALID, HELLO, ACK = 0, 1, 2, 3, 6, 7, 9, 10, 11
HEARTBEAT_MS = 41_250
FIRST_MESSAGE_SECONDS = 30
NOT_AUTHENTICATED, AUTHENTICATION_FAILED, DECODE_ERROR, UNKNOWN_OPCODE = 4003, 4004, 4002, 4001
BAD_SHARD, TOO_MANY_SESSIONS = 4010, 4008
log = logs.get(__name__)


class CloseError(Exception):
    """End the connection with one of Discord's codes."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


class Connection:
    """One websocket of a bot."""

    def __init__(self, state: State, token: str, socket: web.WebSocketResponse, request: web.Request) -> None:
        self._state = state
        self._token = token
        self._socket = socket
        self._resume_url = f"ws://{request.host}/gateway"
        self._deflate = zlib.compressobj() if request.query.get("compress") == "zlib-stream" else None
        self._outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._session: Session | None = None

    async def run(self) -> None:
        """Talk until either side ends it; the session stays for a resume unless the bot said goodbye."""
        sender = asyncio.create_task(self._send_all())
        self._outbox.put_nowait({"op": HELLO, "d": {"heartbeat_interval": HEARTBEAT_MS}})
        try:
            async with asyncio.timeout(FIRST_MESSAGE_SECONDS) as limit:
                async for message in self._socket:
                    if message.type is not WSMsgType.TEXT:
                        raise CloseError(DECODE_ERROR, "text expected")
                    self._on_payload(message.data)
                    if self._session is not None:
                        limit.reschedule(None)
        except CloseError as error:
            log.info("connection refused", code=error.code, error=str(error))
            await self._socket.close(code=error.code, message=str(error).encode())
        except TimeoutError:
            await self._socket.close(code=NOT_AUTHENTICATED)
        finally:
            sender.cancel()
            self._detach()

    def _detach(self) -> None:
        session = self._session
        if session is None or session.outbox is not self._outbox:
            return
        session.outbox, session.cut_at = None, time.monotonic()
        if self._socket.close_code in (WSCloseCode.OK, WSCloseCode.GOING_AWAY):
            self._state.sessions.pop(session.session_id, None)

    async def _send_all(self) -> None:
        while True:
            payload = await self._outbox.get()
            text = json.dumps(payload, separators=(",", ":")).encode()
            if self._deflate is None:
                await self._socket.send_str(text.decode())
            else:
                await self._socket.send_bytes(self._deflate.compress(text) + self._deflate.flush(zlib.Z_SYNC_FLUSH))
            if payload["op"] == RECONNECT:
                await self._socket.close(code=4000)

    def _on_payload(self, text: str) -> None:
        try:
            payload = json.loads(text)
            op, data = payload["op"], payload.get("d")
        except (ValueError, KeyError, TypeError):
            raise CloseError(DECODE_ERROR, "not a payload") from None
        if op == HEARTBEAT:
            self._outbox.put_nowait({"op": ACK, "d": None})
        elif op == IDENTIFY:
            self._identify(data)
        elif op == RESUME:
            self._resume(data)
        elif self._session is None:
            raise CloseError(NOT_AUTHENTICATED, "identify first")
        elif op not in (PRESENCE, 4, 8, 31, 43):
            raise CloseError(UNKNOWN_OPCODE, "unknown opcode")

    def _check_token(self, data: Any) -> None:
        if not isinstance(data, dict) or str(data.get("token", "")).removeprefix("Bot ") != self._token:
            raise CloseError(AUTHENTICATION_FAILED, "Authentication failed.")

    def _identify(self, data: Any) -> None:
        self._check_token(data)
        shard = data.get("shard", [0, 1])
        if len(shard) != 2 or not 0 <= shard[0] < shard[1]:
            raise CloseError(BAD_SHARD, "Invalid shard.")
        if not self._state.budget.use():
            raise CloseError(AUTHENTICATION_FAILED, "The session budget is used up.")
        self._state.counts["identify"] += 1
        session = Session((shard[0], shard[1]))
        self._state.sessions[session.session_id] = session
        self._attach(session)
        guilds = [guild_id for guild_id in self._state.guilds if session.covers(guild_id)]
        session.dispatch("READY", self._ready(session, guilds))
        for guild_id in guilds:
            session.dispatch("GUILD_CREATE", self._state.guild(guild_id))

    def _ready(self, session: Session, guilds: list[int]) -> dict[str, Any]:
        return {
            "v": 10,
            "user": {**user(BOT_ID, bot=True), "username": "dcm"},
            "guilds": [{"id": str(guild_id), "unavailable": True} for guild_id in guilds],
            "session_id": session.session_id,
            "resume_gateway_url": self._resume_url,
            "shard": list(session.shard),
            "application": {"id": str(BOT_ID), "flags": 1 << 18},
        }

    def _resume(self, data: Any) -> None:
        self._check_token(data)
        session = self._state.sessions.get(str(data.get("session_id")))
        seen = data.get("seq")
        if session is None or not isinstance(seen, int) or (session.replay and seen < session.replay[0]["s"] - 1):
            self._outbox.put_nowait({"op": INVALID, "d": False})
            return
        self._state.counts["resume"] += 1
        self._attach(session)
        for payload in session.replay:
            if payload["s"] > seen:
                self._outbox.put_nowait(payload)
        session.dispatch("RESUMED", {})

    def _attach(self, session: Session) -> None:
        session.outbox = self._outbox
        self._session = session
