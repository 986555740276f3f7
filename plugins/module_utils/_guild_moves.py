# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many guilds from one placement to another: looks at all servers, plans, moves a few at a time, and tells."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from ansible_collections.dcm.platform.plugins.module_utils import _guild_capacity as capacity
from ansible_collections.dcm.platform.plugins.module_utils import _guild_control as control
from ansible_collections.dcm.platform.plugins.module_utils import _guild_move as move
from ansible_collections.dcm.platform.plugins.module_utils import _guild_placements as placements
from ansible_collections.dcm.platform.plugins.module_utils import _guild_report as report
from ansible_collections.dcm.platform.plugins.module_utils import _guild_store as store
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import MigrationSet, extend_digest, segments
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Migration, Segment, Unreachable
from ansible_collections.dcm.platform.plugins.module_utils._guild_placements import NOWHERE, View
from ansible_collections.dcm.platform.plugins.module_utils._guild_progress import Progress
from ansible_collections.dcm.platform.plugins.module_utils._guild_run import WORTH_ANOTHER_TRY
from ansible_collections.dcm.platform.plugins.module_utils._guild_sql import Session

PLAN_LINES = 10
DIFF_LINES = 500
PURPOSE = "guild move"


@dataclass(frozen=True)
class Request:
    """Everything an operator can ask for."""

    ids: Sequence[int]
    goal: str
    placement: str
    migrations: MigrationSet
    control: MigrationSet
    run_id: str
    actor: str
    service_role: str = "dcm_service"
    connections: int = 4
    max_failures: int = 10
    check: bool = False
    progress_file: str | None = None


@dataclass(frozen=True)
class Plan:
    """One guild: its way, what is first to be done, or why nothing is."""

    way: move.Way
    view: View
    step: str
    refusal: str = ""

    def line(self) -> str:
        guild = f"guild {self.way.guild_id}"
        if self.refusal:
            return f"{guild}: refused: {self.refusal}"
        cancelled = self.way.goal == move.CANCELLED
        what = f"take it back to {self.way.source}" if cancelled else f"move from {self.way.source} to {self.way.target}"
        begun = "" if self.view.lives_here else ", begun by an earlier run"
        return f"{guild}: {what}{begun} ({self.view.state or 'moved'}, schema {self.view.version})"


@dataclass(frozen=True)
class Outcome:
    """The last word about a guild."""

    plan: Plan
    rows: int = 0
    seconds: float = 0.0
    error: str = ""
    again: bool = False


@dataclass
class Counts:
    """Over all guilds of a run."""

    unchanged: int = 0
    moved: int = 0
    cancelled: int = 0
    failed: int = 0
    not_started: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        plan = outcome.plan
        if outcome.error:
            self.failed += 1
            self.words.append(f"guild {plan.way.guild_id}: {outcome.error}")
        elif plan.step == move.DONE:
            self.unchanged += 1
        elif plan.way.goal == move.CANCELLED:
            self.cancelled += 1
        else:
            self.moved += 1
        self.rows.append(_row(outcome))

    def totals(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("unchanged", "moved", "cancelled", "failed", "not_started")}


class _Links:
    """Connections of this thread, one for each placement, opened when they are needed."""

    def __init__(self, accesses: Mapping[str, store.Access]) -> None:
        self.accesses = accesses
        self.local = threading.local()
        self.opened: list[store.Conn] = []

    def conn(self, name: str) -> store.Conn:
        mine: dict[str, store.Conn] = self.local.__dict__.setdefault("conns", {})
        found = mine.get(name)
        if found is None or found.broken or found.closed:
            found = mine[name] = self.accesses[name].connect(PURPOSE)
            # The order of commits on two servers is what a move rests on: each one has to last.
            found.execute("SET synchronous_commit = on")
            self.opened.append(found)
        return found

    def close(self) -> None:
        for conn in self.opened:
            conn.close()


