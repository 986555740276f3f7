# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Playbook runs that are attacked while they work, and what must hold of every guild afterwards.

The size of the attacks comes from the environment: DCM_CRASH_GUILDS, DCM_CRASH_KILLS, DCM_CRASH_SEED.
DCM_CRASH_REPORT names a file for the numbers.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import yaml

from .conftest import CONTROL, PASSWORD, ROOT, Site

GUILDS = int(os.environ.get("DCM_CRASH_GUILDS", "80"))
KILLS = int(os.environ.get("DCM_CRASH_KILLS", "3"))
SEED = int(os.environ.get("DCM_CRASH_SEED") or random.SystemRandom().randrange(2**32))
MARK = "DCM_CRASH_RUN"
LONGEST = 300

ONBOARDED = "SELECT count(*) FROM dcm.guild"
MIGRATED = "SELECT count(*) FROM dcm.guild WHERE schema_version <> '1'"
HALF = """
SELECT coalesce(n.nspname, 'guild_' || g.guild_id),
    n.oid IS NULL, g.guild_id IS NULL, coalesce(m.rows, 0), coalesce(a.onboarded, 0), coalesce(a.migrated, 0), g.schema_version, g.state
FROM (SELECT * FROM pg_namespace WHERE nspname ~ '^guild_[0-9]+$') n
FULL JOIN dcm.guild g ON n.nspname = 'guild_' || g.guild_id
LEFT JOIN (SELECT guild_id, count(*) AS rows FROM dcm.guild_migration GROUP BY 1) m USING (guild_id)
LEFT JOIN (SELECT guild_id, count(*) FILTER (WHERE action = 'onboarded') AS onboarded,
        count(*) FILTER (WHERE action = 'migrated') AS migrated
    FROM dcm.audit_log GROUP BY 1) a USING (guild_id)
WHERE n.oid IS NULL OR g.guild_id IS NULL OR m.rows <> CASE g.schema_version WHEN '1' THEN 1 ELSE {all} END
    OR a.onboarded <> 1 OR coalesce(a.migrated, 0) <> CASE WHEN {moved} AND g.schema_version <> '1' THEN 1 ELSE 0 END OR g.state <> 'active'
"""
ROLES = "SELECT rolname::text FROM pg_roles WHERE rolname ~ %s ORDER BY 1"


def dice(name: str) -> random.Random:
    """Chance that can be repeated: the seed is shown with every failed test."""
    print(f"DCM_CRASH_SEED={SEED}")
    return random.Random(f"{SEED} {name}")  # noqa: S311 - when and whom to hit, no secret


def note(name: str, **numbers: Any) -> None:
    """Numbers for people, where the environment asks for them."""
    if file := os.environ.get("DCM_CRASH_REPORT"):
        with Path(file).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"test": name, "seed": SEED, **numbers}) + "\n")


class Running:
    """ansible-playbook with everything that it starts."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], output: Path) -> None:
        self.mark = f"{MARK}={uuid.uuid4()}"
        self.file = output
        name, value = self.mark.split("=")
        with output.open("wb") as stream:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**environment, name: value},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def output(self) -> str:
        return self.file.read_text(encoding="utf-8")

    def family(self) -> list[int]:
        """By their environment: Ansible's workers leave the process group."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.mark.encode() in (path / "environ").read_bytes() and path.joinpath("stat").read_text().rsplit(")", 1)[1][1] != "Z":
                    found.append(int(path.name))
        return found

    def kill(self) -> None:
        """kill -9 of all of it, at one moment."""
        self.process.kill()
        while pids := self.family():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(LONGEST)

    def end(self) -> int:
        return self.process.wait(LONGEST)

    def orphans(self) -> list[int]:
        """What is left ten seconds after the end."""
        limit = time.monotonic() + 10
        while (pids := self.family()) and time.monotonic() < limit:
            time.sleep(0.05)
        return pids


