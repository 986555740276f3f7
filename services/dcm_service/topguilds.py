# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The guild as a metric label, bounded: the busiest N by name, everybody else as `other`."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import Counter

OTHER = "other"
_CANDIDATES_PER_NAME = 20
_HALF_LIFE_SECONDS = 600.0


class TopGuilds:
    """Chooses names by recent weight (halved every ten minutes); a newcomer must weigh twice as much as the lightest name."""

    def __init__(self, counter: Counter, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._counter = counter
        self._size = size
        self._clock = clock
        self._weights: dict[int, float] = {}
        self._named: set[int] = set()
        self._halved_at = clock()

    def count(self, guild_id: int) -> None:
        """Count one event under the guild's name or under `other`."""
        self._decay()
        self._weights[guild_id] = self._weights.get(guild_id, 0.0) + 1.0
        if guild_id not in self._named:
            self._promote(guild_id)
            self._bound()
        self._counter.labels(str(guild_id) if guild_id in self._named else OTHER).inc()

    def _promote(self, guild_id: int) -> None:
        if len(self._named) < self._size:
            self._named.add(guild_id)
            return
        if not self._named:
            return
        lightest = min(self._named, key=lambda item: self._weights.get(item, 0.0))
        if self._weights[guild_id] > 2 * self._weights.get(lightest, 0.0) + 1:
            self._named.remove(lightest)
            self._counter.remove(str(lightest))
            self._named.add(guild_id)

    def _bound(self) -> None:
        limit = max(self._size, 1) * _CANDIDATES_PER_NAME
        if len(self._weights) > limit:
            others = sorted((item for item in self._weights if item not in self._named), key=self._weights.__getitem__)
            for item in others[: len(others) // 2 + 1]:
                del self._weights[item]

    def _decay(self) -> None:
        now = self._clock()
        while now - self._halved_at >= _HALF_LIFE_SECONDS:
            self._halved_at += _HALF_LIFE_SECONDS
            self._weights = {item: weight / 2 for item, weight in self._weights.items() if item in self._named or weight > 1}
