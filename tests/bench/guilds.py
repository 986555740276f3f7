# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guild engine beside the same DDL sent by hand: onboarding, nothing to do, one migration. Same server, same run, ratios.

By hand means: one multi-statement string a guild (for migrations, one for ten guilds: the fastest way found), prepared before the clock
starts, over as many connections as the engine uses, without registry, ledger, lock, audit log or any look at what is there. The engine does
all of that, and is held against it.

    python tests/bench/guilds.py --guilds 100 1000 10000 --json guilds.json --csv guilds.csv --plot guilds.svg

The loop over community.postgresql runs for a few guilds only: its cost per guild does not depend on their number until there are thousands.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    ROOT = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(ROOT), str(ROOT / "collections")]

from ansible_collections.dcm.platform.plugins.module_utils import _guild_archives as archives
from ansible_collections.dcm.platform.plugins.module_utils import _guild_drift as drift
from ansible_collections.dcm.platform.plugins.module_utils import _guild_sql as build
from ansible_collections.dcm.platform.plugins.module_utils._guild_engine import Engine, Request
from ansible_collections.dcm.platform.plugins.module_utils._guild_ids import owner_role, schema_name
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import read_migrations, segments
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Wanted
from ansible_collections.dcm.platform.plugins.module_utils._guild_plan import PlanContext
from ansible_collections.dcm.platform.plugins.module_utils._guild_store import Access

from tests.bench.guild_loop import loop_seconds
from tests.bench.guild_results import plot, rows, write_csv
from tests.support.postgres import PostgresServer, running_postgres

SOURCE = Path(__file__).resolve().parents[2]
CONTROL = str(SOURCE / "roles" / "guild_data" / "files" / "control")
FIRST = 1_100_000_000_000_000_000
NEXT = "-- migrate:up\nALTER TABLE settings ADD COLUMN note varchar(80);\nCREATE INDEX settings_note_idx ON settings (note);\n"
SETTINGS = {"max_locks_per_transaction": "512", "max_wal_size": "8GB", "checkpoint_timeout": "30min"}


KINDS = ("wall", "server_cpu")
TOGETHER = 10
LOOPED = 3
FILL = """
INSERT INTO {schema}.cleanup_action (event_id, channel_id, message_id, author_id, action, reason, trace_id)
SELECT md5(n::text), 1100000000000000000 + n % 9, 1200000000000000000 + n, 1300000000000000000 + n % 97, 'deleted',
    'matched the rule no-invites, pattern number ' || n % 13, md5((n + 1)::text)
FROM generate_series(1, {actions}) n
"""
TABLES = ("settings", "cleanup_rule", "cleanup_action")