class Moves:
    """One run."""

    def __init__(self, request: Request, accesses: Mapping[str, store.Access]) -> None:
        self.request, self.accesses = request, accesses
        self.links = _Links(accesses)
        self.start = time.monotonic()
        self.counts = Counts()
        self.sessions: dict[str, Session] = {}
        self.away: dict[str, str] = {}
        self.lock = threading.Lock()
        self.stop = threading.Event()

    def run(self) -> dict[str, Any]:
        request = self.request
        if request.goal == move.MOVED and request.placement not in self.accesses:
            raise PlatformError(f"there is no placement '{request.placement}'; there are {', '.join(self.accesses)}")
        try:
            plans = self._plan()
            if request.check:
                for plan in plans:
                    self.counts.add(Outcome(plan, error=plan.refusal))
            else:
                self._apply(plans)
            return self._answer(plans)
        except psycopg.Error as problem:
            raise PlatformError(f"Postgres refused: {_said(problem)}. The same command again resumes.") from problem
        finally:
            self.links.close()

    def _plan(self) -> list[Plan]:
        """All servers are asked, each once for all guilds, before anything is done."""
        views = {name: self._greet(name) for name in self.accesses}
        identities = {name: placements.identity(self.links.conn(name)) for name in self.accesses if name not in self.away}
        placements.refuse_same_server(identities)
        drafts = [self._draft(guild_id, views) for guild_id in self.request.ids]
        return self._refuse_early(self._judge(drafts))

    def _greet(self, name: str) -> dict[int, View]:
        try:
            conn = self.links.conn(name)
        except Unreachable as problem:
            if self.request.goal != move.CANCELLED:
                raise PlatformError(f"placement '{name}': {problem}") from problem
            self.away[name] = str(problem)
            return {}
        if control.pending_control(conn, self.request.control):
            raise PlatformError(f"placement '{name}': its control schema is older than this program: run playbooks/data.yml first")
        self.sessions[name] = Session(self.request.service_role, store.is_superuser(conn), self.request.run_id, self.request.actor)
        return placements.read_views(conn, self.request.ids)

    def _draft(self, guild_id: int, views: placements.Views) -> Plan:
        way, here = move.Way(guild_id, self.request.goal, "", self.request.placement), NOWHERE
        try:
            source, target = _ends(guild_id, self.request, views, self.accesses)
            way = replace(way, source=source, target=target)
            here = views[source].get(guild_id, NOWHERE)
            if target in self.away and here.booking and here.booking.step != placements.COPYING:
                raise PlatformError(f"'{target}' does not answer, and may have taken it over already: {self.away[target]}")
            there = views[target].get(guild_id, NOWHERE)
            step = move.DONE if way.source == way.target else move.next_step(way, here, there)
        except PlatformError as problem:
            return Plan(way, here, move.DONE, str(problem))
        return Plan(way, here, step)

    def _judge(self, drafts: Sequence[Plan]) -> list[Plan]:
        """What needs the servers: histories, drift, what lies in the way on the target, and whether it can hold more."""
        refusals: dict[int, str] = {}
        histories: dict[str, tuple[Segment, ...]] = {}
        going = [plan for plan in drafts if plan.step not in (move.DONE, move.FORGET) and plan.way.goal == move.MOVED]
        for plan in going:
            try:
                if plan.view.digest not in histories:
                    histories[plan.view.digest] = self._history(plan)
            except PlatformError as problem:
                refusals[plan.way.guild_id] = str(problem)
        fresh = [plan for plan in going if plan.step == move.FREEZE]
        if fresh:
            refusals |= self._drifted(fresh) | self._in_the_way(fresh)
            self._refuse_small_target(len(fresh))
        return [
            replace(
                plan,
                way=replace(plan.way, segments=histories.get(plan.view.digest, ())),
                refusal=plan.refusal or refusals.get(plan.way.guild_id, ""),
            )
            for plan in drafts
        ]

    def _history(self, plan: Plan) -> tuple[Segment, ...]:
        """The migrations that made it, in the order in which they did: the ledger on the target will be the same."""
        every, digest = self.request.migrations, plan.view.digest
        known = every.prefixes.get(digest)
        applied: Sequence[Migration] = every.migrations[:known] if known is not None else ()
        if known is None:
            rows = self.links.conn(plan.way.source).execute(
                "SELECT version, checksum FROM dcm.guild_migration WHERE guild_id = %s ORDER BY applied_at, version::numeric",
                (plan.way.guild_id,),
            )
            ledger = [(row[0], row[1]) for row in rows]
            every.pending(ledger)
            by_version = {migration.version: migration for migration in every.migrations}
            applied = [by_version[version] for version, _checksum in ledger]
        found = ""
        for migration in applied:
            found = extend_digest(found, migration.version, migration.checksum)
        if found != digest:
            raise PlatformError("the order in which its migrations were applied cannot be told any more: export and import it instead")
        return segments(applied, "", "")

    def _drifted(self, plans: Sequence[Plan]) -> dict[int, str]:
        """What is not made by migrations would be lost on the way."""
        words = "its schema is not what its migrations make, and the rest would be lost: guild_report shows the difference"
        found: dict[int, str] = {}
        for name in {plan.way.source for plan in plans}:
            ids = [plan.way.guild_id for plan in plans if plan.way.source == name]
            question = report.Question(ids, self.request.service_role, False, self.request.migrations, 1, 0, drift=True)
            found |= {int(guild_id): words for guild_id in report.answer(self.accesses[name], question)["drift"]["differing"]}
        return found

    def _in_the_way(self, plans: Sequence[Plan]) -> dict[int, str]:
        target = self.request.placement
        orphans = store.read_orphans(self.links.conn(target), [plan.way.guild_id for plan in plans])
        return {guild_id: f"{found} exists on '{target}', but its registry does not know the guild" for guild_id, found in orphans.items()}

    def _refuse_small_target(self, new: int) -> None:
        conn, name = self.links.conn(self.request.placement), self.request.placement
        load = capacity.Load(store.count_guilds(conn) + new, new, self.request.connections)
        found = [finding for finding in capacity.findings(store.read_settings(conn), load) if finding.severity == capacity.REFUSE]
        if found:
            raise PlatformError(f"placement '{name}' cannot take them, nothing was changed: {found[0].text()}")

    def _refuse_early(self, plans: list[Plan]) -> list[Plan]:
        refused = [f"guild {plan.way.guild_id}: {plan.refusal}" for plan in plans if plan.refusal]
        if 0 <= self.request.max_failures < len(refused):
            raise PlatformError(f"{len(refused)} of {len(plans)} guilds refused, nothing was changed: {placements.shorten(refused)}")
        return plans

    def _apply(self, plans: Sequence[Plan]) -> None:
        todo = [plan for plan in plans if plan.step != move.DONE and not plan.refusal]
        progress = Progress(self.request.progress_file, len(todo))
        progress.announce(plan_lines(plans))
        for plan in plans:
            if plan.step == move.DONE or plan.refusal:
                self._count(Outcome(plan, error=plan.refusal))
        try:
            again = self._pass(todo, last=False, progress=progress)
            self._pass(again, last=True, progress=progress)
        finally:
            progress.close()

    def _pass(self, plans: Sequence[Plan], last: bool, progress: Progress) -> list[Plan]:
        """What another moment may change is tried once more, at the end."""
        again: list[Plan] = []
        with ThreadPoolExecutor(max(1, min(self.request.connections, len(plans)))) as pool:
            for outcome in pool.map(self._one, plans):
                if outcome is None:
                    continue
                if outcome.again and not last and not self.stop.is_set():
                    again.append(outcome.plan)
                    continue
                self._count(outcome)
                progress.step(bool(outcome.error))
        return again

    def _count(self, outcome: Outcome) -> None:
        with self.lock:
            self.counts.add(outcome)
            if 0 <= self.request.max_failures < self.counts.failed:
                self.stop.set()

    def _one(self, plan: Plan) -> Outcome | None:
        """Never raises: a guild that fails is as before where that is possible, and the others go on."""
        if self.stop.is_set():
            with self.lock:
                self.counts.not_started += 1
            return None
        start = time.monotonic()
        mover = move.Mover(plan.way, self.links.conn, self.sessions)
        try:
            with mover.alone():
                error, again = self._work(mover)
        except (psycopg.Error, PlatformError) as problem:
            error, again = _said(problem), _worth_another_try(problem)
        return Outcome(plan, mover.rows, time.monotonic() - start, error, again)

    def _work(self, mover: move.Mover) -> tuple[str, bool]:
        try:
            if mover.way.target in self.away:
                mover.take_back()
            else:
                mover.run()
        except (psycopg.Error, PlatformError) as problem:
            after = f"; {self._take_back(mover)}" if mover.way.goal == move.MOVED else ""
            return f"{_said(problem)}{after}", _worth_another_try(problem)
        return "", False

    def _take_back(self, mover: move.Mover) -> str:
        way = mover.way
        try:
            if not mover.take_back():
                return "nothing of it was undone: the same command again resumes"
        except (psycopg.Error, PlatformError) as problem:
            return f"it could not be taken back either ({_said(problem)}): the same command again resumes, move=cancelled takes it back"
        with contextlib.suppress(psycopg.Error, PlatformError):
            move.Mover(replace(way, goal=move.CANCELLED), self.links.conn, self.sessions).run()
        return f"it stays on '{way.source}', as it was"

    def _answer(self, plans: Sequence[Plan]) -> dict[str, Any]:
        counts = self.counts
        parts = [f"{counts.failed} of {len(plans)} guilds failed"]
        parts += [f"{counts.not_started} were not started"] if counts.not_started else []
        return {
            "changed": bool(counts.moved or counts.cancelled),
            "run_id": self.request.run_id,
            "totals": {"wanted": len(plans), **counts.totals()},
            "guilds": sorted(counts.rows, key=lambda row: int(row["id"])),
            "seconds": round(time.monotonic() - self.start, 3),
            "failure": f"{', '.join(parts)}: {placements.shorten(counts.words)}" if counts.failed else "",
            "diff": _diff(plans),
        }


