# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Progress of a long run: at most one event a second into a file of JSON lines, and the words for people. Pure but for the file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

EVERY_SECONDS = 1.0


class Progress:
    """Counts, and tells whoever reads the file."""

    def __init__(self, file: str | None, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self.done = 0
        self.failed = 0
        self._clock = clock
        self._start = self._told = clock()
        self._stream: TextIO | None = Path(file).open("a", encoding="utf-8") if file else None  # noqa: SIM115

    def announce(self, lines: Sequence[str]) -> None:
        """The plan, before anything is done."""
        if self._stream and lines:
            self._stream.write(json.dumps({"plan": list(lines)}) + "\n")
            self._stream.flush()

    def step(self, failed: bool = False) -> None:
        self.done += 1
        self.failed += failed
        if self._stream and self._clock() - self._told >= EVERY_SECONDS:
            self._tell()

    def event(self) -> dict[str, Any]:
        elapsed = self._clock() - self._start
        left = elapsed / self.done * (self.total - self.done) if self.done else None
        counts = {"done": self.done, "total": self.total, "failed": self.failed}
        return {**counts, "elapsed": round(elapsed, 1), "left": left and round(left, 1)}

    def _tell(self) -> None:
        self._told = self._clock()
        if self._stream:
            self._stream.write(json.dumps(self.event()) + "\n")
            self._stream.flush()

    def close(self) -> None:
        """The last word, if there was one before it."""
        if self._stream:
            if self._told > self._start:
                self._tell()
            self._stream.close()
            self._stream = None


def event_lines(event: dict[str, Any], module: str = "guild_schema") -> list[str]:
    """What an event says to people."""
    if "plan" in event:
        return [f"{module}: the plan", *(f"  {line}" for line in event["plan"])]
    return [progress_line(event, module)]


def progress_line(event: dict[str, Any], module: str = "guild_schema") -> str:
    """guild_schema: 4,200 of 10,000 guilds, 3 failed, 81 s, about 112 s left"""
    left = f", about {event['left']:,.0f} s left" if event.get("left") else ""
    return f"{module}: {event['done']:,} of {event['total']:,} guilds, {event['failed']:,} failed, {event['elapsed']:,.0f} s{left}"
