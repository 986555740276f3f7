# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long each phase of a run took."""

from __future__ import annotations

from ansible_collections.dcm.platform.plugins.module_utils._run_report import Phases, table


def test_plays_of_one_name_are_one_phase() -> None:
    phases = Phases()
    phases.begin("Guard", 10)
    phases.task()
    phases.begin("Data", 11)
    phases.task(changed=True)
    phases.begin("Guard", 14)
    phases.task(failed=True)
    phases.end(14.5)
    assert phases.report() == [
        {"name": "Guard", "seconds": 1.5, "tasks": 2, "changed": 0, "failed": 1},
        {"name": "Data", "seconds": 3.0, "tasks": 1, "changed": 1, "failed": 0},
    ]


def test_the_table_adds_up() -> None:
    phases = Phases()
    phases.begin("A long name", 0)
    phases.task(changed=True)
    phases.begin("B", 2)
    phases.task(failed=True)
    phases.end(3)
    lines = table(phases.report()).splitlines()
    assert lines[-1].split() == ["3.0", "2", "1"]
    assert lines[2].endswith("FAILED")


def test_a_run_without_plays() -> None:
    phases = Phases()
    phases.task(changed=True)
    phases.end(1)
    assert phases.report() == []
