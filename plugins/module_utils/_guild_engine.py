# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The whole run: read, plan, apply, tell. Check mode stops after the plan and answers with the same keys."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from ansible_collections.dcm.platform.plugins.module_utils import _guild_capacity as capacity
from ansible_collections.dcm.platform.plugins.module_utils import _guild_control as control
from ansible_collections.dcm.platform.plugins.module_utils import _guild_store as store
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_fleet import Fleet
from ansible_collections.dcm.platform.plugins.module_utils._guild_metrics import Publisher, RunMetrics, Target
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import MigrationSet
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import (
    CREATE,
    ERASE,
    MIGRATED,
    NOTHING,
    Current,
    GuildPlan,
    Outcome,
    Tally,
    Wanted,
)
from ansible_collections.dcm.platform.plugins.module_utils._guild_plan import (
    Ledger,
    PlanContext,
    describe,
    diff_sides,
    plan_fleet,
    split_waves,
)
from ansible_collections.dcm.platform.plugins.module_utils._guild_progress import Progress
from ansible_collections.dcm.platform.plugins.module_utils._guild_server import sharding
from ansible_collections.dcm.platform.plugins.module_utils._guild_server_read import read_citus
from ansible_collections.dcm.platform.plugins.module_utils._guild_sql import Session

DIFF_LINES = 500
PLAN_LINES = 10
NAMED_FAILURES = 5
OPTIONS = (
    "service_role",
    "migrate_all",
    "connections",
    "max_failures",
    "waves",
    "results",
    "progress_file",
    "schema_sharding",
)


@dataclass(frozen=True)
class Request:
    """Everything an operator can ask for."""

    wanted: Sequence[Wanted]
    context: PlanContext
    control: MigrationSet | None
    run_id: str
    actor: str
    service_role: str = "dcm_service"
    migrate_all: bool = False
    connections: int = 4
    max_failures: int = 10
    waves: Sequence[str] = ()
    check: bool = False
    results: str = "changed"
    progress_file: str | None = None
    metrics: Target = field(default_factory=Target)
    schema_sharding: str = "auto"


