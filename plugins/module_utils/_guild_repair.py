# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Mends schemas that drifted, each in a transaction of its own: what loses no data is done, everything else is told.

Before the commit the schema is read again, by the statement that the drift check uses. It then has to be what its migrations make, but
for what was told; otherwise nothing was done.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psycopg
from ansible_collections.dcm.platform.plugins.module_utils import _guild_drift as drift
from ansible_collections.dcm.platform.plugins.module_utils import _guild_report as report
from ansible_collections.dcm.platform.plugins.module_utils import _guild_store as store
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_ids import owner_role
from ansible_collections.dcm.platform.plugins.module_utils._guild_items import Items, Scope, named
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import MigrationSet
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Current
from ansible_collections.dcm.platform.plugins.module_utils._guild_repair_plan import ByHand, RepairPlan, Step, plan_repair
from ansible_collections.dcm.platform.plugins.module_utils._guild_sql import Session
from psycopg import sql

PASSES = 4
NAMED = 5
# Data that breaks a rule, things that others depend on or that are in the way, rights that the administrator lacks: for people to decide.
REFUSED = ("0A", "22", "23", "2B", "42")
AUDIT = "INSERT INTO dcm.audit_log (run_id, guild_id, action, detail, actor) VALUES (%s, %s, 'repaired', %s::jsonb, %s)"


@dataclass(frozen=True)
class Model:
    """What guilds of one history should be."""

    lines: set[str]
    items: Items


@dataclass
class Mended:
    """What was done for one guild, or in check mode would be, and what is left."""

    statements: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    by_hand: list[ByHand] = field(default_factory=list)

    def add(self, step: Step, guild_id: int) -> None:
        self.statements.append(named(step.statement, guild_id))
        if step.removed:
            self.removed.append(named(step.removed, guild_id))

    def row(self, guild_id: int) -> dict[str, Any]:
        told = [{"what": named(hand.what, guild_id), "advice": named(hand.advice, guild_id)} for hand in self.by_hand]
        return {"id": str(guild_id), "statements": self.statements, "by_hand": told, "error": ""}


def _said(problem: psycopg.Error) -> str:
    return f"{' '.join(str(problem).split())} [{problem.sqlstate or 'connection'}]"


