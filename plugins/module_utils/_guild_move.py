# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One guild from one server to another, step by step. What is next follows from what both servers say, so a killed run is just run again.

    source                                target
    freeze: state moving, booking out
                                          prepare: booking in; create: schema and roles, state moving
                                          fill: rows, compared before the commit; booking copied
    mark: booking switching
                                          activate: its old state; booking switched. From here on the target has it
    remove: schema, roles, registry
                                          forget: the booking

Every commit of a move waits for the disk: the order of the steps on two servers is all that keeps a guild from having two homes, or none.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from ansible_collections.dcm.platform.plugins.module_utils import _guild_drift as drift
from ansible_collections.dcm.platform.plugins.module_utils import _guild_sql as build
from ansible_collections.dcm.platform.plugins.module_utils import _guild_transfer as transfer
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_copy import GuildCopy, snapshot
from ansible_collections.dcm.platform.plugins.module_utils._guild_ids import app_role, owner_role, schema_name
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import (
    ABSENT,
    ACTIVE,
    CREATE,
    ERASE,
    MOVING,
    ONBOARDING,
    Current,
    GuildPlan,
    Segment,
)
from ansible_collections.dcm.platform.plugins.module_utils._guild_placements import (
    COPIED,
    COPYING,
    IN,
    NOWHERE,
    OUT,
    SWITCHED,
    SWITCHING,
    Booking,
    View,
    read_views,
)
from ansible_collections.dcm.platform.plugins.module_utils._guild_run import run_guild
from ansible_collections.dcm.platform.plugins.module_utils._guild_store import Conn
from psycopg import sql

MOVED, CANCELLED = "moved", "cancelled"
FREEZE, CREATE_COPY, FILL, SWITCH, REMOVE, FORGET = "freeze", "create", "fill", "switch", "remove", "forget"
DISCARD, THAW, DONE = "discard", "thaw", "done"
MOST_STEPS = 12

BOOK = """
INSERT INTO dcm.guild_move (guild_id, move_id, direction, placement, step, state, started_by) VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (guild_id) DO UPDATE SET move_id = excluded.move_id, direction = excluded.direction, placement = excluded.placement,
    step = excluded.step, state = excluded.state, started_by = excluded.started_by, started_at = now()
"""
STEP = "UPDATE dcm.guild_move SET step = %s WHERE guild_id = %s AND move_id = %s AND direction = %s AND step = %s"
UNBOOK = "DELETE FROM dcm.guild_move WHERE guild_id = %s AND move_id = %s AND direction = %s"
CLAIM = "SELECT dcm.claim_guild(%s, %s, %s)"
SET_STATE = "UPDATE dcm.guild SET state = %s, updated_at = now() WHERE guild_id = %s"
AUDIT = "INSERT INTO dcm.audit_log (run_id, guild_id, action, detail, actor) VALUES (%s, %s, %s, %s::jsonb, %s)"
# What goes with a guild beside its schema: all columns, whatever they are.
CARRIED = {
    "guild_seed": ("guild_id", "version", "checksum", "applied_at"),
    "guild_offboarding": ("guild_id", "reason", "requested_by", "requested_at", "erase_after"),
}


class Changed(PlatformError):
    """Somebody else changed the guild between a look and a step."""


@dataclass(frozen=True)
class Way:
    """From where to where, and with which history; segments of unknown histories are refused by the plan."""

    guild_id: int
    goal: str
    source: str
    target: str
    segments: tuple[Segment, ...] = ()


def next_step(way: Way, here: View, there: View) -> str:
    """Pure: here is the source, there the target."""
    if here.lives_here and there.lives_here:
        raise PlatformError(f"it is registered on '{way.source}' and on '{way.target}': only one of them can be right")
    _refuse_foreign(way, there)
    if here.state is None:
        return _after_the_switch(way, there)
    if here.state == ONBOARDING:
        raise PlatformError("its onboarding is not finished: run guild_onboard again first")
    if here.state != MOVING:
        at_rest = DONE if way.goal == CANCELLED else FREEZE
        return at_rest if there == NOWHERE else DISCARD
    out = here.booking
    if out is None or out.direction != OUT or out.placement != way.target:
        where = f"{'to' if out and out.direction == OUT else 'from'} '{out.placement if out else '?'}'"
        raise PlatformError(f"it is on its way {where}: finish that move, or take it back, first")
    return (_step_back if way.goal == CANCELLED else _step_on)(way, out, there, here.digest)


