# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module guild_offboard does, in its order: the engine for states, the bookings around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from ansible_collections.dcm.platform.plugins.module_utils import _guild_archives as archives
from ansible_collections.dcm.platform.plugins.module_utils import _guild_offboard as offboard
from ansible_collections.dcm.platform.plugins.module_utils import _guild_store as store
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_engine import Engine, Request
from ansible_collections.dcm.platform.plugins.module_utils._guild_input import read_ids
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import read_migrations
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import ABSENT, MOVING, PRESENT, SUSPENDED, Wanted
from ansible_collections.dcm.platform.plugins.module_utils._guild_plan import PlanContext
from ansible_collections.dcm.platform.plugins.module_utils._guild_sql import Session

LONGEST_REASON = 200


class _Ending:
    def __init__(self, options: Mapping[str, Any], access: store.Access, run_id: str, actor: str, check: bool) -> None:
        self.options = options
        self.access = access
        self.run_id, self.actor, self.check = run_id, actor, check
        self.migrations = read_migrations(options["migrations_dir"])
        self.control = read_migrations(options["control_migrations_dir"]) if options["control_migrations_dir"] else None
        self.ids = sorted(read_ids(options["guilds"], options["guilds_file"]))

    def engine(self, state: str, ids: Sequence[int]) -> dict[str, Any]:
        context = PlanContext(self.migrations, confirm_erase=frozenset(ids) if state == ABSENT else frozenset())
        wanted = [Wanted(guild_id, state) for guild_id in ids]
        request = Request(
            wanted, context, self.control, self.run_id, self.actor, self.options["service_role"], check=self.check, results="failed"
        )
        return Engine(request, self.access).run()

    def asked(self) -> list[offboard.Asked]:
        with self.access.connect("guild offboarding") as conn:
            if not store.has_table(conn, "guild_move"):
                raise PlatformError("the control schema is older than this program: run playbooks/data.yml, or give control_migrations_dir")
            return offboard.read_asked(conn, self.ids)

    def run(self) -> dict[str, Any]:
        """The control schema first, so that there is a table to ask."""
        if self.control and not self.check:
            self.engine(PRESENT, [])
        asked = self.asked()
        _refuse_moving(asked)
        done = {"requested": self.request, "cancelled": self.cancel, "erased": self.erase}[self.options["state"]](asked)
        return {"certificates": [], **done, "guilds": [_row(guild) for guild in self.asked()]}

    def request(self, asked: Sequence[offboard.Asked]) -> dict[str, Any]:
        _refuse_unknown(asked)
        result = self.engine(SUSPENDED, self.ids)
        new = [guild.guild_id for guild in asked if guild.requested_at is None]
        if not self.check and not result["failure"] and new:
            with self.access.connect("guild offboarding") as conn:
                offboard.request(conn, new, timedelta(days=self.options["grace_days"]), self.options["reason"], self._session(conn))
        return {"changed": bool(new) or result["changed"], "failure": result["failure"]}

    def cancel(self, asked: Sequence[offboard.Asked]) -> dict[str, Any]:
        _refuse_unknown(asked)
        booked = [guild.guild_id for guild in asked if guild.requested_at is not None]
        if not self.check and booked:
            with self.access.connect("guild offboarding") as conn:
                offboard.cancel(conn, booked, self._session(conn))
        result = self.engine(PRESENT, self.ids)
        return {"changed": bool(booked) or result["changed"], "failure": result["failure"]}

    def erase(self, asked: Sequence[offboard.Asked]) -> dict[str, Any]:
        options = self.options
        terms = offboard.Terms(options["archive_dir"], options["without_archive"], options["skip_grace"], options["certificate_dir"] or "")
        if self.check:
            offboard.refuse(asked, replace(terms, without_archive=True) if options["export"] and options["archive_dir"] else terms)
            return {"changed": any(guild.registered for guild in asked), "failure": ""}
        with self.access.connect("guild offboarding") as conn:
            session = self._session(conn)
        if options["archive_dir"] and options["export"] and not options["without_archive"]:
            self._export(asked, terms, options["archive_dir"])
        return offboard.erase(self.access, asked, terms, session, lambda ids: self.engine(ABSENT, ids))

    def _export(self, asked: Sequence[offboard.Asked], terms: offboard.Terms, folder: str) -> None:
        """Only once nothing else speaks against erasing; guilds that an earlier run erased are left alone."""
        offboard.refuse(asked, replace(terms, without_archive=True))
        ids = [guild.guild_id for guild in asked if guild.registered]
        job = archives.Job(archives.EXPORTED, ids, Path(folder), True, 2, False, self.run_id, self.actor)
        failure = archives.run(job, self.access)["failure"]
        if failure:
            raise PlatformError(f"the export before erasing failed, nothing was erased: {failure}")

    def _session(self, conn: store.Conn) -> Session:
        return Session(self.options["service_role"], store.is_superuser(conn), self.run_id, self.actor)


def _refuse_unknown(asked: Sequence[offboard.Asked]) -> None:
    unknown = [str(guild.guild_id) for guild in asked if not guild.registered]
    if unknown:
        raise PlatformError(f"not registered here, so nothing was done: {', '.join(unknown[:10])}")


def _refuse_moving(asked: Sequence[offboard.Asked]) -> None:
    moving = [str(guild.guild_id) for guild in asked if guild.state == MOVING]
    if moving:
        raise PlatformError(
            f"on their way to another placement, so nothing was done: {', '.join(moving[:10])}; let guild_move finish first"
        )


def _row(guild: offboard.Asked) -> dict[str, str]:
    return {
        "id": str(guild.guild_id),
        "state": guild.state or "",
        "reason": guild.reason or "",
        "requested_at": guild.requested_at.isoformat() if guild.requested_at else "",
        "erase_after": guild.erase_after.isoformat() if guild.erase_after else "",
    }


def end(options: Mapping[str, Any], access: store.Access, run_id: str, actor: str, check: bool) -> dict[str, Any]:
    """The whole of one call."""
    if not 0 <= options["grace_days"] <= 3650:
        raise PlatformError(f"grace_days: {options['grace_days']} must be between 0 and 3650")
    if not 0 < len(options["reason"]) <= LONGEST_REASON:
        raise PlatformError(f"reason: it must have 1 to {LONGEST_REASON} characters")
    try:
        return _Ending(options, access, run_id, actor, check).run()
    except psycopg.Error as problem:
        raise PlatformError(f"Postgres refused: {' '.join(str(problem).split())} [{problem.sqlstate or 'connection'}]") from problem
