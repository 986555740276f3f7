# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The promise about speed, measured: nothing to do over 20 releases takes at most a second beyond Ansible's own start."""

from __future__ import annotations

from tests.bench.helm_release import describe, run


def test_helm_release_beside_kubernetes_core_helm() -> None:
    numbers = run()
    print(f"\n{describe(numbers)}")
    cases = numbers["beyond_ansible_start_s"]
    assert cases["nothing to do"]["helm_release"] <= 1.0
    assert all(sides["times_faster"] > 2 for sides in cases.values())
