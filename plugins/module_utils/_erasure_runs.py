# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module erasure_ledger does: the ledger's copy, and its replay by the engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from ansible_collections.dcm.platform.plugins.module_utils import _erasures as erasures
from ansible_collections.dcm.platform.plugins.module_utils import _guild_store as store
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_engine import Engine, Request
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import read_migrations
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import ABSENT, Wanted
from ansible_collections.dcm.platform.plugins.module_utils._guild_plan import PlanContext

NOTHING = {"replayed": [], "forgotten": 0, "failure": ""}


def run(options: Mapping[str, Any], access: store.Access, run_id: str, actor: str, check: bool) -> dict[str, Any]:
    directory = Path(options["directory"])
    try:
        if options["state"] == "saved":
            with access.connect("erasure ledger") as conn:
                ledger, changed = erasures.save(directory, conn, check)
            return {**_known(ledger), **NOTHING, "changed": changed}
        ledger = erasures.read_directory(directory)
        erase = _Erase(options, access, run_id, actor)
        return {**_known(ledger), **erasures.replay(access, ledger, erase, erasures.Who(run_id, actor), check)}
    except psycopg.Error as problem:
        raise PlatformError(f"Postgres refused: {' '.join(str(problem).split())} [{problem.sqlstate or 'connection'}]") from problem


def _known(ledger: list[erasures.Erasure]) -> dict[str, Any]:
    return {"erasures": len(ledger), "erased_guilds": sorted({str(erasure["guild_id"]) for erasure in ledger})}


class _Erase:
    """By the engine, as an erasure by hand would be: with an entry in the audit log and in the ledger."""

    def __init__(self, options: Mapping[str, Any], access: store.Access, run_id: str, actor: str) -> None:
        self.options, self.access, self.run_id, self.actor = options, access, run_id, actor
        self.migrations = read_migrations(options["migrations_dir"])
        self.control = read_migrations(options["control_migrations_dir"]) if options["control_migrations_dir"] else None

    def __call__(self, ids: list[int]) -> dict[str, Any]:
        context = PlanContext(self.migrations, confirm_erase=frozenset(ids))
        wanted = [Wanted(guild_id, ABSENT) for guild_id in ids]
        role = self.options["service_role"]
        return Engine(Request(wanted, context, self.control, self.run_id, self.actor, role, results="failed"), self.access).run()