class Engine:
    """One run."""

    def __init__(self, request: Request, access: store.Access | None, service_password: str | None = None) -> None:
        self.request = request
        self.access = access
        self.service_role = request.service_role
        self.service_password = service_password
        self.start = time.monotonic()
        self.rows: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self.advice: list[str] = []
        self.begun, self.told = False, 0
        self.sharding = ""

    def run(self) -> dict[str, Any]:
        """Without access: the prediction for a server with nothing on it."""
        if self.access is None:
            wanted = self.request.control
            planned = control.ControlPlan(wanted.migrations if wanted else (), control.NEW_ROLE)
            return self._predict(planned, self._plan(None, self.request.wanted))
        try:
            with self.access.connect("guild engine") as conn:
                return self._converge(conn, self.access)
        except psycopg.Error as problem:
            # Not connected again: after a crash commits may be lost, so only a new plan can say what is done.
            words = f"Postgres refused: {' '.join(str(problem).split())} [{problem.sqlstate or 'connection'}]"
            again = f"; {self.told:,} guilds were worked on before that. The same command again resumes." if self.begun else ""
            raise PlatformError(words + again) from problem

    def _converge(self, conn: store.Conn, access: store.Access) -> dict[str, Any]:
        self.sharding = sharding(self.request.schema_sharding, read_citus(conn), conn.info.dbname)
        planned = self._plan_control(conn)
        if self.request.check:
            registry = conn if store.has_registry(conn) else None
            plans = self._plan(registry, self._wanted(registry), conn)
            self._refuse_small_server(conn, plans, store.count_guilds(conn) if registry else 0)
            return self._predict(planned, plans)
        if planned:
            planned = control.apply_control(conn, lambda: self._plan_control(conn), self)
        plans = self._plan(conn, self._wanted(conn))
        self._refuse_early(plans)
        self._refuse_small_server(conn, plans, store.count_guilds(conn))
        return self._apply(conn, access, planned, plans)

    def _plan_control(self, conn: store.Conn) -> control.ControlPlan:
        return control.plan_control(conn, self.request.control, self, self._try_login)

    def _try_login(self, role: str, password: str) -> bool:
        if self.access is None:
            return False
        parameters = {**self.access.parameters, "user": role, "password": password}
        try:
            store.Access(parameters).connect("guild engine").close()
        except PlatformError:
            return False
        return True

    def _wanted(self, conn: store.Conn | None) -> list[Wanted]:
        """The guilds named, and with migrate_all every other one of the registry."""
        named = list(self.request.wanted)
        if not self.request.migrate_all or conn is None:
            return named
        ids = {guild.guild_id for guild in named}
        registered = conn.execute("SELECT guild_id FROM dcm.guild ORDER BY guild_id")
        return named + [Wanted(row[0], MIGRATED) for row in registered if row[0] not in ids]

    def _plan(self, registry: store.Conn | None, wanted: Sequence[Wanted], catalog: store.Conn | None = None) -> list[GuildPlan]:
        asked = registry or catalog
        with store.one_snapshot(asked) if asked else contextlib.nullcontext():
            ids = [guild.guild_id for guild in wanted]
            current: dict[int, Current] = store.read_current(registry, self.request.service_role, ids) if registry else {}
            unknown = [guild_id for guild_id in ids if guild_id not in current]
            orphans = store.read_orphans(asked, unknown) if asked else {}
            ledger: Callable[[int], Ledger] = functools.partial(store.read_ledger, registry) if registry else _no_ledger
            return plan_fleet(self.request.context, wanted, current, orphans, ledger)

    def _refuse_early(self, plans: Sequence[GuildPlan]) -> None:
        """More refusals than failures allowed: nothing is started at all."""
        refused = [plan for plan in plans if plan.refusal]
        if 0 <= self.request.max_failures < len(refused):
            named = "; ".join(f"guild {plan.guild_id}: {plan.refusal}" for plan in refused[:NAMED_FAILURES])
            raise PlatformError(f"{len(refused)} of {len(plans)} guilds refused, nothing was changed: {named}")

    def _refuse_small_server(self, conn: store.Conn, plans: Sequence[GuildPlan], registered: int) -> None:
        """Settings that would fail in the middle stop the run; ones that only make it slow are told."""
        new = sum(plan.action == CREATE for plan in plans)
        if all(plan.action == NOTHING for plan in plans):
            return
        load = capacity.Load(registered + new, new, self.request.connections)
        found = [finding for finding in capacity.findings(store.read_settings(conn), load) if finding.severity != capacity.OK]
        refused = [finding.text() for finding in found if finding.severity == capacity.REFUSE]
        if refused:
            raise PlatformError(f"the server cannot do this, nothing was changed: {'; '.join(refused)}")
        self.advice = [f"Postgres: {finding.text()}" for finding in found]

    def _predict(self, planned: control.ControlPlan, plans: Sequence[GuildPlan]) -> dict[str, Any]:
        self._refuse_early(plans)
        split_waves(plans, self.request.waves)
        tally = Tally()
        for plan in plans:
            if plan.refusal:
                tally.failed += 1
            else:
                tally.count(plan.action)
            self._tell(Outcome(plan, error=plan.refusal))
        return self._answer(planned, plans, tally, "")

    def _apply(self, conn: store.Conn, access: store.Access, planned: control.ControlPlan, plans: Sequence[GuildPlan]) -> dict[str, Any]:
        request = self.request
        session = Session(request.service_role, store.is_superuser(conn), request.run_id, request.actor, self.sharding)
        progress = Progress(request.progress_file, sum(plan.action != NOTHING for plan in plans))
        progress.announce(plan_lines(planned, plans))
        metrics = RunMetrics(len(plans), request.context.migrations.version)

        self.begun = True

        def tell(outcome: Outcome) -> None:
            self._tell(outcome)
            metrics.count(outcome)
            if outcome.plan.action != NOTHING:
                self.told += 1
                progress.step(bool(outcome.error))

        fleet = Fleet(access, session, request.connections, request.max_failures, tell)
        asked = {guild.guild_id: guild for guild in self._wanted(conn)} if progress.total else {}
        with Publisher(request.metrics, metrics.metrics) as publisher:
            try:
                tally = fleet.apply(split_waves(plans, request.waves), lambda ids: self._plan(conn, [asked[guild_id] for guild_id in ids]))
            finally:
                progress.close()
            if progress.total or planned:
                store.make_durable(conn, request.run_id, "run", json.dumps(tally.as_dict()), request.actor)
            metrics.end(success=not (tally.failed or tally.not_started))
        self.advice += [publisher.trouble] if publisher.trouble else []
        return self._answer(planned, plans, tally, fleet.trouble)

    def _tell(self, outcome: Outcome) -> None:
        plan, wanted = outcome.plan, self.request.results
        if outcome.error:
            self.failures.append(f"guild {plan.guild_id}: {outcome.error}")
        if wanted == "all" or (outcome.error and wanted != "none") or (wanted == "changed" and plan.action != NOTHING):
            self.rows.append(_row(outcome))

    def _answer(self, planned: control.ControlPlan, plans: Sequence[GuildPlan], tally: Tally, trouble: str) -> dict[str, Any]:
        done = tally.created + tally.migrated + tally.updated + tally.erased
        return {
            "changed": bool(done or planned),
            "run_id": self.request.run_id,
            "version": self.request.context.migrations.version,
            "control": {
                "version": self.request.control.version if self.request.control else "",
                "applied": [migration.version for migration in planned.migrations],
                "service_role": list(planned.role_steps),
            },
            "totals": {"wanted": len(plans), **tally.as_dict()},
            "guilds": self.rows,
            "seconds": round(time.monotonic() - self.start, 3),
            "failure": self._failure(tally, len(plans), trouble),
            "advice": self.advice,
            "diff": _diff(planned, plans),
        }

    def _failure(self, tally: Tally, total: int, trouble: str) -> str:
        if not tally.failed and not tally.not_started:
            return ""
        parts = [f"{tally.failed} of {total} guilds failed"]
        if tally.not_started:
            parts.append(f"{tally.not_started} were not started")
        named = [*self.failures[:NAMED_FAILURES], *(["…"] if len(self.failures) > NAMED_FAILURES else []), *([trouble] if trouble else [])]
        return f"{', '.join(parts)}: {'; '.join(named)}. The same command again resumes."


