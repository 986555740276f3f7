# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the registry knows about guilds, and whether their schemas are what their migrations make. Reads only."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import psycopg
from ansible_collections.dcm.platform.plugins.module_utils import _guild_capacity as capacity
from ansible_collections.dcm.platform.plugins.module_utils import _guild_drift as drift
from ansible_collections.dcm.platform.plugins.module_utils import _guild_store as store
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_metrics import Target, fleet_metrics
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import MigrationSet
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import MOVING, Current
from ansible_collections.dcm.platform.plugins.module_utils._guild_server import sharding
from ansible_collections.dcm.platform.plugins.module_utils._guild_server_read import read_citus
from ansible_collections.dcm.platform.plugins.module_utils._guild_sql import Session


@dataclass(frozen=True)
class Question:
    """What is asked; ids None = the whole registry."""

    ids: Sequence[int] | None
    service_role: str
    list_guilds: bool
    migrations: MigrationSet | None
    connections: int
    explain: int
    drift: bool = False
    metrics: Target = field(default_factory=Target)
    guilds_expected: int = 0
    schema_sharding: str = "auto"


def answer(access: store.Access, question: Question) -> dict[str, Any]:
    try:
        with access.connect("guild info") as conn:
            if not store.has_registry(conn):
                raise PlatformError("the database holds no guild registry (schema dcm): run the role guild_data first")
            current = store.read_current(conn, question.service_role, question.ids)
            found = _describe(question, current)
            guilds = max(store.count_guilds(conn), question.guilds_expected)
            load = capacity.Load(guilds, 0, question.connections)
            found["settings"] = [finding.as_dict() for finding in capacity.findings(store.read_settings(conn), load)]
            found["sizing"] = asdict(capacity.sizing(guilds))
            found["citus"] = read_citus(conn)
            if question.migrations is not None and question.drift:
                found["drift"] = _drift(access, conn, question, question.migrations, current)
            return {**found, "problems": _publish(question, current, found["drift"])}
    except psycopg.Error as problem:
        raise PlatformError(f"Postgres refused: {' '.join(str(problem).split())} [{problem.sqlstate or 'connection'}]") from problem


def _describe(question: Question, current: dict[int, Current]) -> dict[str, Any]:
    rows = sorted(current.values(), key=lambda guild: guild.guild_id)
    return {
        "totals": {
            "guilds": len(rows),
            "states": dict(Counter(guild.state for guild in rows)),
            "versions": dict(Counter(guild.version for guild in rows)),
            "plans": dict(Counter(guild.plan for guild in rows)),
            "placements": dict(Counter(guild.placement for guild in rows)),
        },
        "guilds": [_row(guild) for guild in rows] if question.list_guilds else [],
        "unknown": [str(guild_id) for guild_id in question.ids or () if guild_id not in current],
        "drift": None,
    }


def _publish(question: Question, current: dict[int, Current], drifted: dict[str, Any] | None) -> list[str]:
    if not question.metrics:
        return []
    placed = Counter((guild.placement, guild.state, guild.version) for guild in current.values())
    newest = question.migrations.version if question.migrations else ""
    problem = question.metrics.write(fleet_metrics(placed, newest, len(drifted["differing"]) if drifted else None, time.time()))
    return [problem] if problem else []


def _row(guild: Current) -> dict[str, str]:
    return {
        "id": str(guild.guild_id),
        "state": guild.state,
        "plan": guild.plan,
        "placement": guild.placement,
        "version": guild.version,
    }


def _drift(
    access: store.Access, conn: store.Conn, question: Question, migrations: MigrationSet, current: dict[int, Current]
) -> dict[str, Any]:
    """Each guild against the schema that its own history makes; only the ones that differ are read in full."""
    judged = judge(access, conn, question, migrations, current)
    explained = [_explain(conn, question, current[i], judged) for i in judged.differing[: question.explain]]
    return {"checked": len(current), "differing": [str(guild_id) for guild_id in judged.differing], "explained": explained}


@dataclass(frozen=True)
class Judged:
    """The fleet beside what its migrations make: lines for each history, the fingerprint that most guilds of it have, who differs."""

    expected: dict[str, set[str]]
    prints: dict[int, str]
    usual: dict[str, str]
    differing: list[int]


def judge(access: store.Access, conn: store.Conn, question: Question, migrations: MigrationSet, current: dict[int, Current]) -> Judged:
    spread = sharding(question.schema_sharding, read_citus(conn), conn.info.dbname)
    session = Session(question.service_role, store.is_superuser(conn), "", "", spread)
    prints = drift.fingerprints(access, question.service_role, question.connections, question.ids)
    expected: dict[str, set[str]] = {}
    hashes: dict[str, str] = {}
    for digest in {guild.digest for guild in current.values()}:
        applied = drift.applied_prefix(migrations, digest)
        if applied is not None:
            expected[digest] = drift.expected_lines(conn, session, applied)
            hashes[digest] = drift.digest_lines(conn, expected[digest])
    usual = _usual(prints, current)
    # One that is on its way to another server is closed on purpose: nobody shall mend that.
    resting = {i: guild for i, guild in current.items() if guild.state != MOVING}
    differing = sorted(i for i, guild in resting.items() if prints.get(i) != hashes.get(guild.digest, usual.get(guild.digest)))
    return Judged(expected, prints, usual, differing)


def _usual(prints: dict[int, str], current: dict[int, Current]) -> dict[str, str]:
    """The fingerprint that most guilds of the same history have: the measure where that history cannot be made in one transaction."""
    votes: dict[str, Counter[str]] = {}
    for guild_id, fingerprint in prints.items():
        if guild_id in current:
            votes.setdefault(current[guild_id].digest, Counter())[fingerprint] += 1
    return {digest: counter.most_common(1)[0][0] for digest, counter in votes.items()}


def _explain(conn: store.Conn, question: Question, guild: Current, judged: Judged) -> dict[str, Any]:
    found = drift.lines_of(conn, question.service_role, guild.guild_id)
    wanted = judged.expected.get(guild.digest)
    if wanted is None:
        words = f"differs from most guilds of the same history ({judged.usual.get(guild.digest, 'none')})"
        return {"id": str(guild.guild_id), "missing": [], "extra": [], "note": words}
    difference = drift.compare(guild.guild_id, found, wanted)
    return {"id": str(guild.guild_id), "missing": list(difference.missing), "extra": list(difference.extra), "note": ""}