class Repair:
    """One run over the guilds that differ."""

    def __init__(self, access: store.Access, question: report.Question, run_id: str, actor: str, check: bool) -> None:
        self.access, self.question, self.check = access, question, check
        self.run_id, self.actor = run_id, actor
        self.session = Session(question.service_role, False, run_id, actor)
        self.models: dict[str, Model] = {}

    def run(self, migrations: MigrationSet) -> dict[str, Any]:
        try:
            with self.access.connect("guild repair") as conn:
                return self._run(conn, migrations)
        except psycopg.Error as problem:
            raise PlatformError(f"Postgres refused: {_said(problem)}") from problem

    def _run(self, conn: store.Conn, migrations: MigrationSet) -> dict[str, Any]:
        if not store.has_registry(conn):
            raise PlatformError("there is no registry of guilds here: run playbooks/data.yml first")
        self.session = Session(self.question.service_role, store.is_superuser(conn), self.run_id, self.actor)
        current = store.read_current(conn, self.question.service_role, self.question.ids)
        if unknown := [str(one) for one in self.question.ids or () if one not in current]:
            raise PlatformError(f"not in the registry: {', '.join(unknown)}")
        judged = report.judge(self.access, conn, self.question, migrations, current)
        differing = [current[guild_id] for guild_id in judged.differing]
        for digest in {guild.digest for guild in differing}:
            if model := self._model(conn, migrations, digest, judged, current):
                self.models[digest] = model
        rows = self._all(differing)
        if not self.check and any(row["statements"] for row in rows):
            detail = {"repaired": sum(bool(row["statements"]) for row in rows)}
            store.make_durable(conn, self.run_id, "run", json.dumps(detail), self.actor)
        return self._answer(rows, len(current))

    def _model(
        self, conn: store.Conn, migrations: MigrationSet, digest: str, judged: report.Judged, current: dict[int, Current]
    ) -> Model | None:
        """Made from the migrations; where that takes more than a transaction, a guild that is as most others of its history are."""
        applied = drift.applied_prefix(migrations, digest)
        if applied is not None:
            with drift.tried(conn, self.session, applied):
                lines = drift.tried_lines(conn, self.session.service_role, applied)
                return Model(lines, Scope(drift.PROBE, self.session.service_role).read(conn))
        alike = [one for one, found in judged.prints.items() if current[one].digest == digest and found == judged.usual.get(digest)]
        if 2 * len(alike) <= sum(guild.digest == digest for guild in current.values()):
            return None
        lines = drift.lines_of(conn, self.session.service_role, alike[0])
        return Model(lines, Scope(alike[0], self.session.service_role).read(conn))

    def _all(self, guilds: Sequence[Current]) -> list[dict[str, Any]]:
        """Shared out over some connections."""
        number = max(1, min(self.question.connections, len(guilds)))
        with ThreadPoolExecutor(number) as pool:
            shares = list(pool.map(self._share, [guilds[start::number] for start in range(number)]))
        return sorted((row for rows in shares for row in rows), key=lambda row: int(row["id"]))

    def _share(self, guilds: Iterable[Current]) -> list[dict[str, Any]]:
        rows, conn = [], None
        for guild in guilds:
            error = ""
            try:
                conn = self.access.connect("guild repair") if conn is None or conn.broken else conn
                rows.append(self._one(conn, guild).row(guild.guild_id))
            except psycopg.Error as problem:
                error = _said(problem)
            except PlatformError as problem:
                error = str(problem)
            if error:
                rows.append({**Mended().row(guild.guild_id), "error": error})
        if conn is not None:
            conn.close()
        return rows

    def _one(self, conn: store.Conn, guild: Current) -> Mended:
        gone = [
            word for there, word in ((guild.has_schema, "schema"), (guild.has_owner, "owner role"), (guild.has_app, "role")) if not there
        ]
        if gone:
            raise PlatformError(f"its {' and '.join(gone)} is gone from the server: restore the guild from a backup")
        model = self.models.get(guild.digest)
        if model is None:
            raise PlatformError("its history cannot be made in one transaction, and most guilds of the same history differ from each other")
        if self.check:
            with store.one_snapshot(conn):
                return self._predict(conn, guild.guild_id, model)
        with conn.transaction():
            conn.execute("SELECT dcm.claim_guild(%s, %s, %s)", (guild.guild_id, guild.state, guild.digest))
            return _Mending(conn, guild.guild_id, model, self.session).run()

    def _predict(self, conn: store.Conn, guild_id: int, model: Model) -> Mended:
        mended = Mended()
        plan = plan_repair(Scope(guild_id, self.session.service_role).read(conn), model.items)
        for step in plan.steps:
            mended.add(step, guild_id)
        mended.by_hand = plan.by_hand + unknown_to(plan, drift.lines_of(conn, self.session.service_role, guild_id), model)
        return mended

    def _answer(self, rows: list[dict[str, Any]], checked: int) -> dict[str, Any]:
        failed = [f"guild {row['id']}: {row['error']}" for row in rows if row["error"]]
        more = [f"and {len(failed) - NAMED:,} more"] if len(failed) > NAMED else []
        failure = f"{len(failed)} of {len(rows)} guilds were not repaired: {'; '.join([*failed[:NAMED], *more])}" if failed else ""
        totals = {
            "checked": checked,
            "differing": len(rows),
            "repaired": sum(not (row["error"] or row["by_hand"]) for row in rows),
            "by_hand": sum(bool(row["by_hand"]) for row in rows),
            "failed": len(failed),
        }
        return {"changed": any(row["statements"] for row in rows), "totals": totals, "guilds": rows, "failure": failure}