def _refuse_foreign(way: Way, there: View) -> None:
    """Only what came from this source may be thrown away on the target."""
    arrival = there.booking
    if there.state == MOVING and (arrival is None or arrival.direction != IN):
        further = arrival.placement if arrival else "?"
        raise PlatformError(f"'{way.target}' has it too, and is sending it to '{further}': finish that move first")
    if not there.lives_here and arrival and arrival.placement != way.source:
        raise PlatformError(f"'{way.target}' waits for it from '{arrival.placement}': finish that move, or take it back, first")


def _after_the_switch(way: Way, there: View) -> str:
    if there.state is None:
        raise PlatformError(f"it is registered neither on '{way.source}' nor on '{way.target}'")
    if there.state == MOVING:
        raise PlatformError(f"'{way.target}' waits for it, but '{way.source}' has lost it: restore that server first")
    if way.goal == CANCELLED:
        raise PlatformError(f"it lives on '{way.target}' already: to bring it back, move it to '{way.source}'")
    return FORGET if there.booking else DONE


def _step_on(way: Way, out: Booking, there: View, digest: str) -> str:
    arrival = there.booking
    if arrival is None or arrival.move_id != out.move_id:
        if there.lives_here:
            raise PlatformError(f"'{way.target}' has a guild of this id that did not come with this move: only one of them can be right")
        return CREATE_COPY if there == NOWHERE else DISCARD
    if arrival.step == SWITCHED:
        return REMOVE
    if there.state is None:
        return CREATE_COPY
    if there.digest != digest:
        return DISCARD
    return SWITCH if arrival.step == COPIED else FILL


def _step_back(way: Way, out: Booking, there: View, _digest: str) -> str:
    """Before 'switching' the target was never told to take over, and never will be: the source alone decides."""
    if there.booking and there.booking.move_id == out.move_id and there.booking.step == SWITCHED:
        raise PlatformError(f"it has been switched to '{way.target}' already: guild_move again finishes that, then it can be moved back")
    return THAW if out.step == COPYING or there == NOWHERE else DISCARD


