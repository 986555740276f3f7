# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many guilds over few connections: threads that wait for Postgres, a queue, and rules for when to stop."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_batch import Batches, run_batch
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import NOTHING, GuildPlan, Outcome, Tally
from ansible_collections.dcm.platform.plugins.module_utils._guild_run import run_guild
from ansible_collections.dcm.platform.plugins.module_utils._guild_sql import Session
from ansible_collections.dcm.platform.plugins.module_utils._guild_store import Access, Conn

CONNECT_TRIES = 5
Replan = Callable[[Sequence[int]], list[GuildPlan]]
Told = Callable[[Outcome], None]


class Fleet:
    """Applies plans; every outcome is told once, the last word about that guild."""

    def __init__(self, access: Access, session: Session, connections: int, max_failures: int, tell: Told) -> None:
        self.access = access
        self.session = session
        self.connections = connections
        self.max_failures = max_failures
        self.tell = tell
        self.tally = Tally()
        self.trouble = ""

    def apply(self, waves: Sequence[Sequence[GuildPlan]], replan: Replan) -> Tally:
        """A wave starts only when everything before it went well."""
        for wave in waves:
            if self.trouble or (self.tally.failed and len(waves) > 1):
                self.tally.not_started += len(wave)
                continue
            again = self._pass(wave, last=False)
            if again:
                fresh = replan([plan.guild_id for plan in again])
                reasons = {outcome.guild_id for outcome in again}
                self._pass([plan for plan in fresh if plan.guild_id in reasons], last=True)
        return self.tally

    def _pass(self, plans: Sequence[GuildPlan], last: bool) -> list[GuildPlan]:
        again: list[GuildPlan] = []
        todo = self._settle(plans)
        left = len(todo)
        work = _Work(self.access, self.session, todo, self._failures_left(), last)
        for outcome in work.outcomes(min(self.connections, len(todo))):
            left -= 1
            if outcome.again and not last:
                again.append(outcome.plan)
            else:
                self._count(outcome)
        self.tally.not_started += left
        self.trouble = self.trouble or (str(work.trouble) if work.trouble and left else "")
        return again

    def _settle(self, plans: Sequence[GuildPlan]) -> list[GuildPlan]:
        """Refused and finished guilds need no connection."""
        todo = []
        for plan in plans:
            if plan.refusal or plan.action == NOTHING:
                self._count(Outcome(plan, error=plan.refusal))
            else:
                todo.append(plan)
        return todo

    def _count(self, outcome: Outcome) -> None:
        if outcome.error:
            self.tally.failed += 1
        else:
            self.tally.count(outcome.plan.action)
        self.tell(replace(outcome, again=False))

    def _failures_left(self) -> int | None:
        return None if self.max_failures < 0 else self.max_failures - self.tally.failed


class _Work:
    """One pass over a queue of plans. A thread without a connection leaves the queue to the others."""

    def __init__(self, access: Access, session: Session, plans: Sequence[GuildPlan], failures_left: int | None, last: bool) -> None:
        self.access = access
        self.session = session
        self.waiting = deque(plans)
        self.failures_left = failures_left
        self.last = last
        self.counting = threading.Lock()
        self.results: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self.stop = threading.Event()
        self.trouble: Exception | None = None
        self.connections = 1
        self._count_failures(0)

    def outcomes(self, connections: int) -> Iterator[Outcome]:
        self.connections = max(1, connections)
        for _number in range(connections):
            threading.Thread(target=self._thread, daemon=True).start()
        running = connections
        while running:
            result = self.results.get()
            if result is None:
                running -= 1
                continue
            yield result

    def _count_failures(self, failed: int) -> None:
        """Counted where they happen: the threads run ahead of whoever reads the outcomes."""
        with self.counting:
            if self.failures_left is not None:
                self.failures_left -= failed
                if self.failures_left < 0:
                    self.stop.set()

    def _thread(self) -> None:
        conn: Conn | None = None
        batches = Batches(self.connections)
        try:
            while self.waiting and not self.stop.is_set():
                if conn is None or conn.broken:
                    conn = self._connect()
                try:
                    with self.counting:
                        plans = batches.take(self.waiting)
                except IndexError:
                    break
                batches.learn(self._run(conn, plans))
        except Exception as problem:  # noqa: BLE001 - a thread cannot raise: the fleet tells it
            self.trouble = problem
        finally:
            if conn is not None:
                conn.close()
            self.results.put(None)

    def _run(self, conn: Conn, plans: list[GuildPlan]) -> list[Outcome]:
        """Together, or one by one; what is not begun when the run stops goes back to the queue, to be counted as not started."""
        together = run_batch(conn, plans, self.session) if len(plans) > 1 else None
        for outcome in together or ():
            self.results.put(outcome)
        done = list(together or ())
        for number, plan in enumerate(plans if together is None else ()):
            if number and (self.stop.is_set() or conn.broken):
                self.waiting.extendleft(reversed(plans[number:]))
                break
            done.append(run_guild(conn, plan, self.session))
            self._count_failures(bool(done[-1].error) and (self.last or not done[-1].again))
            self.results.put(done[-1])
        return done

    def _connect(self) -> Conn:
        """A restarting server gets some seconds."""
        for attempt in range(CONNECT_TRIES - 1):
            try:
                return self.access.connect("guild worker")
            except PlatformError:
                self.stop.wait(2**attempt * 0.25)
        return self.access.connect("guild worker")
