# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module restore_point does: points and their manifests in a folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from ansible_collections.dcm.platform.plugins.module_utils import _guild_store as store
from ansible_collections.dcm.platform.plugins.module_utils import _restore_point as point
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._restore_point import Taking

__all__ = ["Job", "Taking", "nothing", "run"]
MADE, COMPARED = "made", "compared"


@dataclass(frozen=True)
class Job:
    """One call."""

    state: str
    name: str
    guilds: int
    directory: Path
    backup: str
    taking: Taking

    @property
    def manifest(self) -> Path:
        return self.directory / f"point-{self.name}.json"


def run(job: Job, access: store.Access) -> dict[str, Any]:
    try:
        if job.state == MADE:
            made = replace(point.take(access, job.name, job.guilds, job.taking), backup=job.backup)
            point.write_point(job.manifest, made)
            return {"changed": True, "point": _described(job, made), "differences": []}
        if job.state == COMPARED:
            known = point.read_point(job.manifest)
            return {"changed": False, "point": _described(job, known), "differences": point.compare(access, known, job.taking)}
        return {"changed": True, "point": {**nothing(job), "wal": _flushed(access, job)}, "differences": []}
    except psycopg.Error as problem:
        raise PlatformError(f"Postgres refused: {' '.join(str(problem).split())} [{problem.sqlstate or 'connection'}]") from problem


def _flushed(access: store.Access, job: Job) -> str:
    """A commit of our own too: recovery to a time ends at the first commit after it, so there has to be one."""
    with access.connect("restore point") as conn:
        store.make_durable(conn, job.taking.run_id, "archive_flushed", "{}", job.taking.actor)
        wal = point.flush(conn)
        point.wait_archived(conn, wal)
    return wal


def _described(job: Job, found: point.Point) -> dict[str, Any]:
    content = found.content
    return {
        **nothing(job),
        "lsn": found.lsn,
        "wal": found.wal,
        "made_at": found.made_at,
        "backup": found.backup,
        "guilds": len(content.guilds),
        "rows": content.rows,
        "schemas": content.schemas,
    }


def nothing(job: Job) -> dict[str, Any]:
    """The same keys, before anything is known."""
    texts = {"lsn": "", "wal": "", "made_at": "", "backup": job.backup}
    return {"name": job.name, **texts, "manifest": str(job.manifest), "guilds": 0, "rows": 0, "schemas": 0}
