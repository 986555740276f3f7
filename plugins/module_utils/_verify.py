# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Promises of the platform as data, and the order in which they are checked. The checks themselves are in _verify_<layer>.py.

To add a promise: write ``def check(site: Site) -> str`` in the file of its layer. It does what the promise says and returns the evidence in
one line; it raises Broken(expected, found) where the promise does not hold, NotApplicable(why) where the site does not make it. Then add a
Promise to the PROMISES of that file.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

HELD, BROKEN, BLOCKED, NOT_APPLICABLE = "held", "broken", "blocked", "not applicable"


class Broken(PlatformError):
    """The promise does not hold."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}; found {found}")
        self.expected = expected
        self.found = found


class NotApplicable(PlatformError):
    """This site does not make the promise."""


@dataclasses.dataclass(frozen=True)
class Promise:
    """One thing that the platform promises, and how to see whether it holds."""

    id: str
    title: str
    check: Callable[[Any], str]
    look: str  # what to look at when it is broken
    timeout: float = 30.0
    needs: tuple[str, ...] = ()

    @property
    def layer(self) -> str:
        return self.id.partition(".")[0]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a promise."""

    promise: Promise
    state: str
    seconds: float = 0.0
    evidence: str = ""
    expected: str = ""
    found: str = ""

    @property
    def failed(self) -> bool:
        return self.state in (BROKEN, BLOCKED)


def choose(promises: Sequence[Promise], only: Iterable[str]) -> list[Promise]:
    """Those that are named by id or layer, with everything that they need; all when nothing is named."""
    wanted = list(only)
    by_id = {promise.id: promise for promise in promises}
    unknown = [name for name in wanted if name not in by_id and all(promise.layer != name for promise in promises)]
    if unknown:
        raise PlatformError(f"unknown promise {', '.join(unknown)}; there are {', '.join(by_id)}")
    chosen = {promise.id for promise in promises if not wanted or promise.id in wanted or promise.layer in wanted}
    while missing := {need for name in chosen for need in by_id[name].needs} - chosen:
        chosen |= missing
    return [promise for promise in promises if promise.id in chosen]


def judge(promise: Promise, site: Any) -> Outcome:
    """Check one promise."""
    started = time.monotonic()

    def outcome(state: str, **more: str) -> Outcome:
        return Outcome(promise, state, round(time.monotonic() - started, 2), **more)

    try:
        return outcome(HELD, evidence=promise.check(site))
    except NotApplicable as reason:
        return outcome(NOT_APPLICABLE, evidence=str(reason))
    except Broken as error:
        return outcome(BROKEN, expected=error.expected, found=error.found)
    except Exception as error:  # noqa: BLE001 - whatever a client library raises: the promise was not shown to hold
        text = " ".join(str(error).split())[:500]
        return outcome(BROKEN, expected="the check to get an answer", found=f"{type(error).__name__}: {text}")


class Round:
    """Checks promises, some at a time, each in a thread of its own that is given up after the promise's timeout."""

    def __init__(self, promises: Sequence[Promise], site: Any, at_once: int = 4) -> None:
        self._waiting = list(promises)
        self._site = site
        self._at_once = at_once
        self._running: dict[str, tuple[Promise, float]] = {}
        self._answers: queue.Queue[Outcome] = queue.Queue()
        self._outcomes: dict[str, Outcome] = {}

    def run(self, tell: Callable[[Outcome], None]) -> list[Outcome]:
        """Check all of them; ``tell`` hears each outcome at once. In the order of the list."""
        order = [promise.id for promise in self._waiting]
        while self._waiting or self._running:
            for outcome in [*self._start(), *self._collect()]:
                self._outcomes[outcome.promise.id] = outcome
                tell(outcome)
        return [self._outcomes[name] for name in order]

    def _start(self) -> list[Outcome]:
        """Start what can be; returns those that cannot be checked any more."""
        blocked = []
        for promise in sorted(self._waiting, key=lambda promise: -promise.timeout):  # the long ones first
            broken = [need for need in promise.needs if need in self._outcomes and self._outcomes[need].state != HELD]
            if broken:
                self._waiting.remove(promise)
                blocked.append(self._without(promise, broken[0]))
            elif len(self._running) < self._at_once and all(need in self._outcomes for need in promise.needs):
                self._waiting.remove(promise)
                self._running[promise.id] = (promise, time.monotonic() + promise.timeout)
                threading.Thread(target=self._check, args=(promise,), daemon=True).start()
        return blocked

    def _without(self, promise: Promise, need: str) -> Outcome:
        if self._outcomes[need].state == NOT_APPLICABLE:
            return Outcome(promise, NOT_APPLICABLE, evidence=f"needs {need}, which does not apply")
        return Outcome(promise, BLOCKED, expected=f"{need} to hold first", found=f"{need} {self._outcomes[need].state}")

    def _check(self, promise: Promise) -> None:
        self._answers.put(judge(promise, self._site))

    def _collect(self) -> list[Outcome]:
        """What has ended, or taken too long."""
        if not self._running:
            return []
        first = min(deadline for _promise, deadline in self._running.values())
        try:
            outcome = self._answers.get(timeout=max(0.0, first - time.monotonic()))
        except queue.Empty:
            now = time.monotonic()
            late = [promise for promise, deadline in self._running.values() if deadline <= now]
            for promise in late:
                del self._running[promise.id]
            return [Outcome(p, BROKEN, p.timeout, expected=f"an answer within {p.timeout:.0f} s", found="none") for p in late]
        return [outcome] if self._running.pop(outcome.promise.id, None) else []  # a late answer does not count


def eventually(probe: Callable[[], str | None], seconds: float, expected: str, pause: float = 0.2) -> float:
    """Ask until ``probe`` finds nothing wrong any more; it returns what it found instead. Returns the seconds that it took."""
    started = time.monotonic()
    while found := probe():
        if time.monotonic() - started > seconds:
            raise Broken(f"{expected} within {seconds:g} s", found)
        time.sleep(pause)
    return time.monotonic() - started
