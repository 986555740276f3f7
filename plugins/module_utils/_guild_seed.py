# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Example data for guilds of developers: written like migrations, applied once per guild, one transaction each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import psycopg
from ansible_collections.dcm.platform.plugins.module_utils import _guild_store as store
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_copy import GuildCopy
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import MigrationSet, segments
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import MOVING, ONBOARDING, Migration
from ansible_collections.dcm.platform.plugins.module_utils._guild_sql import Script, Session, locate

PRODUCTION = "production"
READ_SEEDS = "SELECT version, checksum FROM dcm.guild_seed WHERE guild_id = %s ORDER BY version"
BOOK = "INSERT INTO dcm.guild_seed (guild_id, version, checksum) VALUES (%s, %s, %s)"
AUDIT = "INSERT INTO dcm.audit_log (run_id, guild_id, action, detail, actor) VALUES (%s, %s, 'seeded', %s::jsonb, %s)"
NAMED = 5


def refuse(environment: str, seeds: MigrationSet) -> None:
    """Invented rows have no business among real ones."""
    if environment == PRODUCTION:
        raise PlatformError("seeds are refused in production: they add invented rows to a guild's own")
    outside = [seed.file for seed in seeds.migrations if not seed.transactional]
    if outside:
        raise PlatformError(f"{outside[0]}: a seed runs in a transaction; take transaction:false away")


class Seeding:
    """Guilds one after the other on one connection: a developer has few."""

    def __init__(self, conn: store.Conn, seeds: MigrationSet, session: Session, check: bool) -> None:
        self.conn, self.seeds, self.session, self.check = conn, seeds, session, check
        self.booked = store.has_table(conn, "guild_seed")
        if not self.booked and not check:
            raise PlatformError("the control schema is older than this program: run playbooks/data.yml first")

    def one(self, guild_id: int) -> dict[str, Any]:
        row: dict[str, Any] = {"id": str(guild_id), "seeds": [], "error": ""}
        try:
            row["seeds"] = [seed.version for seed in self._apply(guild_id)]
        except psycopg.Error as problem:
            row["error"] = f"{' '.join(str(problem).split())} [{problem.sqlstate or 'connection'}]"
        except PlatformError as problem:
            row["error"] = str(problem)
        return row

    def _apply(self, guild_id: int) -> tuple[Migration, ...]:
        copy = GuildCopy(self.conn, guild_id, self.session)
        with self.conn.transaction():
            state, _plan, _placement, _version, digest = copy.registered()
            if state == ONBOARDING:
                raise PlatformError("its onboarding is not finished: run guild_onboard again first")
            if state == MOVING:
                raise PlatformError("it is on its way to another placement: seed it when it is there")
            if not self.check:
                self.conn.execute("SELECT dcm.claim_guild(%s, %s, %s)", (guild_id, state, digest))
            rows = self.conn.execute(READ_SEEDS, (guild_id,)).fetchall() if self.booked else []
            pending = self.seeds.pending([(row[0], row[1]) for row in rows])
            for seed in () if self.check else pending:
                copy.enter()
                self._run(seed)
                copy.leave()
                self.conn.execute(BOOK, (guild_id, seed.version, seed.checksum))
                detail = json.dumps({"seed": seed.name, "version": seed.version})
                self.conn.execute(AUDIT, (self.session.run_id, guild_id, detail, self.session.actor))
        return pending

    def _run(self, seed: Migration) -> None:
        try:
            self.conn.execute(seed.up.encode())
        except psycopg.Error as problem:
            position = problem.diag.statement_position
            place = locate(Script(seed.up), segments([seed], "", "")[0], int(position)) if position else ""
            said = problem.diag.message_primary or str(problem)
            raise PlatformError(f"{place or seed.file}: {said} [{problem.sqlstate or 'connection'}]") from problem


def run(access: store.Access, ids: Sequence[int], seeds: MigrationSet, run_id: str, actor: str, check: bool) -> dict[str, Any]:
    with access.connect("guild seeds") as conn:
        if not store.has_registry(conn):
            raise PlatformError("there is no registry of guilds here: run playbooks/data.yml first")
        seeding = Seeding(conn, seeds, Session("", store.is_superuser(conn), run_id, actor), check)
        rows = [seeding.one(guild_id) for guild_id in ids]
    failed = [f"guild {row['id']}: {row['error']}" for row in rows if row["error"]]
    more = [f"and {len(failed) - NAMED:,} more"] if len(failed) > NAMED else []
    failure = f"{len(failed)} of {len(rows)} guilds got no seeds: {'; '.join([*failed[:NAMED], *more])}" if failed else ""
    return {"changed": any(row["seeds"] for row in rows), "guilds": rows, "failure": failure}
