# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Guilds from one real server to another: with everything they have, one home at every moment, whoever is killed meanwhile."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _guild_ending as ending
from ansible_collections.dcm.platform.plugins.module_utils import _guild_move as one
from ansible_collections.dcm.platform.plugins.module_utils import _guild_moves as moves
from ansible_collections.dcm.platform.plugins.module_utils import _guild_report as report
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_copy import export_guild
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import read_migrations
from ansible_collections.dcm.platform.plugins.module_utils._guild_sql import Session
from ansible_collections.dcm.platform.plugins.module_utils._guild_store import Access

from tests.support.postgres import PostgresServer, running_postgres

from .attack import dice, note
from .conftest import CONTROL, ROOT, Lab

RUN = "00000000-0000-0000-0000-000000000001"
KILLS = int(os.environ.get("DCM_TEST_KILLS", "20"))
TABLES = """
CREATE TABLE item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(40), body text, at timestamptz NOT NULL DEFAULT now(),
    shout text GENERATED ALWAYS AS (upper(name)) STORED);
CREATE TABLE part (item bigint NOT NULL REFERENCES item, "odd name" text, n double precision, PRIMARY KEY (item, n));
CREATE TABLE bare (word text);
CREATE SEQUENCE ticket START 100;
INSERT INTO item (name) VALUES ('of the migration');
"""
FILL = """
INSERT INTO item (name, body) SELECT 'n' || i, repeat(md5(i::text), 10) FROM generate_series(1, {rows}) i;
INSERT INTO item (name, body) VALUES (E'tab\\t line\\n back\\\\slash \\U0001F980', repeat('x', 3000000));
INSERT INTO part SELECT id, NULL, id / 3.0 FROM item;
INSERT INTO bare VALUES ('twice'), ('twice'), (NULL), ('');
SELECT nextval('ticket'), nextval('ticket');
"""


class Pair:
    """Two servers with the same migrations: the guilds begin on the first."""

    def __init__(self, first: Lab, second: Lab) -> None:
        self.first, self.second = first, second
        second.number = first.number
        self.accesses = {"default": self.access(first), "second": self.access(second)}
        first.run([])
        self.on_second([])

    @staticmethod
    def access(lab: Lab, **other: Any) -> Access:
        return lab.access(lock_timeout=1.0, **other)

    def on_second(self, ids: list[int]) -> None:
        self.second.run(ids)

    def onboard(self, count: int, rows: int = 50) -> list[int]:
        ids = self.first.ids(count)
        assert self.first.run(ids)["totals"]["failed"] == 0
        for guild_id in ids if rows else ():
            self.write(self.first, guild_id, FILL.format(rows=rows))
        return ids

    @staticmethod
    def write(lab: Lab, guild_id: int, text: str) -> None:
        with lab.connect() as conn, conn.transaction():
            conn.execute(f"SET LOCAL ROLE guild_{guild_id}_owner; SET LOCAL search_path = guild_{guild_id}")
            conn.execute(text.encode())

    def request(self, ids: list[int], placement: str = "second", goal: str = one.MOVED, **other: Any) -> moves.Request:
        sets = (read_migrations(self.first.migrations), read_migrations(CONTROL))
        return moves.Request(ids, goal, placement, *sets, RUN, "tester", self.first.service, **{"connections": 2, **other})

    def move(self, ids: list[int], placement: str = "second", goal: str = one.MOVED, **other: Any) -> dict[str, Any]:
        accesses = other.pop("accesses", self.accesses)
        return moves.Moves(self.request(ids, placement, goal, **other), accesses).run()

    def states(self, lab: Lab) -> dict[int, str]:
        return dict(lab.query("SELECT guild_id, state FROM dcm.guild"))

    def digest(self, lab: Lab, guild_id: int, folder: Path) -> tuple[Any, ...]:
        """Hashes of all tables, positions of sequences, and the ledger."""
        with lab.access().connect() as conn:
            manifest = export_guild(conn, guild_id, folder / f"{lab.database}-{time.monotonic_ns()}", Session("", True, RUN, "tester"))
        tables = {name: (table.rows, table.sha256) for name, table in manifest.tables.items()}
        return tables, dict(manifest.sequences), manifest.ledger

    def reach(self, lab: Lab, guild_id: int) -> None:
        with lab.as_service() as conn:
            conn.execute(f"SET LOCAL ROLE guild_{guild_id}_app; SET LOCAL search_path = guild_{guild_id}")
            conn.execute("SELECT count(*) FROM item")

    def nothing_left(self, lab: Lab, guild_id: int) -> bool:
        names = [f"guild_{guild_id}", f"guild_{guild_id}_owner", f"guild_{guild_id}_app"]
        tables = ("guild", "guild_migration", "guild_seed", "guild_offboarding", "guild_move")
        query = "SELECT nspname FROM pg_namespace WHERE nspname = ANY (%s) UNION ALL SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)"
        rows = [row for table in tables for row in lab.query(f"TABLE dcm.{table}") if row[0] == guild_id]
        return lab.query(query, names, names) == [] and rows == []