def _ends(guild_id: int, request: Request, views: placements.Views, known: Mapping[str, Any]) -> tuple[str, str]:
    """Source and target. A move that was begun and not finished comes first, whatever the other servers say."""
    leaving = {name: found[guild_id].booking for name, found in views.items() if _is_leaving(found.get(guild_id, NOWHERE))}
    for source, booking in leaving.items():
        target = booking.placement if booking else ""
        if target in known and (request.goal == move.CANCELLED or target == request.placement):
            return source, target
        raise PlatformError(f"it is on its way from '{source}' to '{target}': finish that move, or take it back, first")
    home = placements.home_of(views, guild_id)
    if home is None:
        raise PlatformError("it is not registered on any placement")
    arrivals = {name: found[guild_id].booking for name, found in views.items() if name != home and guild_id in found}
    if request.goal == move.CANCELLED:
        return home, next(iter(arrivals), home)
    arrived = views[home].get(guild_id, NOWHERE).booking
    if home == request.placement and arrived and arrived.placement in views:
        return arrived.placement, home
    return home, request.placement


def _is_leaving(view: View) -> bool:
    return view.booking is not None and view.booking.direction == placements.OUT


def _worth_another_try(problem: Exception) -> bool:
    return isinstance(problem, move.Changed) or (isinstance(problem, psycopg.Error) and problem.sqlstate in WORTH_ANOTHER_TRY)