class _Mending:
    """One guild inside of its transaction."""

    def __init__(self, conn: store.Conn, guild_id: int, model: Model, session: Session) -> None:
        self.conn, self.guild_id, self.model, self.session = conn, guild_id, model, session
        self.mended = Mended()
        self.refused: dict[str, str] = {}

    def run(self) -> Mended:
        before = self._lines()
        plan = self._converge()
        for step in plan.steps:
            self.mended.by_hand.append(
                ByHand(step.what, f"{step.statement} -- Postgres refused: {self.refused.get(step.statement, 'no effect')}")
            )
        after = self._lines()
        self.mended.by_hand += plan.by_hand + unknown_to(plan, after, self.model)
        self._check(before, after)
        if self.mended.statements:
            detail = json.dumps({"statements": self.mended.statements, "removed": self.mended.removed})
            self.conn.execute(AUDIT, (self.session.run_id, self.guild_id, detail, self.session.actor))
        return self.mended

    def _lines(self) -> set[str]:
        return drift.lines_of(self.conn, self.session.service_role, self.guild_id)

    def _converge(self) -> RepairPlan:
        """Some things show only when others are there: the rights on a view that was made again."""
        for _number in range(PASSES):
            plan = self._plan()
            if not any([self._try(step) for step in plan.steps]):  # noqa: C419 - all of them, not up to the first that works
                return plan
        return self._plan()

    def _plan(self) -> RepairPlan:
        return plan_repair(Scope(self.guild_id, self.session.service_role).read(self.conn), self.model.items)

    def _try(self, step: Step) -> bool:
        text = named(step.statement, self.guild_id)
        try:
            with self.conn.transaction(), self._role(step.as_owner):
                self.conn.execute(text.encode())
        except psycopg.Error as problem:
            if (problem.sqlstate or "")[:2] not in REFUSED:
                raise
            self.refused[step.statement] = f"{problem.diag.message_primary} [{problem.sqlstate}]"
            return False
        self.mended.add(step, self.guild_id)
        return True

    @contextlib.contextmanager
    def _role(self, as_owner: bool) -> Iterator[None]:
        """What the owner makes belongs to it, and its default rights apply. An error leaves with the savepoint."""
        owner = sql.Identifier(owner_role(self.guild_id))
        join = not self.session.superuser
        if join:
            self.conn.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(owner))
        if as_owner:
            self.conn.execute(sql.SQL("SET LOCAL ROLE {}; SET LOCAL check_function_bodies = off").format(owner))
        yield
        self.conn.execute("SET LOCAL ROLE NONE")
        if join:
            self.conn.execute(sql.SQL("REVOKE {} FROM CURRENT_USER").format(owner))

    def _check(self, before: set[str], after: set[str]) -> None:
        """Nothing that was right may be wrong now, and nothing may be left that was not told."""
        worse = (self.model.lines - after) - (self.model.lines - before)
        if worse or len(after - self.model.lines) > len(before - self.model.lines):
            raise PlatformError(f"rolled back: the repair would have made more differ: {'; '.join(sorted(worse)[:NAMED])}")
        if after != self.model.lines and not self.mended.by_hand:
            left = sorted(after ^ self.model.lines)[:NAMED]
            raise PlatformError(f"rolled back: the schema would still differ from its migrations: {'; '.join(left)}")


def unknown_to(plan: RepairPlan, lines: set[str], model: Model) -> list[ByHand]:
    """The ledger, which no statement of a schema mends; and a difference that the repair has no word for is told, not hidden."""
    different = sorted(lines ^ model.lines)
    found = [
        ByHand(line, "the ledger is not what the registry says: restore both from a backup")
        for line in different
        if line.startswith("ledger ")
    ]
    if different and not (found or plan.steps or plan.by_hand):
        found = [ByHand(line, "see docs/guides/guild-data.md, Drift") for line in different]
    return found
