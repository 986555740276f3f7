# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What restores have proven, written down: a row in the control schema, a report, and metrics whose age can be alerted on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from ansible_collections.dcm.platform.plugins.module_utils import _files
from ansible_collections.dcm.platform.plugins.module_utils import _guild_store as store
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_metrics import gauge, render

INSERT = """
INSERT INTO dcm.restore_proof (equal, backup, point, seconds, guilds, rows, schemas, problem, actor)
VALUES (%(equal)s, %(backup)s, %(point)s, %(seconds)s, %(guilds)s, %(rows)s, %(schemas)s, %(problem)s, %(actor)s) RETURNING proven_at
"""
NEWEST = "SELECT proven_at, backup, seconds, guilds FROM dcm.restore_proof WHERE equal ORDER BY id DESC LIMIT 1"
METRICS = "dcm_backup.prom"
HELP = {
    "dcm_backup_newest_timestamp_seconds": "When the newest base backup ended.",
    "dcm_restore_proof_timestamp_seconds": "When a restore was last proven to hold what the database held.",
    "dcm_restore_proof_duration_seconds": "How long that restore took, until the server answered.",
    "dcm_restore_proof_guilds": "How many guilds were compared row by row.",
}


@dataclass(frozen=True)
class Proof:
    """What one restore has shown."""

    equal: bool
    backup: str
    point: str
    seconds: float
    guilds: int
    rows: int
    schemas: int
    problem: str
    actor: str


def record(conn: store.Conn, proof: Proof | None, newest_backup: str, directory: Path) -> dict[str, Any]:
    """The row first; report and metrics are made of it."""
    if not store.has_table(conn, "restore_proof"):
        raise PlatformError("the control schema is older than this program: run playbooks/data.yml first")
    report = ""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        if proof:
            row = conn.execute(INSERT, asdict(proof)).fetchone()
            report = str(_report(directory, proof, row[0] if row else datetime.now(UTC)))
        known = conn.execute(NEWEST).fetchone()
    except psycopg.Error as problem:
        raise PlatformError(f"Postgres refused: {' '.join(str(problem).split())} [{problem.sqlstate or 'connection'}]") from problem
    metrics = _metrics(directory / METRICS, newest_backup, known)
    return {"report": report, "metrics": str(metrics), "proven_at": known[0].isoformat() if known else ""}


def _report(directory: Path, proof: Proof, proven_at: datetime) -> Path:
    path = directory / f"restore-proof-{proven_at.astimezone(UTC):%Y%m%dT%H%M%SZ}.json"
    _files.write(path, json.dumps({"proven_at": proven_at.isoformat(), **asdict(proof)}, indent=2).encode() + b"\n", 0o600)
    return path


def _metrics(path: Path, newest_backup: str, known: tuple[Any, ...] | None) -> Path:
    """In the format of node_exporter's textfile collector, which may be another user. What is not known is left out, not zero."""
    values: dict[str, float] = {}
    if newest_backup:
        values["dcm_backup_newest_timestamp_seconds"] = datetime.fromisoformat(newest_backup).timestamp()
    if known:
        values["dcm_restore_proof_timestamp_seconds"] = known[0].timestamp()
        values["dcm_restore_proof_duration_seconds"] = float(known[2])
        values["dcm_restore_proof_guilds"] = float(known[3])
    _files.write(path, render([gauge(name, HELP[name], value) for name, value in values.items()]).encode(), 0o644)
    return path
