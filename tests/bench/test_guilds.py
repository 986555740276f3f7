# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guild engine stays near what Postgres can do at all, and far from a playbook that loops."""

from __future__ import annotations

from tests.bench.guilds import describe, run


def test_guild_engine_beside_raw_sql_and_a_loop() -> None:
    numbers = run()
    print(f"\n{describe(numbers)}")
    share = numbers["throughput_of_raw"]
    assert share["onboard"]["server_cpu"] >= 0.8
    # Two statements on an empty table, ten guilds in a transaction, against the rows that ledger, registry and audit log get for them.
    assert share["migrate"]["server_cpu"] >= 0.6
    assert numbers["ms_per_guild"]["nothing"]["engine"]["wall"] <= 2.0
    assert numbers["times_the_loop"] >= 100
