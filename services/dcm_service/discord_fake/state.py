# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the fake remembers: guilds, sessions, messages, the session budget, and the faults it is told to show."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

EPOCH_MS = 1_420_070_400_000
BOT_ID = 900_000_000_000_000_001
SESSION_STARTS = 1000
DAY_SECONDS = 86_400.0
REPLAY = 5_000
KEPT_MESSAGES = 20_000
RESUME_SECONDS = 600.0
Payload = dict[str, Any]


class Ids:
    """Snowflakes of now, each one new."""

    def __init__(self) -> None:
        self._last = 0

    def new(self) -> int:
        """The next id."""
        self._last = max(self._last + 1, (int(time.time() * 1000) - EPOCH_MS) << 22)
        return self._last


@dataclass
class Session:
    """A session of a bot; outlives its connection, so that it can be resumed."""

    shard: tuple[int, int]
    session_id: str = field(default_factory=lambda: secrets.token_hex(16))
    sequence: int = 0
    replay: deque[Payload] = field(default_factory=lambda: deque(maxlen=REPLAY))
    outbox: asyncio.Queue[Payload] | None = None
    cut_at: float = 0.0

    def covers(self, guild_id: int) -> bool:
        """Discord's rule which shard a guild belongs to."""
        return (guild_id >> 22) % self.shard[1] == self.shard[0]

    def dispatch(self, name: str, data: Payload) -> None:
        """Send an event, or keep it for the resume."""
        self.sequence += 1
        payload = {"op": 0, "t": name, "s": self.sequence, "d": data}
        self.replay.append(payload)
        if self.outbox is not None:
            self.outbox.put_nowait(payload)


@dataclass
class Faults:
    """What goes wrong on purpose."""

    delete_delay_seconds: float = 0.0
    rate_limit_next: int = 0
    retry_after: float = 1.0
    fail_next: int = 0
    forbid_next: int = 0


class Budget:
    """session_start_limit: so many identifies a day."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._resets_at = clock() + DAY_SECONDS
        self.remaining = SESSION_STARTS

    def use(self) -> bool:
        """Take one; False when none is left."""
        self._renew()
        if self.remaining <= 0:
            return False
        self.remaining -= 1
        return True

    def set(self, remaining: int, reset_after_seconds: float) -> None:
        """Set what is left, for tests."""
        self.remaining = remaining
        self._resets_at = self._clock() + reset_after_seconds

    def limit(self) -> dict[str, int]:
        """As /gateway/bot says it."""
        self._renew()
        reset_after = int((self._resets_at - self._clock()) * 1000)
        return {"total": SESSION_STARTS, "remaining": self.remaining, "reset_after": reset_after, "max_concurrency": 1}

    def _renew(self) -> None:
        if self._clock() >= self._resets_at:
            self.set(SESSION_STARTS, DAY_SECONDS)


def _now() -> str:
    return datetime.now(UTC).isoformat()


class State:
    """Everything, in memory."""

    def __init__(self) -> None:
        self.ids = Ids()
        self.budget = Budget()
        self.faults = Faults()
        self.guilds: dict[int, set[int]] = {}
        self.sessions: dict[str, Session] = {}
        self.messages: dict[int, Payload] = {}
        self.deleted: deque[Payload] = deque(maxlen=KEPT_MESSAGES)
        self.deleting: list[int] = []
        self.counts = {"identify": 0, "resume": 0}

    def guild(self, guild_id: int) -> Payload:
        """A guild as GUILD_CREATE carries it."""
        channels = [{"id": str(item), "type": 0, "name": f"channel-{item}", "position": 0} for item in sorted(self.guilds[guild_id])]
        return {
            "id": str(guild_id),
            "name": f"Guild {guild_id}",
            "owner_id": str(BOT_ID),
            "joined_at": _now(),
            "large": False,
            "unavailable": False,
            "member_count": 1,
            "channels": [{**item, "guild_id": str(guild_id), "permission_overwrites": []} for item in channels],
            "roles": [{"id": str(guild_id), "name": "@everyone", "permissions": "8", "position": 0, "color": 0}],
            **{key: [] for key in ("emojis", "features", "members", "presences", "stage_instances", "stickers", "threads", "voice_states")},
        }

    def introduce(self, guild_id: int, channel_id: int) -> None:
        """Make guild and channel known, and tell the sessions when they are new."""
        if guild_id not in self.guilds:
            self.guilds[guild_id] = {channel_id}
            self.send(guild_id, "GUILD_CREATE", self.guild(guild_id))
        elif channel_id not in self.guilds[guild_id]:
            self.guilds[guild_id].add(channel_id)
            channel = next(item for item in self.guild(guild_id)["channels"] if item["id"] == str(channel_id))
            self.send(guild_id, "CHANNEL_CREATE", channel)

    def send(self, guild_id: int, name: str, data: Payload) -> int:
        """Give an event to the sessions that cover the guild; returns how many did."""
        self._expire()
        covering = [session for session in self.sessions.values() if session.covers(guild_id)]
        for session in covering:
            session.dispatch(name, data)
        return len(covering)

    def post(self, guild_id: int, channel_id: int, author_id: int, content: str, mentions: list[int]) -> tuple[Payload, int]:
        """Write a message as a user would; returns it and how many sessions were told."""
        self.introduce(guild_id, channel_id)
        message: Payload = {
            "id": str(self.ids.new()),
            "type": 0,
            "channel_id": str(channel_id),
            "guild_id": str(guild_id),
            "author": user(author_id),
            "member": {"roles": [], "joined_at": _now(), "deaf": False, "mute": False, "flags": 0},
            "content": content,
            "timestamp": _now(),
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": "@everyone" in content,
            "mentions": [{**user(item), "member": {"roles": [], "joined_at": _now(), "flags": 0}} for item in mentions],
            **{key: [] for key in ("mention_roles", "attachments", "embeds")},
            "pinned": False,
        }
        self.messages[int(message["id"])] = message
        while len(self.messages) > KEPT_MESSAGES:
            del self.messages[next(iter(self.messages))]
        return message, self.send(guild_id, "MESSAGE_CREATE", message)

    def edit(self, message_id: int, content: str) -> Payload | None:
        """Change a message as its author would; None when it is not there."""
        message = self.messages.get(message_id)
        if message is not None:
            message |= {"content": content, "edited_timestamp": _now()}
            self.send(int(message["guild_id"]), "MESSAGE_UPDATE", message)
        return message

    def delete(self, channel_id: int, message_id: int, reason: str) -> bool:
        """Delete a message; False when it is not there."""
        message = self.messages.get(message_id)
        if message is None or message["channel_id"] != str(channel_id):
            return False
        del self.messages[message_id]
        ids = {key: message[key] for key in ("channel_id", "guild_id")}
        self.deleted.append({"message_id": str(message_id), **ids, "reason": reason, "deleted_at": _now()})
        self.send(int(message["guild_id"]), "MESSAGE_DELETE", {"id": str(message_id), **ids})
        return True

    def _expire(self) -> None:
        now = time.monotonic()
        gone = [key for key, item in self.sessions.items() if item.outbox is None and now - item.cut_at > RESUME_SECONDS]
        for key in gone:
            del self.sessions[key]


def user(user_id: int, bot: bool = False) -> Payload:
    """A user as Discord shows it."""
    return {"id": str(user_id), "username": f"user-{user_id}", "discriminator": "0", "global_name": None, "avatar": None, "bot": bot}