@pytest.fixture(scope="session")
def other_server() -> Iterator[PostgresServer]:
    with running_postgres({"max_locks_per_transaction": "512", "fsync": "off"}) as running:
        yield running


@pytest.fixture
def pair(server: PostgresServer, other_server: PostgresServer, tmp_path: Path) -> Pair:
    folder = tmp_path / "migrations"
    folder.mkdir()
    first = Lab(server, str(folder))
    first.write(1, TABLES)
    first.write(2, "CREATE INDEX CONCURRENTLY item_name_idx ON item (name);", " transaction:false")
    return Pair(first, Lab(other_server, str(folder)))


def test_a_guild_moves_with_everything_it_has(pair: Pair, tmp_path: Path) -> None:
    guild_id, stays = pair.onboard(2)
    trigger = "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.at = clock_timestamp(); RETURN NEW; END';"
    pair.first.write(3, trigger + "CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON item FOR EACH ROW EXECUTE FUNCTION stamp();")
    pair.first.run([guild_id], state="migrated")
    created = pair.first.query("SELECT created_at, plan, schema_version, ledger_digest FROM dcm.guild WHERE guild_id = %s", guild_id)
    before, expected = pair.digest(pair.first, guild_id, tmp_path), pair.first.fingerprints()[guild_id]
    predicted = pair.move([guild_id], check=True)
    assert (predicted["changed"], predicted["totals"]["moved"]) == (True, 1)
    assert predicted["diff"] == {"before": f"guild {guild_id}: placement default\n", "after": f"guild {guild_id}: placement second\n"}
    assert pair.states(pair.second) == {}
    result = pair.move([guild_id])
    assert (result["failure"], result["totals"]["moved"], result["guilds"][0]["rows"]) == ("", 1, 108)
    assert set(result) == set(predicted)
    assert pair.digest(pair.second, guild_id, tmp_path) == before
    row = "SELECT created_at, plan, schema_version, ledger_digest FROM dcm.guild WHERE guild_id = %s AND placement = 'second'"
    assert pair.second.query(row, guild_id) == created
    assert pair.nothing_left(pair.first, guild_id)
    assert pair.second.query("SELECT count(*) FROM dcm.guild_move") == [(0,)]
    assert pair.first.query("SELECT guild_id, kind FROM dcm.guild_erasure") == [(guild_id, "moved")]
    pair.reach(pair.second, guild_id)
    pair.reach(pair.first, stays)
    assert pair.second.fingerprints() == {guild_id: expected}
    pair.write(pair.second, guild_id, "INSERT INTO item (name) VALUES ('next'); SELECT 1 / (nextval('ticket') = 102)::int")
    again = pair.move([guild_id])
    assert (again["changed"], again["totals"]["unchanged"]) == (False, 1)
    assert pair.move([guild_id], "default")["totals"]["moved"] == 1
    assert (pair.states(pair.first), pair.states(pair.second)) == ({guild_id: "active", stays: "active"}, {})


