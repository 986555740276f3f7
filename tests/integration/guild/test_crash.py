# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kill -9 at random moments, of the playbook and of the server's processes: the next run completes, nothing twice, nothing half."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.postgres import PostgresServer, running_postgres

from .attack import (
    GUILDS,
    KILLS,
    MIGRATED,
    ONBOARDED,
    Operator,
    Running,
    answer,
    assert_whole,
    count,
    dice,
    half_done,
    note,
    operator,
    wait_for_growth,
)
from .conftest import Lab

FIRST = "CREATE TABLE item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(40)); INSERT INTO item (name) VALUES ('seed');"
SECOND = "ALTER TABLE item ADD COLUMN size int NOT NULL DEFAULT 1; CREATE TABLE part (id int PRIMARY KEY);"
THIRD = "INSERT INTO part VALUES (1), (2); CREATE INDEX item_size_idx ON item (size);"
ENGINE = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name ^@ 'dcm guild '"


@pytest.fixture(scope="module")
def arena() -> Iterator[PostgresServer]:
    """A server that may crash: nobody else uses it."""
    settings = {"fsync": "off", "max_locks_per_transaction": "512", "wal_buffers": "64MB", "bgwriter_lru_maxpages": "0"}
    with running_postgres(settings) as running:
        yield running


@pytest.fixture
def range_lab(arena: PostgresServer, tmp_path: Path) -> Lab:
    folder = tmp_path / "migrations"
    folder.mkdir()
    made = Lab(arena, str(folder))
    made.write(1, FIRST)
    return made


