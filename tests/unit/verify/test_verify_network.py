# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is said about the connections that probes tried."""

from __future__ import annotations

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._verify import Broken
from ansible_collections.dcm.platform.plugins.module_utils._verify_network import NAMELESS, OPEN, Source, judge

WORKER = Source("dcm-services", "worker", frozenset({"redis"}))
STRANGER = Source("dcm-data", "")
REFUSED = "No route to host"


def test_exactly_what_is_needed() -> None:
    answers = {WORKER: {"redis": OPEN, "postgres": REFUSED}, STRANGER: {"redis": REFUSED, "postgres": "timed out"}}
    assert judge(answers) == "1 connections that are needed pass, 3 others fail"


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({WORKER: {"redis": OPEN, "postgres": OPEN}, STRANGER: {"redis": REFUSED}}, "dcm-services/worker reaches postgres"),
        ({WORKER: {"redis": REFUSED}, STRANGER: {"redis": REFUSED}}, "dcm-services/worker does not reach redis: No route to host"),
        ({WORKER: {"redis": OPEN}, STRANGER: {"redis": NAMELESS}}, "dcm-data/a stranger cannot ask for redis: the name does not resolve"),
        (
            {WORKER: {"redis": OPEN, "postgres": OPEN}, STRANGER: {"redis": OPEN}},
            "all 2 pass: the network plugin of this cluster enforces no",
        ),
    ],
)
def test_what_is_wrong_is_named(answers: dict[Source, dict[str, str]], says: str) -> None:
    with pytest.raises(Broken) as error:
        judge(answers)
    assert says in error.value.found
