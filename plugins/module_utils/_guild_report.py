# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the registry knows about guilds, and whether their schemas are what their migrations make. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from ansible_collections.dcm.platform.plugins.module_utils import _guild_capacity as capacity
from ansible_collections.dcm.platform.plugins.module_utils import _guild_drift as drift
from ansible_collections.dcm.platform.plugins.module_utils import _guild_store as store
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import MigrationSet
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Current
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


def answer(access: store.Access, question: Question) -> dict[str, Any]:
    try:
        with access.connect("guild info") as conn:
            if not store.has_registry(conn):
                raise PlatformError("the database holds no guild registry (schema dcm): run the role guild_data first")
            current = store.read_current(conn, question.service_role, question.ids)
            found = _describe(question, current)
            load = capacity.Load(store.count_guilds(conn), 0, question.connections)
            found["settings"] = [finding.as_dict() for finding in capacity.findings(store.read_settings(conn), load)]
            if question.migrations is not None:
                found["drift"] = _drift(access, conn, question, question.migrations, current)
            return found
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
    session = Session(question.service_role, store.is_superuser(conn), "", "")
    prints = drift.fingerprints(access, question.service_role, question.connections, question.ids)
    expected: dict[str, set[str]] = {}
    hashes: dict[str, str] = {}
    for digest in {guild.digest for guild in current.values()}:
        applied = drift.applied_prefix(migrations, digest)
        if applied is not None:
            expected[digest] = drift.expected_lines(conn, session, applied)
            hashes[digest] = drift.digest_lines(conn, expected[digest])
    usual = _usual(prints, current)
    differing = [i for i, guild in current.items() if prints.get(i) != hashes.get(guild.digest, usual.get(guild.digest))]
    explained = [_explain(conn, question, current[i], expected, usual) for i in sorted(differing)[: question.explain]]
    return {"checked": len(current), "differing": [str(guild_id) for guild_id in sorted(differing)], "explained": explained}


def _usual(prints: dict[int, str], current: dict[int, Current]) -> dict[str, str]:
    """The fingerprint that most guilds of the same history have: the measure where that history cannot be made in one transaction."""
    votes: dict[str, Counter[str]] = {}
    for guild_id, fingerprint in prints.items():
        if guild_id in current:
            votes.setdefault(current[guild_id].digest, Counter())[fingerprint] += 1
    return {digest: counter.most_common(1)[0][0] for digest, counter in votes.items()}


def _explain(conn: store.Conn, question: Question, guild: Current, expected: dict[str, set[str]], usual: dict[str, str]) -> dict[str, Any]:
    found = drift.lines_of(conn, question.service_role, guild.guild_id)
    wanted = expected.get(guild.digest)
    if wanted is None:
        words = f"differs from most guilds of the same history ({usual.get(guild.digest, 'none')})"
        return {"id": str(guild.guild_id), "missing": [], "extra": [], "note": words}
    difference = drift.compare(guild.guild_id, found, wanted)
    return {"id": str(guild.guild_id), "missing": list(difference.missing), "extra": list(difference.extra), "note": ""}