def manage(lab: Lab) -> None:
    """As on managed servers: CREATEROLE, owner of the database, nothing else."""
    with lab.connect() as conn:
        conn.execute(f"CREATE ROLE manager_{lab.number} LOGIN CREATEROLE PASSWORD 'manager password'")
        conn.execute(f"ALTER DATABASE {lab.database} OWNER TO manager_{lab.number}; ALTER SCHEMA public OWNER TO manager_{lab.number}")
        conn.execute("DO $$ BEGIN CREATE ROLE dcm_directory; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        conn.execute(f"GRANT dcm_directory TO manager_{lab.number} WITH ADMIN OPTION")
    lab.user, lab.password = f"manager_{lab.number}", "manager password"


def test_moves_without_a_superuser(
    server: PostgresServer, other_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labs = []
    for running in (server, other_server):
        labs.append(Lab(running, str(tmp_path)))
        labs[-1].number = labs[0].number
        manage(labs[-1])
    labs[0].write(1, TABLES)
    pair = Pair(*labs)
    guild_id = pair.onboard(1, rows=0)[0]
    stopped_after(pair, monkeypatch, guild_id, one.FILL)
    assert pair.move([guild_id], goal=one.CANCELLED)["failure"] == ""
    pair.reach(pair.first, guild_id)
    assert pair.move([guild_id])["failure"] == ""
    pair.reach(pair.second, guild_id)
    assert pair.nothing_left(pair.first, guild_id)
    members = "SELECT count(*) FROM pg_auth_members WHERE member = %s::regrole"
    assert [lab.query(members, lab.user) for lab in labs] == [[(1,)], [(1,)]]


def test_a_suspended_guild_on_its_way_out_takes_its_bookings_along(pair: Pair) -> None:
    guild_id = pair.onboard(1)[0]
    pair.first.run([guild_id], state="suspended")
    with pair.first.connect() as conn:
        conn.execute("INSERT INTO dcm.guild_seed (guild_id, version, checksum) VALUES (%s, '7', 'c')", (guild_id,))
        conn.execute("INSERT INTO dcm.guild_offboarding VALUES (%s, 'asked', 'me', now(), now() + interval '3 days')", (guild_id,))
    query = "SELECT o.*, s.* FROM dcm.guild_offboarding o JOIN dcm.guild_seed s USING (guild_id)"
    booked = pair.first.query(query)
    assert pair.move([guild_id])["failure"] == ""
    assert pair.second.query(query) == booked
    assert pair.states(pair.second) == {guild_id: "suspended"}
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        pair.reach(pair.second, guild_id)
    assert pair.nothing_left(pair.first, guild_id)


def test_what_moved_away_is_not_certified_as_erased(pair: Pair, tmp_path: Path) -> None:
    guild_id = pair.onboard(1, rows=0)[0]
    pair.move([guild_id])
    options = {"state": "erased", "guilds": [str(guild_id)], "guilds_file": None, "migrations_dir": pair.first.migrations}
    options |= {"control_migrations_dir": CONTROL, "reason": "r", "grace_days": 1, "skip_grace": True, "archive_dir": None, "export": False}
    options |= {"without_archive": True, "certificate_dir": str(tmp_path), "service_role": pair.first.service}
    with pytest.raises(PlatformError, match="it is not registered, and was never erased here"):
        ending.end(options, pair.first.access(), RUN, "tester", False)


def test_refusals_change_nothing(pair: Pair) -> None:
    here, drifted, in_the_way, unknown = [*pair.onboard(3, rows=1), pair.first.ids(9)[8]]
    with pair.first.connect() as conn:
        conn.execute(f"CREATE INDEX by_hand ON guild_{drifted}.item (at)")
    with pair.second.connect() as conn:
        conn.execute(f"CREATE SCHEMA guild_{in_the_way}")
    result = pair.move([drifted, in_the_way, unknown])
    errors = {row["id"]: row["error"] for row in result["guilds"]}
    assert "its schema is not what its migrations make" in errors[str(drifted)]
    assert errors[str(in_the_way)] == f"schema guild_{in_the_way} exists on 'second', but its registry does not know the guild"
    assert errors[str(unknown)] == "it is not registered on any placement"
    assert result["totals"]["failed"] == 3
    assert not result["changed"]
    for accesses, words in (
        ({**pair.accesses, "second": pair.access(pair.second, port=1)}, "placement 'second': cannot log in to Postgres"),
        ({"default": pair.accesses["default"]}, "there is no placement 'second'; there are default"),
        ({**pair.accesses, "second": pair.accesses["default"]}, "'default' and 'second' are the same server"),
    ):
        with pytest.raises(PlatformError, match=words):
            pair.move([here], accesses=accesses)
    with pytest.raises(PlatformError, match="cannot take them, nothing was changed: max_connections is 100"):
        pair.move([here], connections=200)
    pair.on_second([unknown])
    pair.first.run([unknown])
    assert "registered on several placements: default, second" in pair.move([unknown])["failure"]
    assert set(pair.states(pair.first).values()) == {"active"}
    assert pair.first.query("SELECT count(*) FROM dcm.guild_move") == [(0,)]
    pair.reach(pair.first, here)


def test_a_target_that_is_full_gives_the_guild_back(pair: Pair) -> None:
    """Full as a disk is: the server's processes may write no file larger than this."""
    guild_id, small = pair.onboard(2, rows=10)
    pair.write(
        pair.first,
        guild_id,
        "INSERT INTO bare SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 4000000) i GROUP BY i % 90",
    )
    with files_up_to(32 << 20), running_postgres({"fsync": "off"}) as full:
        lab = Lab(full, pair.second.migrations)
        lab.number = pair.first.number
        lab.run([])
        result = pair.move([guild_id, small], accesses={**pair.accesses, "second": pair.access(lab)})
        errors = {row["id"]: row["error"] for row in result["guilds"]}
        assert "could not extend file" in errors[str(guild_id)]
        assert errors[str(guild_id)].endswith("it stays on 'default', as it was")
        assert errors[str(small)] == ""
        assert pair.nothing_left(lab, guild_id)
    pair.reach(pair.first, guild_id)
    assert pair.states(pair.first) == {guild_id: "active"}


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """For whoever is started meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_who_writes_meanwhile_gets_an_error_or_is_waited_for(pair: Pair) -> None:
    """Services that never stop writing: what was told to be committed is on the target, all the rest was an error."""
    guild_id = pair.onboard(1, rows=2000)[0]
    written: list[int] = []
    refused: list[str] = []
    stop = threading.Event()

    def writer(number: int) -> None:
        for turn in range(1_000_000):
            if stop.is_set():
                return
            mark = number * 1_000_000 + turn
            try:
                with pair.first.as_service() as conn:
                    conn.execute(f"SET LOCAL ROLE guild_{guild_id}_app; SET LOCAL search_path = guild_{guild_id}")
                    time.sleep(0.002)
                    conn.execute("INSERT INTO bare VALUES (%s)", (str(mark),))
                    time.sleep(0.002)
                    conn.execute("INSERT INTO item (name) VALUES (%s)", (str(mark),))
                written.append(mark)
            except psycopg.Error as problem:
                refused.append(type(problem).__name__)
                time.sleep(0.01)

    threads = [threading.Thread(target=writer, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.5)
        result = pair.move([guild_id])
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert result["failure"] == ""
    found = {int(row[0]) for row in pair.second.query(f"TABLE guild_{guild_id}.bare") if (row[0] or "").isdigit()}
    items = {int(row[1]) for row in pair.second.query(f"TABLE guild_{guild_id}.item") if row[1].isdigit()}
    assert found == items == set(written)
    assert refused
    note("writers during a move", written=len(written), refused={name: refused.count(name) for name in set(refused)})


def test_an_open_transaction_with_the_role_cannot_write_any_more(pair: Pair) -> None:
    guild_id = pair.onboard(1, rows=10)[0]
    with pair.first.as_service() as conn:
        conn.execute(f"SET LOCAL ROLE guild_{guild_id}_app; SET LOCAL search_path = guild_{guild_id}")
        assert pair.move([guild_id])["failure"] == ""
        with pytest.raises((psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege, psycopg.errors.InternalError)):
            conn.execute("INSERT INTO bare VALUES ('late')")
    with pair.second.as_service() as conn:
        conn.execute(f"SET LOCAL ROLE guild_{guild_id}_app; SET LOCAL search_path = guild_{guild_id}")
        conn.execute("INSERT INTO bare VALUES ('held')")
        slow = pair.move([guild_id], "default")
        assert "lock timeout" in slow["failure"]
        assert "it stays on 'second', as it was" in slow["failure"]
        conn.commit()
    assert pair.states(pair.second) == {guild_id: "active"}
    assert pair.move([guild_id], "default")["failure"] == ""
    assert pair.first.query(f"TABLE guild_{guild_id}.bare").count(("held",)) == 1


@pytest.mark.parametrize("step", [one.FREEZE, one.CREATE_COPY, one.FILL])
def test_a_move_is_taken_back_before_the_switch(pair: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: str) -> None:
    guild_id = pair.onboard(1)[0]
    before, expected = pair.digest(pair.first, guild_id, tmp_path), pair.first.fingerprints()
    stopped_after(pair, monkeypatch, guild_id, step)
    assert pair.states(pair.first) == {guild_id: "moving"}
    for wanted in ("present", "migrated", "suspended"):
        assert "it is on its way to another placement" in pair.first.run([guild_id], state=wanted)["failure"]
    assert "on its way from 'default' to 'second'" in pair.move([guild_id], "default")["failure"]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        pair.reach(pair.first, guild_id)
    question = report.Question(None, pair.first.service, False, read_migrations(pair.first.migrations), 1, 0, drift=True)
    assert report.answer(pair.accesses["default"], question)["drift"]["differing"] == []
    assert pair.move([guild_id], goal=one.CANCELLED, check=True)["totals"]["cancelled"] == 1
    result = pair.move([guild_id], placement="", goal=one.CANCELLED)
    assert (result["failure"], result["totals"]["cancelled"]) == ("", 1)
    assert pair.states(pair.first) == {guild_id: "active"}
    assert pair.nothing_left(pair.second, guild_id)
    assert pair.digest(pair.first, guild_id, tmp_path) == before
    assert pair.first.fingerprints() == expected
    pair.reach(pair.first, guild_id)
    assert not pair.move([guild_id], placement="", goal=one.CANCELLED)["changed"]


def stopped_after(pair: Pair, monkeypatch: pytest.MonkeyPatch, guild_id: int, step: str) -> None:
    """As a process that ended there: nothing is taken back."""
    act = one.Mover._act

    def until(mover: one.Mover, now: str, *views: Any) -> None:
        act(mover, now, *views)
        if now == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(one.Mover, "_act", until)
        with pytest.raises(KeyboardInterrupt):
            pair.move([guild_id], connections=1)


def test_a_move_without_its_target_is_taken_back_by_the_source_alone(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    guild_id = pair.onboard(1)[0]
    stopped_after(pair, monkeypatch, guild_id, one.FILL)
    away = {**pair.accesses, "second": pair.access(pair.second, port=1)}
    assert pair.move([guild_id], goal=one.CANCELLED, accesses=away)["totals"]["cancelled"] == 1
    pair.reach(pair.first, guild_id)
    assert pair.states(pair.second) == {guild_id: "moving"}
    assert pair.move([guild_id])["failure"] == ""
    assert (pair.states(pair.first), pair.states(pair.second)) == ({}, {guild_id: "active"})


@pytest.mark.parametrize("step", [one.SWITCH, one.REMOVE])
def test_after_the_switch_there_is_only_forward(pair: Pair, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    guild_id = pair.onboard(1)[0]
    stopped_after(pair, monkeypatch, guild_id, step)
    pair.reach(pair.second, guild_id)
    if step == one.SWITCH:
        assert "has been switched to 'second' already" in pair.move([guild_id], goal=one.CANCELLED)["failure"]
    assert pair.move([guild_id])["totals"]["moved"] == 1
    assert (pair.states(pair.first), pair.states(pair.second)) == ({}, {guild_id: "active"})
    assert pair.second.query("SELECT count(*) FROM dcm.guild_move") == [(0,)]


def test_two_operators_move_the_same_guilds_at_the_same_moment(pair: Pair, tmp_path: Path) -> None:
    ids = pair.onboard(12)
    before = {guild_id: pair.digest(pair.first, guild_id, tmp_path) for guild_id in ids}
    results: list[dict[str, Any]] = []
    operators = [threading.Thread(target=lambda: results.append(pair.move(ids))) for _number in range(2)]
    for operator in operators:
        operator.start()
    for operator in operators:
        operator.join()
    assert [result["failure"] for result in results] == ["", ""]
    assert pair.states(pair.second) == dict.fromkeys(ids, "active")
    assert pair.states(pair.first) == {}
    assert pair.first.query("SELECT count(*) FROM dcm.guild_erasure") == [(12,)]
    assert {guild_id: pair.digest(pair.second, guild_id, tmp_path) for guild_id in ids} == before


MOVER = """
import os, sys
sys.path.insert(0, {root!r})
from ansible_collections.dcm.platform.plugins.module_utils import _guild_moves as moves
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import read_migrations
from ansible_collections.dcm.platform.plugins.module_utils._guild_store import Access
accesses = {{name: Access(parameters, 1.0) for name, parameters in {parameters!r}.items()}}
sets = (read_migrations({migrations!r}), read_migrations({control!r}))
request = moves.Request({ids!r}, "moved", {target!r}, *sets, {run!r}, "killed", {service!r}, connections=2)
print("begun", flush=True)
print(moves.Moves(request, accesses).run()["failure"], flush=True)
"""


def start_mover(pair: Pair, ids: list[int], target: str, folder: Path) -> subprocess.Popen[str]:
    script = folder / "mover.py"
    values = {
        "root": str(ROOT / "collections"),
        "parameters": {name: dict(access.parameters) for name, access in pair.accesses.items()},
        "ids": ids,
        "target": target,
        "migrations": pair.first.migrations,
        "control": CONTROL,
        "run": RUN,
        "service": pair.first.service,
    }
    script.touch(0o600)
    script.write_text(MOVER.format(**values))
    child = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n"
    return child


def test_a_mover_killed_at_random_moments_is_resumed(pair: Pair, tmp_path: Path) -> None:
    """There and back again, until there were enough kills; after each, no guild has two homes, and none is lost."""
    chance = dice("move")
    ids = pair.onboard(10, rows=200)
    before = {guild_id: pair.digest(pair.first, guild_id, tmp_path) for guild_id in ids}
    kills, seen, target = 0, set(), "second"
    while kills < KILLS:
        child = start_mover(pair, ids, target, tmp_path)
        time.sleep(chance.uniform(0.02, 0.8))
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.wait(30)
        here, there = pair.states(pair.first), pair.states(pair.second)
        for guild_id in ids:
            pairing = (here.get(guild_id), there.get(guild_id))
            seen.add(pairing if target == "second" else pairing[::-1])
            assert pairing.count("active") <= 1, pairing
            assert "active" in pairing or "moving" in pairing, pairing
        if chance.random() < 0.4 or all(guild_id in there for guild_id in ids):
            result = retry(pair, ids, target)
            assert result["failure"] == ""
            lab, empty = (pair.second, pair.first) if target == "second" else (pair.first, pair.second)
            assert (pair.states(lab), pair.states(empty)) == (dict.fromkeys(ids, "active"), {})
            assert {guild_id: pair.digest(lab, guild_id, tmp_path) for guild_id in ids} == before
            assert all(pair.nothing_left(empty, guild_id) for guild_id in ids)
            target = "default" if target == "second" else "second"
    note("kill -9 of a mover", guilds=len(ids), kills=kills, states_seen=sorted(map(str, seen)))


def retry(pair: Pair, ids: list[int], target: str) -> dict[str, Any]:
    """The server notices the end of a killed client when it next writes to it: a lock may last for a moment."""
    for _number in range(5):
        result = pair.move(ids, target)
        if not result["failure"]:
            return result
    return result


def test_two_hundred_guilds_move_and_are_counted(pair: Pair, tmp_path: Path) -> None:
    ids = pair.onboard(200, rows=0)
    for guild_id in ids:
        pair.write(pair.first, guild_id, "INSERT INTO item (name) SELECT 'n' || i FROM generate_series(1, 100) i")
    expected = pair.first.fingerprints()
    progress = tmp_path / "progress"
    start = time.monotonic()
    result = pair.move(ids, connections=4, progress_file=str(progress))
    seconds = time.monotonic() - start
    assert (result["failure"], result["totals"]["moved"]) == ("", 200)
    assert "200" in progress.read_text()
    assert pair.states(pair.second) == dict.fromkeys(ids, "active")
    assert pair.second.fingerprints() == expected
    start = time.monotonic()
    assert pair.move(ids)["totals"]["unchanged"] == 200
    note("200 guilds moved", seconds=round(seconds, 2), a_second=round(200 / seconds, 1), again=round(time.monotonic() - start, 2))
