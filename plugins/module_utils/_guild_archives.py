# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Archives of many guilds at once: a few threads, each with a connection of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from ansible_collections.dcm.platform.plugins.module_utils import _guild_archive as archive
from ansible_collections.dcm.platform.plugins.module_utils import _guild_copy as copy
from ansible_collections.dcm.platform.plugins.module_utils import _guild_store as store
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_sql import Session

EXPORTED, VERIFIED, IMPORTED, COMPARED = "exported", "verified", "imported", "compared"
NAMED = 5
EVERY = "SELECT guild_id FROM dcm.guild ORDER BY 1"
# What is on its way to this server is still, whole, where it comes from.
HERE = """
SELECT guild_id FROM dcm.guild g
WHERE NOT (state = 'moving' AND EXISTS (SELECT FROM dcm.guild_move m WHERE m.guild_id = g.guild_id AND m.direction = 'in')) ORDER BY 1
"""


@dataclass(frozen=True)
class Job:
    """What is to be done; ids None = all there are."""

    state: str
    ids: Sequence[int] | None
    directory: Path
    replace: bool
    connections: int
    check: bool
    run_id: str
    actor: str


class _Worker:
    """A connection for each thread, opened when the first guild comes."""

    def __init__(self, job: Job, access: store.Access | None) -> None:
        self.job = job
        self.access = access
        self.local = threading.local()
        self.opened: list[store.Conn] = []

    def conn(self) -> store.Conn:
        found: store.Conn | None = getattr(self.local, "conn", None)
        if found is None or found.broken:
            if self.access is None:
                raise PlatformError("this needs a server")
            found = self.local.conn = self.access.connect("guild archive")
            self.local.session = Session("", store.is_superuser(found), self.job.run_id, self.job.actor)
            self.opened.append(found)
        return found

    def one(self, guild_id: int) -> dict[str, Any]:
        start, folder = time.monotonic(), archive.archive_folder(str(self.job.directory), guild_id)
        row: dict[str, Any] = {"id": str(guild_id), "folder": str(folder), "version": "", "rows": 0, "tables": 0, "digest": ""}
        try:
            manifest, differences = self._do(guild_id, folder)
            row.update(archive.as_result(manifest) if manifest else {}, differences=differences, error="")
        except psycopg.Error as problem:
            row.update(differences=[], error=f"Postgres refused: {' '.join(str(problem).split())} [{problem.sqlstate or 'connection'}]")
        except (PlatformError, OSError) as problem:
            row.update(differences=[], error=str(problem))
        return {**row, "seconds": round(time.monotonic() - start, 4)}

    def _do(self, guild_id: int, folder: Path) -> tuple[archive.Manifest | None, list[str]]:
        job = self.job
        if job.state == VERIFIED or (job.state == IMPORTED and job.check):
            return archive.verify_archive(folder, guild_id), []
        if job.state == EXPORTED and job.check:
            return None, []
        conn = self.conn()
        if job.state == EXPORTED:
            return copy.export_guild(conn, guild_id, folder, self.local.session, job.replace), []
        if job.state == IMPORTED:
            return copy.import_guild(conn, folder, self.local.session, guild_id, job.replace), []
        return copy.compare_guild(conn, folder, self.local.session, guild_id)


def run(job: Job, access: store.Access | None) -> dict[str, Any]:
    start = time.monotonic()
    if job.state == EXPORTED and not job.check:
        job.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    ids = job.ids if job.ids is not None else _all(job, access)
    worker = _Worker(job, access)
    try:
        with ThreadPoolExecutor(max(1, min(job.connections, len(ids)))) as pool:
            rows = list(pool.map(worker.one, ids))
    finally:
        for conn in worker.opened:
            conn.close()
    return _answer(job, rows, time.monotonic() - start)


def _all(job: Job, access: store.Access | None) -> list[int]:
    if job.state == EXPORTED and access is not None:
        with access.connect("guild archive") as conn:
            query = HERE if store.has_table(conn, "guild_move") else EVERY
            return [row[0] for row in conn.execute(query)]
    found = sorted(job.directory.glob(f"guild_*/{archive.MANIFEST}"))
    if not found:
        raise PlatformError(f"{job.directory} holds no archive of a guild")
    return [archive.read_manifest(path.parent).guild_id for path in found]


def _answer(job: Job, rows: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    failed = [row for row in rows if row["error"]]
    differing = [row for row in rows if row["differences"]]
    words = [f"guild {row['id']}: {row['error']}" for row in failed] + [
        f"guild {row['id']}: {'; '.join(row['differences'])}" for row in differing
    ]
    more = [f"and {len(words) - NAMED:,} more"] if len(words) > NAMED else []
    totals = {"guilds": len(rows), "failed": len(failed), "differing": len(differing), "rows": sum(row["rows"] for row in rows)}
    bad = len(failed) + len(differing)
    return {
        "changed": job.state in (EXPORTED, IMPORTED) and len(rows) > len(failed),
        "guilds": rows,
        "totals": totals,
        "seconds": round(seconds, 3),
        "failure": f"{bad} of {len(rows)} guilds: {'; '.join([*words[:NAMED], *more])}" if bad else "",
    }