class Mover:
    """The steps of one guild. Connections are autocommit; each step is one transaction, but for create and fill."""

    def __init__(self, way: Way, connect: Callable[[str], Conn], sessions: Mapping[str, build.Session]) -> None:
        self.way, self.connect, self.sessions = way, connect, sessions
        self.rows = 0
        self.done: list[str] = []

    def look(self) -> tuple[View, View]:
        return self._view(self.way.source), self._view(self.way.target)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """One mover of a guild at a time: the others wait, as long as lock_timeout allows."""
        conn = self.connect(self.way.source)
        try:
            conn.execute("SELECT pg_advisory_lock(%s)", (self.way.guild_id,))
        except psycopg.errors.LockNotAvailable as problem:
            raise Changed("somebody else is working on it right now") from problem
        try:
            yield
        finally:
            if not conn.broken:
                conn.execute("SELECT pg_advisory_unlock(%s)", (self.way.guild_id,))

    def run(self) -> None:
        """Looks, decides, acts, until there is nothing left to do."""
        for _number in range(MOST_STEPS):
            here, there = self.look()
            step = next_step(self.way, here, there)
            if step == DONE:
                return
            self._act(step, here, there)
        raise Changed("it does not come to rest: somebody else is working on it")

    def take_back(self) -> bool:
        """After a failure: as it was before, if the target was not told to take over yet. That needs no word of the target."""
        here = self._view(self.way.source)
        out = here.booking
        if here.state == MOVING and out and (out.direction, out.placement, out.step) == (OUT, self.way.target, COPYING):
            self._thaw(here, NOWHERE)
            return True
        return False

    def _view(self, name: str) -> View:
        return read_views(self.connect(name), [self.way.guild_id]).get(self.way.guild_id, NOWHERE)

    def _act(self, step: str, here: View, there: View) -> None:
        acts = {
            FREEZE: self._freeze,
            CREATE_COPY: self._create,
            FILL: self._fill,
            SWITCH: self._switch,
            REMOVE: self._remove,
            FORGET: self._forget,
            DISCARD: self._discard,
            THAW: self._thaw,
        }
        acts[step](here, there)
        self.done.append(step)

    def _freeze(self, here: View, _there: View) -> None:
        """Out of the reach of the services and of every other member: the schema itself is closed, for open transactions too."""
        conn, session = self.connect(self.way.source), self.sessions[self.way.source]
        booking = (self.way.guild_id, str(uuid.uuid4()), OUT, self.way.target, COPYING, here.state, session.actor)
        with conn.transaction():
            conn.execute(CLAIM, (self.way.guild_id, here.state, here.digest))
            conn.execute(BOOK.encode(), booking)
            conn.execute(SET_STATE, (MOVING, self.way.guild_id))
            self._let_in(conn, session, here.state == ACTIVE, "REVOKE {app} FROM {service};", "REVOKE USAGE ON SCHEMA {schema} FROM {app};")
            self._note(conn, session, "moving", {"to": self.way.target})

    def _create(self, here: View, _there: View) -> None:
        out, conn, session = self._out(here), self.connect(self.way.target), self.sessions[self.way.target]
        booking = (self.way.guild_id, out.move_id, IN, self.way.source, COPYING, out.state, session.actor)
        conn.execute(BOOK.encode(), booking)
        plan = GuildPlan(self.way.guild_id, CREATE, None, MOVING, here.plan, self.way.target, self.way.segments)
        outcome = run_guild(conn, plan, session)
        if outcome.error:
            raise (Changed if outcome.again else PlatformError)(f"on '{self.way.target}': {outcome.error}")

    def _fill(self, here: View, there: View) -> None:
        """Nothing of it is seen before all of it is there, and is what it was."""
        guild_id, out = self.way.guild_id, self._out(here)
        source_conn, target_conn = self.connect(self.way.source), self.connect(self.way.target)
        source = GuildCopy(source_conn, guild_id, self.sessions[self.way.source])
        target = GuildCopy(target_conn, guild_id, self.sessions[self.way.target])
        shape = transfer.wait_for_writers(source)
        if not all(segment.transactional for segment in self.way.segments):
            self._refuse_drift(source_conn, target_conn)
        with target_conn.transaction(), snapshot(source_conn, self.sessions[self.way.source]):
            target_conn.execute(CLAIM, (guild_id, MOVING, there.digest))
            carried = {table: _read_carried(source_conn, table, guild_id) for table in CARRIED}
            source.enter()
            self.rows = transfer.transfer(source, target, shape)
            for table, rows in carried.items():
                _write_carried(target_conn, table, guild_id, rows)
            target_conn.execute("UPDATE dcm.guild SET created_at = %s WHERE guild_id = %s", (here.created_at, guild_id))
            self._advance(target_conn, out, IN, COPYING, COPIED)

    def _refuse_drift(self, source: Conn, target: Conn) -> None:
        """For histories that cannot be made in a transaction that is rolled back: finished schemas are compared, but for who is let in."""
        here, there = (
            {line for line in drift.lines_of(conn, self.sessions[name].service_role, self.way.guild_id) if not line.startswith("schema ")}
            for conn, name in ((source, self.way.source), (target, self.way.target))
        )
        if here != there:
            first = min(here ^ there)
            raise PlatformError(f"its schema is not what its migrations make, and the rest would be lost: {first}")

    def _switch(self, here: View, there: View) -> None:
        """The source first says that it may happen. What happens then is one commit on the target."""
        out = self._out(here)
        if out.step == COPYING:
            self._advance(self.connect(self.way.source), out, OUT, COPYING, SWITCHING)
        conn, session = self.connect(self.way.target), self.sessions[self.way.target]
        with conn.transaction():
            conn.execute(CLAIM, (self.way.guild_id, MOVING, there.digest))
            self._advance(conn, out, IN, COPIED, SWITCHED)
            conn.execute(SET_STATE, (out.state, self.way.guild_id))
            self._let_in(conn, session, out.state == ACTIVE, "GRANT {app} TO {service};", "")
            self._note(conn, session, "moved_in", {"from": self.way.source})

    def _remove(self, here: View, _there: View) -> None:
        self._erase(self.way.source, here, build.MOVED)

    def _forget(self, _here: View, there: View) -> None:
        if there.booking:
            self.connect(self.way.target).execute(UNBOOK, (self.way.guild_id, there.booking.move_id, IN))

    def _discard(self, _here: View, there: View) -> None:
        """What an unfinished move left on the target. Never a guild that lives there."""
        if there.state is not None:
            self._erase(self.way.target, there, build.DISCARDED)
        elif there.booking:
            self.connect(self.way.target).execute(UNBOOK, (self.way.guild_id, there.booking.move_id, IN))

    def _thaw(self, here: View, _there: View) -> None:
        out, conn, session = self._out(here), self.connect(self.way.source), self.sessions[self.way.source]
        with conn.transaction():
            conn.execute(CLAIM, (self.way.guild_id, MOVING, here.digest))
            if not conn.execute(UNBOOK, (self.way.guild_id, out.move_id, OUT)).rowcount:
                raise Changed("its move has changed meanwhile")
            conn.execute(SET_STATE, (out.state, self.way.guild_id))
            self._let_in(conn, session, out.state == ACTIVE, "GRANT {app} TO {service};", "GRANT USAGE ON SCHEMA {schema} TO {app};")
            self._note(conn, session, "move_cancelled", {"to": self.way.target})

    def _let_in(self, conn: Conn, session: build.Session, member: bool, membership: str, usage: str) -> None:
        """Rights as the engine gives them to every guild, taken or given back."""
        owner = sql.Identifier(owner_role(self.way.guild_id))
        join = "" if session.superuser or not usage else "GRANT {owner} TO CURRENT_USER;"
        leave = "" if session.superuser or not usage else "REVOKE {owner} FROM CURRENT_USER;"
        text = sql.SQL(join + (membership if member else "") + usage + leave)
        names = {
            "owner": owner,
            "app": sql.Identifier(app_role(self.way.guild_id)),
            "service": sql.Identifier(session.service_role),
            "schema": sql.Identifier(schema_name(self.way.guild_id)),
        }
        conn.execute(text.format(**names))

    def _erase(self, name: str, view: View, kind: str) -> None:
        before = Current(self.way.guild_id, view.state or "", view.plan, "", view.version, view.digest)
        plan = GuildPlan(self.way.guild_id, ERASE, before, ABSENT, view.plan, "")
        self.connect(name).execute(build.erase_script(plan, before, self.sessions[name], kind).text.encode())

    def _advance(self, conn: Conn, out: Booking, direction: str, old: str, new: str) -> None:
        if not conn.execute(STEP, (new, self.way.guild_id, out.move_id, direction, old)).rowcount:
            raise Changed("its move has changed meanwhile")

    def _note(self, conn: Conn, session: build.Session, action: str, detail: Mapping[str, Any]) -> None:
        conn.execute(AUDIT, (session.run_id, self.way.guild_id, action, json.dumps(detail), session.actor))

    @staticmethod
    def _out(here: View) -> Booking:
        if here.booking is None:
            raise Changed("its move has changed meanwhile")
        return here.booking


def _read_carried(conn: Conn, table: str, guild_id: int) -> list[tuple[Any, ...]]:
    columns = sql.SQL(", ").join(map(sql.Identifier, CARRIED[table]))
    return conn.execute(sql.SQL("SELECT {} FROM dcm.{} WHERE guild_id = %s").format(columns, sql.Identifier(table)), (guild_id,)).fetchall()


def _write_carried(conn: Conn, table: str, guild_id: int, rows: list[tuple[Any, ...]]) -> None:
    conn.execute(sql.SQL("DELETE FROM dcm.{} WHERE guild_id = %s").format(sql.Identifier(table)), (guild_id,))
    names = CARRIED[table]
    columns, places = sql.SQL(", ").join(map(sql.Identifier, names)), sql.SQL(", ").join([sql.Placeholder()] * len(names))
    for row in rows:
        conn.execute(sql.SQL("INSERT INTO dcm.{} ({}) VALUES ({})").format(sql.Identifier(table), columns, places), row)
