# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings that a number of guilds needs."""

from __future__ import annotations

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._guild_capacity import GIB, MIB, OK, REFUSE, WARN, Load, findings, normal

DEFAULTS = {
    "max_connections": 100,
    "max_locks_per_transaction": 64,
    "max_prepared_transactions": 0,
    "superuser_reserved_connections": 3,
    "max_wal_size": GIB,
    "shared_buffers": 128 * MIB,
    "autovacuum_naptime": 60_000,
}


@pytest.mark.parametrize(
    ("changed", "load", "expected"),
    [
        ({}, Load(100, 1, 4), {}),
        ({}, Load(1000, 1000, 4), {}),
        ({"max_connections": 12}, Load(10, 1, 4), {"max_connections": REFUSE}),
        ({"max_connections": 20, "max_locks_per_transaction": 20}, Load(10, 1, 8), {"max_locks_per_transaction": REFUSE}),
        ({}, Load(100_000, 90_000, 4), {"max_wal_size": WARN, "shared_buffers": WARN}),
        ({"autovacuum_naptime": 1000}, Load(5000, 0, 4), {"autovacuum_naptime": WARN, "shared_buffers": WARN}),
    ],
)
def test_what_is_too_small_is_named(changed: dict[str, int], load: Load, expected: dict[str, str]) -> None:
    found = findings({**DEFAULTS, **changed}, load)
    assert {finding.name: finding.severity for finding in found if finding.severity != OK} == expected


def test_values_are_told_in_units_people_use() -> None:
    texts = [finding.text() for finding in findings(DEFAULTS, Load(100_000, 90_000, 4))]
    assert any(text.startswith("max_wal_size is 1.0 GB, wanted at least 7.3 GB: 90,000 new guilds") for text in texts)
    assert any(text.startswith("shared_buffers is 128 MB, wanted at least 2.9 GB") for text in texts)


def test_units_of_the_server_become_numbers() -> None:
    rows = {
        "shared_buffers": ("16384", "8kB"),
        "max_wal_size": ("1024", "MB"),
        "autovacuum_naptime": ("60", "s"),
        "max_connections": ("9", ""),
    }
    assert normal(rows) == {"shared_buffers": 128 * MIB, "max_wal_size": GIB, "autovacuum_naptime": 60_000, "max_connections": 9}
