# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which software is new enough?"""

from __future__ import annotations

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._guard_software import COLLECTION, software_problems
from ansible_collections.dcm.platform.plugins.module_utils._guard_versions import fits, requirements, version_problems


@pytest.mark.parametrize(
    ("version", "spec", "fitting"),
    [
        ("6.6.0", ">=6.2.0,<7.0.0", True),
        ("7.0.0", ">=6.2.0,<7.0.0", False),
        ("2.19.0rc1", ">=2.18", True),
        (None, ">=1", False),
        ("banana", ">=1", False),
        ("1.0", "*", True),
        ("1.0", "", True),
    ],
)
def test_ranges(version: str | None, spec: str, fitting: bool) -> None:
    assert fits(version, spec) is fitting


def test_each_problem_says_what_to_do() -> None:
    problems = version_problems(
        "collection", {"a.b": ">=2", "c.d": ">=1", "e.f": ">=1"}, {"a.b": "1.0", "c.d": None, "e.f": "1"}, "install it"
    )
    assert problems == ["collection a.b 1.0, wanted >=2: install it", "collection c.d is missing, wanted >=1: install it"]


def test_requirements_are_read_as_pip_does() -> None:
    text = "# comment\npsycopg[binary]>=3.3,<4  # why\n\nold>=1; python_version < '3.0'\nkubernetes>=35\n"
    assert {name: sorted(spec.split(",")) for name, spec in requirements(text).items()} == {
        "psycopg": ["<4", ">=3.3"],
        "kubernetes": [">=35"],
    }


def test_the_toolchain_of_this_project_fits() -> None:
    assert software_problems(COLLECTION) == []
