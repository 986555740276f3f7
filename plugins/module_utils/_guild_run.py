# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One guild on one connection: sends its scripts and turns what goes wrong into an outcome."""

from __future__ import annotations

import time

import psycopg
from ansible_collections.dcm.platform.plugins.module_utils import _guild_sql as build
from ansible_collections.dcm.platform.plugins.module_utils._guild_ids import owner_role, schema_name
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import (
    CREATE,
    ERASE,
    UPDATE,
    GuildPlan,
    Outcome,
    Segment,
)
from ansible_collections.dcm.platform.plugins.module_utils._guild_store import Conn
from psycopg import sql

LOCK_NOT_AVAILABLE, DEADLOCK, CHANGED_MEANWHILE, TUPLE_CONCURRENTLY_UPDATED = "55P03", "40P01", "DCM01", "XX000"
WORTH_ANOTHER_TRY = (LOCK_NOT_AVAILABLE, DEADLOCK, CHANGED_MEANWHILE)
# Bad data, violated constraints, objects that are there or not: not what another moment would change.
SAME_EVERY_TIME = ("22", "23", "42")
NOTHING_YET = Segment((), True, "", "")


def run_guild(conn: Conn, plan: GuildPlan, session: build.Session) -> Outcome:
    """Everything of one plan; a failed transaction leaves no trace of itself."""
    start = time.monotonic()
    runner = _Runner(conn, plan, session)
    try:
        runner.run()
    except psycopg.Error as problem:
        again = problem.sqlstate in WORTH_ANOTHER_TRY or _concurrent(problem) or conn.broken
        return Outcome(plan, time.monotonic() - start, runner.explain(problem), again, problem.sqlstate or "")
    return Outcome(plan, time.monotonic() - start)


def _concurrent(problem: psycopg.Error) -> bool:
    return problem.sqlstate == TUPLE_CONCURRENTLY_UPDATED and "concurrently" in str(problem)


class _Runner:
    def __init__(self, conn: Conn, plan: GuildPlan, session: build.Session) -> None:
        self.conn = conn
        self.plan = plan
        self.session = session
        self.script = build.Script("")
        self.segment = NOTHING_YET

    def run(self) -> None:
        plan, before = self.plan, self.plan.before
        if plan.action == CREATE:
            self._create()
        elif before is not None and plan.action == ERASE:
            self._send(build.erase_script(plan, before, self.session))
        elif before is not None and plan.action == UPDATE:
            self._send(build.update_script(plan, before, self.session))
        elif before is not None:
            self._migrate(0, (before.state, before.digest))

    def _create(self) -> None:
        first = self.plan.segments[0] if self.plan.segments and self.plan.segments[0].transactional else NOTHING_YET
        used = 1 if first is not NOTHING_YET else 0
        state = self.plan.state if used == len(self.plan.segments) else build.unfinished(self.plan)
        self._send(build.create_script(self.plan, first, state, self.session), first)
        self._migrate(used, (state, first.digest))

    def _migrate(self, start: int, since: tuple[str, str]) -> None:
        for index in range(start, len(self.plan.segments)):
            segment = self.plan.segments[index]
            state = build.state_after(self.plan, index)
            if segment.transactional:
                self._send(build.migrate_script(self.plan, segment, since, state, self.session), segment)
            else:
                self._outside(segment, since, state)
            since = (state, segment.digest)

    def _send(self, script: build.Script, segment: Segment = NOTHING_YET) -> None:
        self.script, self.segment = script, segment
        self.conn.execute(script.text.encode())

    def _outside(self, segment: Segment, since: tuple[str, str], state: str) -> None:
        """One statement that tolerates no transaction: the lock is the session's, the ledger follows right after."""
        owner, schema = sql.Identifier(owner_role(self.plan.guild_id)), sql.Identifier(schema_name(self.plan.guild_id))
        join = sql.SQL("GRANT {} TO CURRENT_USER").format(owner)
        leave = sql.SQL("REVOKE {} FROM CURRENT_USER").format(owner)
        self.conn.execute("SELECT pg_advisory_lock(%s)", (self.plan.guild_id,))
        try:
            self.conn.execute(build.claim(self.plan.guild_id, *since))
            if not self.session.superuser:
                self.conn.execute(join)
            self.conn.execute(sql.SQL("SET search_path = {}; SET ROLE {}").format(schema, owner))
            self._send(build.Script(segment.migrations[0].up), segment)
            self.conn.execute("RESET ROLE; RESET search_path")
            self.conn.execute(build.record(self.plan, segment, state, self.session).encode())
        finally:
            if not self.conn.broken:
                self.conn.execute("RESET ROLE; RESET search_path")
                if not self.session.superuser:
                    self.conn.execute(leave)
                self.conn.execute("SELECT pg_advisory_unlock(%s)", (self.plan.guild_id,))

    def _culprit(self, problem: psycopg.Error) -> str:
        """The file of an error without a position: of several, each is done again by itself, and all is rolled back."""
        migrations = self.segment.migrations
        if len(migrations) == 1:
            return migrations[0].file
        if self.conn.broken or (problem.sqlstate or "")[:2] not in SAME_EVERY_TIME:
            return ""
        file = ""
        try:
            with self.conn.transaction(force_rollback=True):
                self.conn.execute(self.script.text[: self.script.body_at].encode())
                for migration in migrations:
                    file = migration.file
                    self.conn.execute(migration.up.encode())
        except psycopg.Error as again:
            return file if again.sqlstate == problem.sqlstate else ""
        return ""

    def explain(self, problem: psycopg.Error) -> str:
        """The server's words, with file and line where it tells them."""
        said = problem.diag.message_primary or " ".join(str(problem).split())
        position = problem.diag.statement_position
        place = build.locate(self.script, self.segment, int(position)) if position else ""
        if not place:
            place = self._culprit(problem)
        detail = f" ({problem.diag.message_detail})" if problem.diag.message_detail else ""
        hint = "; it ran outside of a transaction: look for an invalid index before the next run" if not self.segment.transactional else ""
        return f"{place + ': ' if place else ''}{said}{detail} [{problem.sqlstate or 'connection'}]{hint}"
