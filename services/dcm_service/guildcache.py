# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the worker remembers of a guild for a few seconds: whether it is served, and its rules ready to run."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass

from dcm_service import logs, metrics, repository
from dcm_service.database import Database
from dcm_service.rules import Compiled, Rule, RuleError, compile_rule

CAPACITY = 5_000
log = logs.get(__name__)


@dataclass(frozen=True)
class GuildView:
    """A guild as the worker sees it; `refusal` says why it is not served."""

    refusal: str | None
    rules: tuple[Compiled, ...]


class GuildCache:
    """Reads a guild once for all events that come together; bounded in number and in age."""

    def __init__(self, database: Database, seconds: float) -> None:
        self._database = database
        self._seconds = seconds
        self._views: OrderedDict[int, tuple[float, GuildView]] = OrderedDict()
        self._locks: dict[int, asyncio.Lock] = {}

    async def get(self, guild_id: int) -> GuildView:
        """The view of a guild, at most `seconds` old."""
        lock = self._locks.setdefault(guild_id, asyncio.Lock())
        try:
            async with lock:
                at, view = self._views.get(guild_id, (0.0, None))
                if view is None or time.monotonic() - at >= self._seconds:
                    view = await self._load(guild_id)
                    self._views[guild_id] = (time.monotonic(), view)
                    self._views.move_to_end(guild_id)
                    if len(self._views) > CAPACITY:
                        self._views.popitem(last=False)
                return view
        finally:
            if not lock.locked():
                self._locks.pop(guild_id, None)

    async def _load(self, guild_id: int) -> GuildView:
        found = await self._database.guild(guild_id)
        if found is None:
            return GuildView("unknown_guild", ())
        if not found.active:
            return GuildView("inactive_guild", ())
        async with self._database.as_guild(guild_id, "read rules") as connection:
            rules = await repository.enabled_rules(connection)
        return GuildView(None, tuple(_compile(guild_id, rules)))


def _compile(guild_id: int, rules: list[Rule]) -> list[Compiled]:
    """The rules that can be used; the others are named in the log and counted."""
    compiled = []
    for rule in rules:
        try:
            compiled.append(compile_rule(rule))
        except RuleError as error:
            metrics.RULES_INVALID.labels(rule.kind).inc()
            log.warning("rule is not used", guild_id=guild_id, rule=rule.name, error=str(error))
    return compiled
