# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which guilds share a transaction."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._guild_batch import LARGEST, QUICK_SECONDS, Batches
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import CREATE, MIGRATE, Current, GuildPlan, Outcome, Segment

SEGMENT = Segment((), True, "2", "d2")
BEFORE = Current(1, "active", "free", "default", "1", "d1")


def plan(number: int) -> GuildPlan:
    return GuildPlan(number, MIGRATE, replace(BEFORE, guild_id=number), "active", "free", "default", (SEGMENT,))


def quick(threads: int = 1) -> Batches:
    made = Batches(threads)
    made.learn([Outcome(plan(1), QUICK_SECONDS / 2)])
    return made


def test_the_first_guild_goes_alone() -> None:
    waiting = deque(plan(number) for number in range(50))
    assert len(Batches(1).take(waiting)) == 1
    assert len(quick().take(waiting)) == LARGEST


@pytest.mark.parametrize("outcome", [Outcome(plan(1), QUICK_SECONDS * 2), Outcome(plan(1), 0.001, "lock timeout")])
def test_after_a_slow_or_failed_one_guilds_go_alone_again(outcome: Outcome) -> None:
    batches = quick()
    batches.learn([Outcome(plan(2), 0.001), outcome])
    assert len(batches.take(deque(plan(number) for number in range(50)))) == 1


@pytest.mark.parametrize(
    "other",
    [
        replace(plan(9), action=CREATE, before=None),
        replace(plan(9), segments=(Segment((), True, "3", "d3"),)),
        replace(plan(9), segments=(replace(SEGMENT, transactional=False),)),
        replace(plan(9), segments=(SEGMENT, SEGMENT)),
        replace(plan(9), grant_member=True),
        replace(plan(9), state="suspended"),
    ],
)
def test_only_the_same_plain_migration_is_put_together(other: GuildPlan) -> None:
    waiting = deque([plan(1), plan(2), other, plan(3)] + [plan(number) for number in range(20, 40)])
    batches = quick()
    assert [one.guild_id for one in batches.take(waiting)] == [1, 2]
    assert [one.guild_id for one in batches.take(waiting)] == [9]


def test_at_the_end_every_thread_has_something_to_do() -> None:
    waiting = deque(plan(number) for number in range(12))
    taken = [len(quick(4).take(waiting)) for _number in range(4)]
    assert max(taken) <= 3
    assert len(waiting) == 12 - sum(taken)