def _row(outcome: Outcome) -> dict[str, Any]:
    plan = outcome.plan
    return {
        "id": str(plan.guild_id),
        "action": plan.action,
        "state": plan.before.state if outcome.error and plan.before else ("" if outcome.error and plan.action == CREATE else plan.state),
        "plan": plan.plan,
        "placement": plan.placement,
        "version_before": plan.before.version if plan.before else "",
        "version": (plan.before.version if plan.before else "") if outcome.error or plan.action == ERASE else plan.version,
        "seconds": round(outcome.seconds, 4),
        "error": outcome.error,
    }


def plan_lines(planned: control.ControlPlan, plans: Sequence[GuildPlan]) -> list[str]:
    """The plan in a few lines; nothing when there is nothing to do."""
    lines = [f"control schema: apply {migration.version}_{migration.name}" for migration in planned.migrations]
    lines += [f"service role: {step}" for step in planned.role_steps]
    busy = [plan for plan in plans if plan.action != NOTHING or plan.refusal]
    lines += [describe(plan) for plan in busy[:PLAN_LINES]]
    if len(busy) > PLAN_LINES:
        tally = Tally()
        for plan in busy:
            if plan.refusal:
                tally.failed += 1
            else:
                tally.count(plan.action)
        counts = ", ".join(f"{number:,} {name}" for name, number in tally.as_dict().items() if number)
        lines.append(f"and {len(busy) - PLAN_LINES:,} more guilds; in all: {counts}")
        lines.append("whatever stops this run, the same command again resumes it")
    return lines


def _diff(planned: control.ControlPlan, plans: Sequence[GuildPlan]) -> dict[str, str]:
    changed = [plan for plan in plans if plan.action != NOTHING]
    sides = [diff_sides(plan) for plan in changed[:DIFF_LINES]]
    before, after = "".join(side[0] for side in sides), "".join(side[1] for side in sides)
    after += "".join(f"control schema: migration {migration.version}_{migration.name}\n" for migration in planned.migrations)
    after += "".join(f"service role: {step}\n" for step in planned.role_steps)
    if len(changed) > DIFF_LINES:
        after += f"and {len(changed) - DIFF_LINES:,} more guilds\n"
    return {"before": before, "after": after}


def _no_ledger(_guild_id: int) -> Ledger:
    return []