def _said(problem: Exception) -> str:
    words = " ".join(str(problem).split())
    return f"{words} [{problem.sqlstate or 'connection'}]" if isinstance(problem, psycopg.Error) else words


def _row(outcome: Outcome) -> dict[str, Any]:
    plan = outcome.plan
    way = plan.way
    return {
        "id": str(way.guild_id),
        "action": "nothing" if plan.step == move.DONE else way.goal,
        "source": way.source,
        "target": way.target,
        "version": plan.view.version,
        "rows": outcome.rows,
        "seconds": round(outcome.seconds, 4),
        "error": outcome.error,
    }


def plan_lines(plans: Sequence[Plan]) -> list[str]:
    """The plan in a few lines; nothing when there is nothing to do."""
    busy = [plan for plan in plans if plan.step != move.DONE or plan.refusal]
    more = [f"and {len(busy) - PLAN_LINES:,} more guilds"] if len(busy) > PLAN_LINES else []
    return [plan.line() for plan in busy[:PLAN_LINES]] + more


def _diff(plans: Sequence[Plan]) -> dict[str, str]:
    changed = [plan for plan in plans if plan.step != move.DONE and not plan.refusal]
    before, after = [], []
    for plan in changed[:DIFF_LINES]:
        ends = (plan.way.target, plan.way.source) if plan.way.goal == move.CANCELLED else (plan.way.source, plan.way.target)
        before.append(f"guild {plan.way.guild_id}: placement {ends[0]}\n")
        after.append(f"guild {plan.way.guild_id}: placement {ends[1]}\n")
    if len(changed) > DIFF_LINES:
        after.append(f"and {len(changed) - DIFF_LINES:,} more guilds\n")
    return {"before": "".join(before), "after": "".join(after)}
