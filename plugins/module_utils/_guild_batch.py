# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Several guilds in one transaction, where that is safe: the same quick migration for each. One that fails makes all of them run singly.

A transaction costs about as much as a small migration does. Locks are held until its end: only guilds that were quick so far are put
together, and a slow migration runs guild by guild.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import psycopg
from ansible_collections.dcm.platform.plugins.module_utils import _guild_sql as build
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import MIGRATE, SUSPENDED, GuildPlan, Outcome
from ansible_collections.dcm.platform.plugins.module_utils._guild_store import Conn

LARGEST = 10
QUICK_SECONDS = 0.02


class Batches:
    """What one thread takes from the queue: a single guild until those have shown to be quick."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.quick = False

    def take(self, waiting: deque[GuildPlan]) -> list[GuildPlan]:
        """Raises IndexError where nothing is left. The caller holds the lock of the queue."""
        first = waiting.popleft()
        plans = [first]
        if not (self.quick and _plain(first)):
            return plans
        # At the end of the queue every thread shall have something to do.
        limit = min(LARGEST, 1 + len(waiting) // self.threads)
        while len(plans) < limit and waiting and _plain(waiting[0]) and waiting[0].segments == first.segments:
            plans.append(waiting.popleft())
        return plans

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        self.quick = all(not outcome.error and outcome.seconds < QUICK_SECONDS for outcome in outcomes)


def _plain(plan: GuildPlan) -> bool:
    """Nothing but one transaction's migrations: no change of who may become the guild's role."""
    leaves = plan.state == SUSPENDED and plan.before is not None and plan.before.has_member
    return plan.action == MIGRATE and len(plan.segments) == 1 and plan.segments[0].transactional and not (plan.grant_member or leaves)


def run_batch(conn: Conn, plans: Sequence[GuildPlan], session: build.Session) -> list[Outcome] | None:
    """All of them, or nothing at all: None asks for each guild to be run by itself."""
    start = time.monotonic()
    try:
        conn.execute(build.batch_script(plans, session).encode())
    except psycopg.Error:
        return None
    seconds = (time.monotonic() - start) / len(plans)
    return [Outcome(plan, seconds) for plan in plans]
