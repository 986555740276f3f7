# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long each phase of a run took, and what it changed. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any


@dataclasses.dataclass
class Phase:
    """A play, or several of the same name."""

    name: str
    seconds: float = 0.0
    tasks: int = 0
    changed: int = 0
    failed: int = 0


class Phases:
    """The phases in the order in which they first began."""

    def __init__(self) -> None:
        self._phases: dict[str, Phase] = {}
        self._current: Phase | None = None
        self._since = 0.0

    def begin(self, name: str, now: float) -> None:
        self.end(now)
        self._current = self._phases.setdefault(name, Phase(name))
        self._since = now

    def end(self, now: float) -> None:
        if self._current:
            self._current.seconds += now - self._since
        self._current = None

    def task(self, *, changed: bool = False, failed: bool = False) -> None:
        if self._current:
            self._current.tasks += 1
            self._current.changed += changed
            self._current.failed += failed

    def report(self) -> list[dict[str, Any]]:
        return [{**dataclasses.asdict(phase), "seconds": round(phase.seconds, 1)} for phase in self._phases.values()]


def table(report: Iterable[dict[str, Any]]) -> str:
    """For the terminal."""
    rows = list(report)
    width = max([len(row["name"]) for row in rows] + [5])
    lines = [f"{'Phase':<{width}}  seconds  tasks  changed"]
    for row in rows:
        failed = "  FAILED" if row["failed"] else ""
        lines.append(f"{row['name']:<{width}}  {row['seconds']:>7.1f}  {row['tasks']:>5}  {row['changed']:>7}{failed}")
    total = sum(row["seconds"] for row in rows), sum(row["tasks"] for row in rows), sum(row["changed"] for row in rows)
    return "\n".join([*lines, f"{'':<{width}}  {total[0]:>7.1f}  {total[1]:>5}  {total[2]:>7}"])