class Target:
    """A fleet on its way from one state to the next, the plays that bring it there, and how far it is."""

    def __init__(self, lab: Lab, plays: Operator, kind: str) -> None:
        self.lab = lab
        self.plays = plays
        self.moved = kind == "migration"
        self.ids = lab.ids(GUILDS)
        lab.run(self.ids if self.moved else [], connections=2, results="none")
        lab.write(2, SECOND)
        lab.write(3, THIRD)
        self.progress = MIGRATED if self.moved else ONBOARDED
        self.options: dict[str, Any] = {"guilds_file": plays.file(self.ids), "state": "migrated" if self.moved else "present"}

    def start(self) -> Running:
        return self.plays.start(**self.options)

    def done(self) -> int:
        return count(self.lab, self.progress)

    def goal(self, chance: random.Random, kills_left: int) -> int:
        """So that the fleet is not complete before the last kill."""
        done = self.done()
        return done + chance.randint(0, max(1, (len(self.ids) - done) // kills_left))

    def assert_nothing_half(self) -> None:
        """The control schema is not there before the first transaction."""
        try:
            assert half_done(self.lab, len(self.lab.set().migrations), self.moved) == []
        except psycopg.errors.UndefinedTable:
            assert self.lab.query("SELECT count(*) FROM pg_namespace WHERE nspname ~ '^guild_'") == [(0,)]

    def finish(self) -> dict[str, int]:
        """The run that nobody disturbs."""
        totals: dict[str, int] = self.plays.run(**self.options)["totals"]
        assert totals["failed"] == totals["not_started"] == 0
        assert_whole(self.lab, self.ids, self.moved)
        assert self.plays.run(**self.options)["changed"] is False
        return totals


@pytest.mark.parametrize("kind", ["onboarding", "migration"])
def test_a_playbook_killed_at_random_moments_is_resumed(range_lab: Lab, tmp_path: Path, kind: str) -> None:
    chance = dice(kind)
    moments: list[int] = []
    with operator(range_lab, tmp_path) as plays:
        target = Target(range_lab, plays, kind)
        while len(moments) < KILLS:
            running = target.start()
            if chance.random() < 0.25:  # somewhere in start, plan or connect, not at a commit
                time.sleep(chance.uniform(0, 2))
            else:
                wait_for_growth(range_lab, target.progress, target.goal(chance, KILLS - len(moments)), running)
                time.sleep(chance.uniform(0, 0.03))
            alive = running.alive
            running.kill()
            target.assert_nothing_half()
            moments += [target.done()] if alive else []
            assert alive or target.done() == len(target.ids), running.output
            if not alive:
                break
        totals = target.finish()
    note("kill -9 of the playbook", kind=kind, guilds=GUILDS, kills=len(moments), done_at_kill=moments, last_run=totals)
    assert moments


def kill_backend(lab: Lab, chance: random.Random) -> bool:
    """kill -9 of one server process of the engine. The server then ends all others, which a watching connection sees, and recovers."""
    with lab.connect() as watcher:
        pids = [row[0] for row in watcher.execute(ENGINE).fetchall()]
        if not pids:
            return False
        try:
            os.kill(chance.choice(pids), signal.SIGKILL)
        except ProcessLookupError:
            return False
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                watcher.execute("SELECT pg_sleep(0.01)")
    return True


def wait_for_server(lab: Lab) -> None:
    while True:
        try:
            lab.query("SELECT 1")
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return


@pytest.mark.parametrize("kind", ["onboarding", "migration"])
def test_a_server_process_killed_at_random_moments_costs_a_second_run_at_most(range_lab: Lab, tmp_path: Path, kind: str) -> None:
    chance = dice(f"server {kind}")
    kills, runs, lost = 0, 0, 0
    with operator(range_lab, tmp_path) as plays:
        target = Target(range_lab, plays, kind)
        while kills < KILLS and target.done() < len(target.ids):
            running, runs = target.start(), runs + 1
            while running.alive and kills < KILLS:
                seen = wait_for_growth(range_lab, target.progress, target.goal(chance, KILLS - kills), running)
                time.sleep(chance.uniform(0, 0.03))
                kills += kill_backend(range_lab, chance)
                wait_for_server(range_lab)
                lost += max(0, seen - target.done())
                target.assert_nothing_half()
            code = running.end()
            assert "Traceback" not in running.output
            assert code == 0 or answer(running)["msg"], running.output
            assert code != 0 or target.done() == len(target.ids), "reported as done, but it is not there"
        totals = target.finish()
    note("kill -9 of a backend", kind=kind, guilds=GUILDS, kills=kills, runs=runs, lost_and_redone_at_least=lost, last_run=totals)
    assert kills


def test_what_a_crash_took_back_is_found_and_made_again(range_lab: Lab, tmp_path: Path) -> None:
    """The engine commits asynchronously. With the WAL writer stopped, what it has been told is committed is lost by a crash for sure."""
    with operator(range_lab, tmp_path) as plays:
        target = Target(range_lab, plays, "onboarding")
        range_lab.write(4, "SELECT pg_sleep(0.05);")
        running = target.start()
        wait_for_growth(range_lab, target.progress, 10, running)
        writer = range_lab.query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")[0][0]
        os.kill(writer, signal.SIGSTOP)
        wait_for_growth(range_lab, target.progress, 30, running)
        for pid in running.family():
            os.kill(pid, signal.SIGSTOP)
        told = target.done()
        assert kill_backend(range_lab, dice("lost"))
        wait_for_server(range_lab)
        left = target.done()
        for pid in running.family():
            os.kill(pid, signal.SIGCONT)
        code = running.end()
        assert left < told
        assert code != 0, "a run that may have lost something never ends well"
        totals = target.finish()
    note("asynchronous commits lost by a crash", committed=told, after_recovery=left, last_run=totals)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_playbook_ends_and_the_next_resumes(range_lab: Lab, tmp_path: Path, number: signal.Signals) -> None:
    with operator(range_lab, tmp_path) as plays:
        target = Target(range_lab, plays, "onboarding")
        running = target.start()
        wait_for_growth(range_lab, target.progress, GUILDS // 4, running)
        os.killpg(running.process.pid, number)
        code = running.end()
        assert code != 0
        assert running.orphans() == []
        target.assert_nothing_half()
        done = target.done()
        totals = target.finish()
    note("signal", signal=number.name, exit=code, done_at_signal=done, output=running.output[-300:], last_run=totals)


def test_a_server_restarted_in_the_middle_is_waited_for(arena: PostgresServer, range_lab: Lab, tmp_path: Path) -> None:
    with operator(range_lab, tmp_path) as plays:
        target = Target(range_lab, plays, "migration")
        running = target.start()
        wait_for_growth(range_lab, target.progress, GUILDS // 4, running)
        arena.stop()
        arena.start()
        code = running.end()
        target.assert_nothing_half()
        assert "Traceback" not in running.output
        result = answer(running)
        assert code != 0 or target.done() == GUILDS
        assert code == 0 or "The same command again resumes." in result["msg"]
        totals = target.finish()
    note("server stopped and started", exit=code, said=result.get("msg", ""), last_run=totals)


def test_two_operators_migrate_the_same_guilds_at_the_same_moment(range_lab: Lab, tmp_path: Path) -> None:
    with operator(range_lab, tmp_path) as plays:
        target = Target(range_lab, plays, "migration")
        both = [plays.start(migrate_all=True) for _operator in range(2)]
        codes = [running.end() for running in both]
        totals = [answer(running)["totals"] for running in both]
        assert codes == [0, 0], [running.output for running in both]
        assert sum(each["migrated"] for each in totals) == GUILDS
        assert_whole(range_lab, target.ids, moved=True)
    note("two operators", guilds=GUILDS, totals=totals)