class Operator:
    """Plays of one task, guild_schema, against a site."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.folder = folder
        self.runs: list[Running] = []
        login = {"login_host": site.server.host, "login_port": site.server.port, "login_db": site.database}
        secrets = {"login_password": "{{ lookup('env', 'DCM_TEST_LOGIN') }}", "service_password": "{{ lookup('env', 'DCM_TEST_SERVICE') }}"}
        dirs = {"migrations_dir": site.migrations, "control_migrations_dir": CONTROL}
        self.options: dict[str, Any] = {**login, **secrets, **dirs, "service_role": site.service, "connections": 2, "max_failures": -1}

    def start(self, *arguments: str, callback: str = "ansible.posix.json", **options: Any) -> Running:
        number = len(self.runs)
        play = {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": sys.executable},
            "tasks": [{"name": "Guilds", "dcm.platform.guild_schema": {**self.options, **options}}],
        }
        playbook = self.folder / f"play{number}.yml"
        playbook.write_text(yaml.safe_dump([play]))
        environment = {
            **os.environ,
            "ANSIBLE_STDOUT_CALLBACK": callback,
            "DCM_TEST_LOGIN": self.site.server.password,
            "DCM_TEST_SERVICE": PASSWORD,
        }
        program = str(Path(sys.executable).parent / "ansible-playbook")
        self.runs.append(Running([program, "-i", "localhost,", str(playbook), *arguments], environment, self.folder / f"output{number}"))
        return self.runs[-1]

    def run(self, *arguments: str, code: int = 0, **options: Any) -> dict[str, Any]:
        running = self.start(*arguments, **options)
        assert running.end() == code, running.output
        return answer(running)

    def file(self, ids: Sequence[int]) -> str:
        path = self.folder / "guilds.csv"
        path.write_text("id\n" + "".join(f"{guild_id}\n" for guild_id in ids))
        return str(path)


@contextlib.contextmanager
def operator(site: Site, folder: Path) -> Iterator[Operator]:
    """Nothing that it started outlives the block."""
    made = Operator(site, folder)
    try:
        yield made
    finally:
        for running in made.runs:
            running.kill()


def answer(running: Running) -> dict[str, Any]:
    """The result of the task."""
    output = running.output
    report, _end = json.JSONDecoder().raw_decode(output[output.index('{\n    "') :])
    result: dict[str, Any] = report["plays"][0]["tasks"][0]["hosts"]["localhost"]
    return result


def count(site: Site, statement: str) -> int:
    """0 while there is no registry, or no server."""
    try:
        return int(site.query(statement)[0][0])
    except (psycopg.errors.UndefinedTable, psycopg.OperationalError):
        return 0


def wait_for_growth(site: Site, statement: str, goal: int, running: Running) -> int:
    """Until so many are done, or the run has ended."""
    while (found := count(site, statement)) < goal and running.alive:
        time.sleep(0.005)
    return found


def half_done(site: Site, migrations: int, moved: bool) -> list[tuple[Any, ...]]:
    """Guilds whose schema, registry, ledger and audit log do not fit together at this moment; none, whatever was killed."""
    return site.query(HALF.replace("{all}", str(migrations)).replace("{moved}", str(moved)))


def assert_whole(site: Site, ids: Sequence[int], moved: bool = False) -> None:
    """Each guild is there once and complete, and nothing else is."""
    migrations = len(site.set().migrations)
    assert half_done(site, migrations, moved) == []
    assert [row[0] for row in site.query("SELECT guild_id FROM dcm.guild ORDER BY 1")] == sorted(ids)
    assert site.query("SELECT count(*), count(DISTINCT (guild_id, version)) FROM dcm.guild_migration") == [(len(ids) * migrations,) * 2]
    wanted = sorted(f"guild_{guild_id}_{kind}" for guild_id in ids for kind in ("app", "owner"))
    prefix = f"^guild_{str(ids[0])[:13]}"
    assert sorted(row[0] for row in site.query(ROLES, prefix)) == wanted
    prints = site.fingerprints()
    assert sorted(prints) == sorted(ids)
    assert set(prints.values()) == {site.expected()}
    assert not site.query("SELECT FROM pg_index WHERE NOT indisvalid")