class Bench:
    """One server, one database; the guilds of each contestant in turn."""

    def __init__(self, server: PostgresServer, guilds: int, connections: int, folder: Path, actions: int) -> None:
        self.server = server
        self.database = server.create_database("bench")
        self.guilds = guilds
        self.connections = connections
        self.actions = actions
        self.folder = folder
        self.used = 0
        for file in (SOURCE / "services" / "migrations").glob("*.sql"):
            (folder / file.name).write_text(file.read_text())
        self.first = read_migrations(str(folder))
        self.session = build.Session("dcm_service", True, str(uuid.uuid4()), "bench")
        self.engine([], self.first)

    def access(self) -> Access:
        login = {"user": self.server.user, "password": self.server.password}
        return Access({"host": self.server.host, "port": self.server.port, "dbname": self.database, **login})

    def ids(self) -> list[int]:
        self.used += self.guilds
        return list(range(FIRST + self.used, FIRST + self.used + self.guilds))

    def engine(self, ids: Sequence[int], migrations: Any, state: str = "present") -> None:
        request = Request(
            wanted=[Wanted(guild_id, state) for guild_id in ids],
            context=PlanContext(migrations, confirm_erase=frozenset(ids)),
            control=read_migrations(CONTROL),
            run_id=str(uuid.uuid4()),
            actor="bench",
            connections=self.connections,
            results="failed",
        )
        result = Engine(request, self.access()).run()
        if result["failure"]:
            raise RuntimeError(result["failure"])

    def by_hand(self, scripts: Sequence[bytes]) -> None:
        waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        for script in scripts:
            waiting.put(script)

        def work() -> None:
            with self.access().connect("bench") as conn:
                while True:
                    try:
                        script = waiting.get_nowait()
                    except queue.Empty:
                        return
                    conn.execute(script)

        threads = [threading.Thread(target=work) for _number in range(self.connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def provision_script(self, guild_id: int) -> bytes:
        return build.probe_script(guild_id, segments(self.first.migrations, "", "")[0], self.session).encode()

    def migrate_script(self, guild_id: int) -> bytes:
        head = f"SET LOCAL ROLE {owner_role(guild_id)}; SET LOCAL search_path = {schema_name(guild_id)};"
        return (head + NEXT.split("\n", 1)[1]).encode()

    def erase_script(self, guild_id: int) -> bytes:
        schema, owner = schema_name(guild_id), owner_role(guild_id)
        roles = f"DROP OWNED BY {owner}; DROP ROLE {schema}_app; DROP ROLE {owner};"
        return f"DROP SCHEMA {schema} CASCADE; {roles}".encode()

    def fill(self, ids: Sequence[int]) -> None:
        """What a guild that lives has to export; not measured."""
        with self.access().connect("bench") as conn:
            for guild_id in ids:
                conn.execute(FILL.format(schema=schema_name(guild_id), actions=self.actions).encode())

    def copy_by_hand(self, ids: Sequence[int], folder: Path) -> None:
        """Every table into a file, and nothing else: one connection after the other would be slower, more than these are not faster."""
        shares = [ids[number :: self.connections] for number in range(self.connections)]

        def work(share: Sequence[int]) -> None:
            with self.access().connect("bench") as conn:
                for guild_id in share:
                    for table in TABLES:
                        statement = f"COPY {schema_name(guild_id)}.{table} TO STDOUT"
                        with (
                            (folder / f"{guild_id}.{table}").open("wb") as file,
                            conn.cursor() as cursor,
                            cursor.copy(statement.encode()) as copy,
                        ):
                            for block in copy:
                                file.write(block)

        with ThreadPoolExecutor(self.connections) as pool:
            list(pool.map(work, shares))

    def export(self, ids: Sequence[int], folder: Path) -> None:
        job = archives.Job(archives.EXPORTED, ids, folder, False, self.connections, False, str(uuid.uuid4()), "bench")
        result = archives.run(job, self.access())
        if result["failure"]:
            raise RuntimeError(result["failure"])

    def loop(self) -> dict[str, float]:
        """The playbook that loops, as seconds for as many guilds as the others have."""
        ids = self.ids()[:LOOPED]
        login = {**self.server.login, "login_db": self.database}
        with tempfile.TemporaryDirectory() as folder:
            seconds = loop_seconds(login, ids, build.body_of(segments(self.first.migrations, "", "")[0]), TABLES, Path(folder))
        return {"wall": seconds / LOOPED * self.guilds}

    def measure(self, work: Callable[[], None]) -> dict[str, float]:
        """Wall seconds, and the CPU seconds of the server: the figure to trust on a shared machine."""
        cpu, start = self.cpu(), time.monotonic()
        work()
        wall = time.monotonic() - start
        return {"wall": wall, "server_cpu": self.cpu() - cpu}

    def cpu(self) -> float:
        """Of all processes of the server, once its backends have ended: what they used is then in the postmaster's account."""
        process = self.server.process
        assert process is not None
        while True:
            children = [_stat(int(path.name)) for path in Path("/proc").glob("[0-9]*")]
            mine = [child for child in children if child and child.parent == process.pid]
            if not any(child.backend for child in mine):
                own = _stat(process.pid)
                assert own is not None
                return (own.ended + sum(child.used for child in mine)) / os.sysconf("SC_CLK_TCK")
            time.sleep(0.02)


class _Process(NamedTuple):
    parent: int
    used: int
    ended: int
    backend: bool


def _stat(pid: int) -> _Process | None:
    """CPU ticks of a process and of its ended children."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        title = Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return None
    used, ended = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return _Process(int(fields[1]), used, ended, fields[0] == "Z" or "127.0.0.1" in title)


def one_round(bench: Bench, newest: Any, folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Each contestant with guilds of its own, from their first day to their last."""
    raw, own = bench.ids(), bench.ids()
    create = [bench.provision_script(guild_id) for guild_id in raw]
    single = [bench.migrate_script(guild_id) for guild_id in raw]
    migrate = [b";".join(single[start : start + TOGETHER]) for start in range(0, len(single), TOGETHER)]
    erase = [bench.erase_script(guild_id) for guild_id in raw]
    (folder / "raw").mkdir(parents=True)
    found = {
        "onboard": {"raw": bench.measure(lambda: bench.by_hand(create)), "engine": bench.measure(lambda: bench.engine(own, bench.first))},
        "nothing": {"engine": bench.measure(lambda: bench.engine(own, bench.first))},
        "migrate": {
            "raw": bench.measure(lambda: bench.by_hand(migrate)),
            "engine": bench.measure(lambda: bench.engine(own, newest, "migrated")),
        },
    }
    bench.fill([*raw, *own])
    return {
        **found,
        "export": {
            "raw": bench.measure(lambda: bench.copy_by_hand(raw, folder / "raw")),
            "engine": bench.measure(lambda: bench.export(own, folder / "engine")),
        },
        "drift": {"engine": bench.measure(lambda: _drift(bench, own))},
        "erase": {"raw": bench.measure(lambda: bench.by_hand(erase)), "engine": bench.measure(lambda: bench.engine(own, newest, "absent"))},
    }


def run(guilds: int = 200, connections: int = 2, rounds: int = 3, actions: int = 1000) -> dict[str, Any]:
    """Medians over the rounds, per guild in milliseconds, and the engine's throughput as a share of the raw one's."""
    with running_postgres(SETTINGS) as server, tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        bench = Bench(server, guilds, connections, Path(first), actions)
        for file in [*bench.folder.glob("*.sql")]:
            (Path(second) / file.name).write_text(file.read_text())
        (Path(second) / "20990101000000_note.sql").write_text(NEXT)
        newest = read_migrations(second)
        found = [one_round(bench, newest, Path(first) / f"round {number}") for number in range(rounds)]
        looped = bench.loop()
    numbers = {"guilds": guilds, "connections": connections, "rounds": rounds, "actions": actions, **_summary(found, guilds)}
    numbers["ms_per_guild"]["onboard"]["loop"] = {"wall": round(looped["wall"] * 1000 / guilds, 1)}
    numbers["times_the_loop"] = round(looped["wall"] * 1000 / guilds / numbers["ms_per_guild"]["onboard"]["engine"]["wall"], 1)
    return numbers


def _drift(bench: Bench, ids: Sequence[int]) -> None:
    drift.fingerprints(bench.access(), "dcm_service", bench.connections, ids)


def _summary(found: list[dict[str, dict[str, dict[str, float]]]], guilds: int) -> dict[str, Any]:
    per_guild: dict[str, Any] = {}
    share: dict[str, Any] = {}
    for case, sides in found[0].items():
        per_guild[case] = {
            side: {
                kind: round(statistics.median(one[case][side][kind] for one in found) * 1000 / guilds, 3) for kind in ("wall", "server_cpu")
            }
            for side in sides
        }
        if "raw" in sides:
            ratios = {kind: [one[case]["raw"][kind] / one[case]["engine"][kind] for one in found] for kind in KINDS}
            share[case] = {kind: round(statistics.median(values), 3) for kind, values in ratios.items()}
    return {"ms_per_guild": per_guild, "throughput_of_raw": share}


def describe(numbers: dict[str, Any]) -> str:
    head = (
        "{guilds} guilds, {connections} connections, median of {rounds} rounds, {actions} rows a guild to export; "
        "ms per guild, wall (server CPU)"
    )
    lines = [head.format(**numbers)]
    for case, sides in numbers["ms_per_guild"].items():
        cells = ", ".join(
            f"{side} {cost['wall']:.2f}" + (f" ({cost['server_cpu']:.2f})" if "server_cpu" in cost else "") for side, cost in sides.items()
        )
        share = numbers["throughput_of_raw"].get(case)
        lines.append(f"  {case:8} {cells}" + (f"; engine reaches {share['wall']:.2f} ({share['server_cpu']:.2f}) of raw" if share else ""))
    lines.append(f"  onboarding is {numbers['times_the_loop']:.0f} times as fast as the loop over community.postgresql")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guilds", type=int, nargs="+", default=[200], help="how many; several numbers run one after the other")
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--actions", type=int, default=1000, help="rows that each guild has when it is exported")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    parser.add_argument("--csv", type=Path, help="write them as rows")
    parser.add_argument("--plot", type=Path, help="draw them (SVG)")
    arguments = parser.parse_args()
    found = []
    for guilds in arguments.guilds:
        found.append(run(guilds, arguments.connections, arguments.rounds, arguments.actions))
        print(describe(found[-1]), flush=True)
    every = [row for numbers in found for row in rows(numbers)]
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    if arguments.csv:
        write_csv(arguments.csv, every)
    if arguments.plot:
        plot(arguments.plot, every)


if __name__ == "__main__":
    main()
