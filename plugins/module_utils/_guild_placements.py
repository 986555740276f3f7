# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where guilds live: what each server of a site knows of them, and what follows from all of it together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import psycopg
from ansible_collections.dcm.platform.plugins.module_utils import _guild_store as store
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import MOVING, Unreachable, Wanted

OUT, IN = "out", "in"
COPYING, COPIED, SWITCHING, SWITCHED = "copying", "copied", "switching", "switched"
READ_VIEWS = """
SELECT w.id, g.state, g.plan, g.schema_version, g.ledger_digest, g.created_at, m.move_id::text, m.direction, m.placement, m.step, m.state
FROM unnest(%s::bigint[]) w (id) LEFT JOIN dcm.guild g ON g.guild_id = w.id LEFT JOIN dcm.guild_move m ON m.guild_id = w.id
WHERE g.guild_id IS NOT NULL OR m.guild_id IS NOT NULL
"""
READ_STATES = "SELECT guild_id, state FROM dcm.guild WHERE guild_id = ANY (%s::bigint[])"
# The same server under two names would make a move erase what it has just written.
WHO_ARE_YOU = "SELECT system_identifier::text || ' ' || pg_postmaster_start_time() FROM pg_control_system()"
NAMED = 5


@dataclass(frozen=True, slots=True)
class Booking:
    """One end of a move; placement is the other end, state what the guild was before."""

    move_id: str
    direction: str
    placement: str
    step: str
    state: str


@dataclass(frozen=True, slots=True)
class View:
    """What one server knows of a guild; state None = it is not registered there."""

    state: str | None = None
    plan: str = ""
    version: str = ""
    digest: str = ""
    created_at: datetime | None = None
    booking: Booking | None = None

    @property
    def lives_here(self) -> bool:
        return self.state not in (None, MOVING)


NOWHERE = View()
Views = Mapping[str, Mapping[int, View]]


def read_views(conn: store.Conn, ids: Sequence[int]) -> dict[int, View]:
    found = {}
    for row in conn.execute(READ_VIEWS.encode(), (list(ids),)):
        booking = Booking(*row[6:]) if row[6] else None
        found[row[0]] = View(row[1], row[2], row[3], row[4], row[5], booking) if row[1] else View(booking=booking)
    return found


def read_states(conn: store.Conn, ids: Sequence[int]) -> dict[int, View]:
    """Enough to find a guild, and possible on a server whose control schema is older, or not there yet."""
    if not store.has_registry(conn):
        return {}
    if store.has_table(conn, "guild_move"):
        return read_views(conn, ids)
    return {row[0]: View(row[1]) for row in conn.execute(READ_STATES, (list(ids),))}


def ask(name: str, access: store.Access | None, ids: Sequence[int], empty: bool) -> dict[int, View]:
    """What one server says. Empty: one that is not there yet has no guilds."""
    if access is None:
        return {}
    try:
        with access.connect("guild placements") as conn:
            return read_states(conn, ids)
    except psycopg.Error as problem:
        raise PlatformError(f"placement '{name}': Postgres refused: {' '.join(str(problem).split())}") from problem
    except Unreachable as problem:
        if empty:
            return {}
        raise PlatformError(f"placement '{name}': {problem}") from problem


def home_of(views: Views, guild_id: int) -> str | None:
    """Where it lives; while it moves, where its data is sure to be. Two homes are an error that somebody has to look at."""
    homes = [name for name, found in views.items() if found.get(guild_id, NOWHERE).lives_here]
    if len(homes) > 1:
        raise PlatformError(f"guild {guild_id} is registered on several placements: {', '.join(homes)}; only one of them can be right")
    leaving = [name for name, found in views.items() if _leaves(found.get(guild_id, NOWHERE))]
    arriving = [name for name, found in views.items() if found.get(guild_id, NOWHERE).state == MOVING]
    return next(iter([*homes, *leaving, *arriving]), None)


def _leaves(view: View) -> bool:
    return view.state == MOVING and view.booking is not None and view.booking.direction == OUT


@dataclass
class Routes:
    """Guilds by the placement they live on, or are to live on."""

    by_placement: dict[str, list[Wanted]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


def route(wanted: Sequence[Wanted], views: Views, default: str) -> Routes:
    """Pure. A guild that nobody knows goes where it is asked for, or to the default placement."""
    routes = Routes({name: [] for name in views})
    for guild in wanted:
        home = home_of(views, guild.guild_id)
        target = home or guild.placement or default
        if target not in views:
            routes.refused.append(f"guild {guild.guild_id}: there is no placement '{target}'; there are {', '.join(views)}")
        elif guild.placement and guild.placement != target:
            routes.refused.append(f"guild {guild.guild_id} lives on placement '{target}', not on '{guild.placement}': guild_move moves it")
        else:
            routes.by_placement[target].append(guild)
    return routes


def refuse_same_server(identities: Mapping[str, str]) -> None:
    seen: dict[str, str] = {}
    for name, identity in identities.items():
        if identity in seen:
            raise PlatformError(f"placements '{seen[identity]}' and '{name}' are the same server: give each of them a server of its own")
        seen[identity] = name


def identity(conn: store.Conn) -> str:
    row = conn.execute(WHO_ARE_YOU).fetchone()
    return str(row[0]) if row else ""


def shorten(words: Sequence[str]) -> str:
    more = [f"and {len(words) - NAMED:,} more"] if len(words) > NAMED else []
    return "; ".join([*words[:NAMED], *more])
