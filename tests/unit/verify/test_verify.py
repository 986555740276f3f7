# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How promises are chosen, ordered, given up and told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._verify import (
    BLOCKED,
    BROKEN,
    HELD,
    NOT_APPLICABLE,
    Broken,
    NotApplicable,
    Outcome,
    Promise,
    Round,
    choose,
    eventually,
)
from ansible_collections.dcm.platform.plugins.module_utils._verify_catalog import all_promises
from ansible_collections.dcm.platform.plugins.module_utils._verify_report import line


def raiser(error: Exception) -> Callable[[Any], str]:
    def check(_site: Any) -> str:
        raise error

    return check


def promise(name: str, check: Callable[[Any], str] = lambda _site: "seen", **more: Any) -> Promise:
    return Promise(name, f"title of {name}", check, "its log", **more)


def states(*promises: Promise, at_once: int = 4) -> dict[str, str]:
    return {outcome.promise.id: outcome.state for outcome in Round(promises, None, at_once).run(lambda _outcome: None)}


def test_each_way_to_end() -> None:
    assert states(
        promise("a.held"),
        promise("a.broken", raiser(Broken("1", "2"))),
        promise("a.none", raiser(NotApplicable("not here"))),
        promise("a.error", raiser(ConnectionError("gone"))),
    ) == {"a.held": HELD, "a.broken": BROKEN, "a.none": NOT_APPLICABLE, "a.error": BROKEN}


def test_what_needs_a_broken_one_is_not_asked() -> None:
    asked = []
    tail = promise("c.3", lambda _site: asked.append(1) or "x", needs=("b.2",))  # type: ignore[func-returns-value]
    found = states(promise("a.1", raiser(Broken("1", "2"))), promise("b.2", needs=("a.1",)), tail)
    assert found == {"a.1": BROKEN, "b.2": BLOCKED, "c.3": BLOCKED}
    assert not asked


def test_what_needs_one_that_does_not_apply_does_not_apply() -> None:
    assert states(promise("a.1", raiser(NotApplicable("no"))), promise("b.2", needs=("a.1",)))["b.2"] == NOT_APPLICABLE


def test_order_of_the_list_is_no_obstacle() -> None:
    assert list(states(promise("b.2", needs=("a.1",)), promise("a.1")).values()) == [HELD, HELD]


def test_independent_ones_run_side_by_side_but_not_too_many() -> None:
    lock, now, most = threading.Lock(), 0, 0

    def check(_site: Any) -> str:
        nonlocal now, most
        with lock:
            now, most = now + 1, max(most, now + 1)
        time.sleep(0.05)
        with lock:
            now -= 1
        return "x"

    states(*(promise(f"a.{number}", check) for number in range(9)), at_once=3)
    assert most == 3


def test_one_that_hangs_is_given_up_and_holds_nobody_up() -> None:
    release = threading.Event()
    started = time.monotonic()
    found = states(promise("a.hangs", lambda _site: str(release.wait(30)), timeout=0.2), promise("a.fine"), at_once=1)
    release.set()
    assert found == {"a.hangs": BROKEN, "a.fine": HELD}
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("only", "chosen"),
    [
        ([], ["a.1", "a.2", "b.3", "c.4"]),
        (["a"], ["a.1", "a.2"]),
        (["c.4"], ["a.1", "b.3", "c.4"]),
        (["b", "a.2"], ["a.1", "a.2", "b.3"]),
    ],
)
def test_choice_takes_what_is_needed_along(only: list[str], chosen: list[str]) -> None:
    promises = [promise("a.1"), promise("a.2"), promise("b.3", needs=("a.1",)), promise("c.4", needs=("b.3",))]
    assert [item.id for item in choose(promises, only)] == chosen


def test_an_unknown_promise_is_named() -> None:
    with pytest.raises(PlatformError, match=r"unknown promise b\.9; there are a\.1"):
        choose([promise("a.1")], ["b.9"])


def test_a_line_says_what_to_look_at_when_broken() -> None:
    text = line(Outcome(promise("a.1"), BROKEN, 1.25, expected="one", found="two"))
    assert "BROKEN" in text
    for part in ("expected: one", "found:    two", "look at:  its log"):
        assert part in text
    assert "\n" not in line(Outcome(promise("a.1"), HELD, 1.25, evidence="seen"))


def test_waiting_ends() -> None:
    answers = iter(["not yet", "not yet", None])
    assert eventually(lambda: next(answers), 5, "it", pause=0.01) < 5
    with pytest.raises(Broken, match=r"expected it within 0\.1 s; found still not"):
        eventually(lambda: "still not", 0.1, "it", pause=0.01)


def test_the_catalogue_is_sound() -> None:
    promises = all_promises()
    ids = [item.id for item in promises]
    assert len(ids) == len(set(ids))
    assert all(need in ids for item in promises for need in item.needs)
    assert all(item.title and item.look and item.title[0].isupper() for item in promises)
    assert choose(promises, []) == promises


def test_no_circle_in_what_promises_need() -> None:
    free = {item.id: set(item.needs) for item in all_promises()}
    while ready := [name for name, needs in free.items() if not needs]:
        for name in ready:
            del free[name]
        for needs in free.values():
            needs -= set(ready)
    assert not free
