# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whose lease is it?"""

from __future__ import annotations

import datetime as dt

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._guard_lease import DURATION, Holder, Lease, Verdict, held_message, judge

NOW = dt.datetime(2026, 11, 1, 12, 0, tzinfo=dt.UTC)
ME = Holder("ann", "laptop", 100, 5)
OTHER = Holder("bob", "desk", 200, 6)


def lease(holder: str, age: float | None) -> Lease:
    return Lease(holder, DURATION, None if age is None else NOW - dt.timedelta(seconds=age))


@pytest.mark.parametrize(
    ("found", "alive", "verdict"),
    [
        (None, None, Verdict.TAKE),
        (lease("", 1), None, Verdict.TAKE),
        (lease(ME.identity, 1), True, Verdict.TAKE),
        (lease(OTHER.identity, 1), None, Verdict.REFUSE),
        (lease(OTHER.identity, DURATION - 1), None, Verdict.REFUSE),
        (lease(OTHER.identity, DURATION + 1), None, Verdict.WATCH),
        (lease(OTHER.identity, DURATION + 1), True, Verdict.REFUSE),
        (lease(OTHER.identity, 1), False, Verdict.TAKE_OVER),
        (lease(OTHER.identity, None), None, Verdict.WATCH),
        (lease("written by hand", 1), None, Verdict.REFUSE),
        (lease("written by hand", DURATION + 1), None, Verdict.WATCH),
    ],
)
def test_verdicts(found: Lease | None, alive: bool | None, verdict: Verdict) -> None:
    assert judge(found, ME, NOW, alive) is verdict


def test_a_clock_that_runs_ahead_does_not_free_a_lease() -> None:
    assert judge(lease(OTHER.identity, -300), ME, NOW, None) is Verdict.REFUSE


@pytest.mark.parametrize("holder", [ME, OTHER, Holder("a@b", "c.d-e", 1, 0)])
def test_an_identity_reads_back(holder: Holder) -> None:
    assert Holder.parse(holder.identity) == holder


@pytest.mark.parametrize("text", ["", "x", "a@b", "a@b/x/1", "a/1/2", "a@b/1"])
def test_a_foreign_identity_is_nobody_of_ours(text: str) -> None:
    assert Holder.parse(text) is None


def test_the_message_names_the_holder() -> None:
    assert "bob@desk, process 200, last seen 3 s ago" in held_message(lease(OTHER.identity, 3), NOW)
