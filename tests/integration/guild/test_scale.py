# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One bad guild among many, through the playbook: all others are done, and this one is named. DCM_CRASH_GUILDS sets how many."""

from __future__ import annotations

import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from .attack import GUILDS, MIGRATED, answer, assert_whole, note, operator, wait_for_growth
from .conftest import Lab

SMALL = "ALTER TABLE item ADD CONSTRAINT item_name_short CHECK (length(name) < 10);"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The migrations of a lab fill the other one."""
    made = tmp_path / "plays"
    made.mkdir()
    return made


def fleet(lab: Lab) -> list[int]:
    ids = lab.ids(GUILDS)
    lab.run(ids, connections=2, results="none")
    return ids


def poison(lab: Lab, guild_id: int) -> None:
    with lab.connect() as conn:
        conn.execute(psycopg.sql.SQL("INSERT INTO {} (name) VALUES ('much too long a name')").format(table(guild_id)))


def table(guild_id: int) -> psycopg.sql.Identifier:
    return psycopg.sql.Identifier(f"guild_{guild_id}", "item")


def bad_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in result["guilds"] if row["error"]]


def test_one_poisoned_guild_is_named_and_all_others_are_done(lab: Lab, folder: Path) -> None:
    ids = fleet(lab)
    bad = ids[GUILDS // 2]
    poison(lab, bad)
    file = lab.write(2, SMALL)
    with operator(lab, folder) as plays:
        result = plays.run(code=2, migrate_all=True, max_failures=10)
        assert (result["totals"]["migrated"], result["totals"]["failed"]) == (GUILDS - 1, 1)
        said = f'1 of {GUILDS} guilds failed: guild {bad}: {file}: check constraint "item_name_short" of relation "item" is violated'
        assert result["msg"].startswith(said), result["msg"]
        assert result["msg"].endswith("The same command again resumes.")
        assert [(row["id"], row["version"]) for row in bad_rows(result)] == [(str(bad), "1")]
        with lab.connect() as conn:
            conn.execute(psycopg.sql.SQL("DELETE FROM {}").format(table(bad)))
        again = plays.run(migrate_all=True)
    assert (again["totals"]["migrated"], again["totals"]["unchanged"]) == (1, GUILDS - 1)
    assert_whole(lab, ids, moved=True)
    note("one poisoned guild", guilds=GUILDS, said=result["msg"], totals=result["totals"])


def test_of_several_pending_migrations_the_one_that_fails_is_named(lab: Lab) -> None:
    """The server gives no position for a violated constraint."""
    good, bad = lab.ids(2)
    lab.run([good, bad])
    poison(lab, bad)
    lab.write(2, "CREATE TABLE part (id int PRIMARY KEY);")
    file = lab.write(3, SMALL)
    lab.write(4, "CREATE TABLE more (id int PRIMARY KEY);")
    result = lab.run(migrate_all=True)
    assert f"guild {bad}: {file}: check constraint" in result["failure"]
    assert (lab.tables(bad), lab.tables(good)) == (["item"], ["item", "more", "part"])
    assert lab.query("SELECT count(*) FROM dcm.guild_migration WHERE guild_id = %s", bad) == [(1,)]


def test_too_many_poisoned_guilds_stop_the_run(lab: Lab, folder: Path) -> None:
    ids = fleet(lab)
    for guild_id in ids[: GUILDS // 2]:
        poison(lab, guild_id)
    lab.write(2, SMALL)
    with operator(lab, folder) as plays:
        result = plays.run(code=2, migrate_all=True, max_failures=3)
    totals = result["totals"]
    assert 4 <= totals["failed"] <= 5  # one more than allowed, and the one that the other connection was at
    assert totals["migrated"] == 0
    assert totals["not_started"] == GUILDS - totals["failed"]
    note("max_failures", guilds=GUILDS, said=result["msg"], totals=totals)


def test_a_locked_guild_is_named_after_a_second_try(lab: Lab, folder: Path) -> None:
    ids = fleet(lab)
    lab.write(2, "ALTER TABLE item ADD COLUMN size int;")
    with operator(lab, folder) as plays, lab.connect(autocommit=False) as blocker:
        blocker.execute(psycopg.sql.SQL("LOCK TABLE {}").format(table(ids[0])))
        result = plays.run(code=2, migrate_all=True, lock_timeout=0.3)
        assert (result["totals"]["migrated"], result["totals"]["failed"]) == (GUILDS - 1, 1)
        assert [row["id"] for row in bad_rows(result)] == [str(ids[0])]
        assert "canceling statement due to lock timeout" in result["msg"]
    note("a locked guild", guilds=GUILDS, said=result["msg"])


def test_a_lock_that_goes_away_before_the_second_try_costs_nothing(lab: Lab, folder: Path) -> None:
    """The others take longer than the lock_timeout, so the first try of the locked one has failed when the last of them is done."""
    ids = lab.ids(10)
    lab.run(ids)
    lab.write(2, "ALTER TABLE item ADD COLUMN size int; SELECT pg_sleep(0.2);")
    with operator(lab, folder) as plays, lab.connect(autocommit=False) as blocker:
        blocker.execute(psycopg.sql.SQL("LOCK TABLE {}").format(table(ids[0])))
        running = plays.start(migrate_all=True, lock_timeout=0.5)
        wait_for_growth(lab, MIGRATED, 8, running)
        blocker.rollback()
        assert running.end() == 0, running.output
    assert answer(running)["totals"]["migrated"] == 10
    assert lab.query("SELECT guild_id FROM dcm.audit_log WHERE action = 'migrated' ORDER BY id DESC LIMIT 1") == [(ids[0],)]
    assert_whole(lab, ids, moved=True)


def test_a_run_with_nothing_to_do_writes_nothing(lab: Lab, folder: Path) -> None:
    """Neither a row nor a file of the registry changes, however many guilds there are."""
    ids = fleet(lab)
    before = lab.query("SELECT n_tup_ins + n_tup_upd + n_tup_del, relname FROM pg_stat_user_tables WHERE schemaname = 'dcm' ORDER BY 2")
    with operator(lab, folder) as plays:
        assert plays.run(guilds_file=plays.file(ids))["changed"] is False
        assert plays.run(migrate_all=True)["changed"] is False
        assert plays.run("--check", guilds_file=plays.file(ids))["changed"] is False
    after = lab.query("SELECT n_tup_ins + n_tup_upd + n_tup_del, relname FROM pg_stat_user_tables WHERE schemaname = 'dcm' ORDER BY 2")
    assert before == after


def test_memory_of_a_run_over_a_hundred_thousand_guilds(lab: Lab) -> None:
    """Every one of them is read, planned, and refused with a reason (there are no schemas): no run keeps more than that."""
    lab.run()
    with lab.connect() as conn:
        conn.execute(
            "INSERT INTO dcm.guild (guild_id, state, plan, placement) "
            "SELECT %s + number, 'active', 'free', 'default' FROM generate_series(1, 100000) number",
            (lab.ids(1)[0],),
        )
    options = {"check": True, "migrate_all": True, "max_failures": -1, "results": "none"}
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        lab.server = replace(lab.server, process=None)
        totals, kilobytes = pool.submit(measured, lab, options).result(timeout=300)
    assert totals["wanted"] == totals["failed"] == 100_000
    assert kilobytes < 300_000, f"{kilobytes} kB"
    note("memory", guilds=100_000, kilobytes=kilobytes)


def measured(lab: Lab, options: dict[str, Any]) -> tuple[dict[str, int], int]:
    totals = lab.run(**options)["totals"]
    return totals, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
