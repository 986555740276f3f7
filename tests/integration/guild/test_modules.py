# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules through Ansible: their documented examples as they are, their answers, and what they refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dcm.platform.plugins.module_utils._guild_metrics import LAST_SUCCESS

from tests.support.postgres import running_postgres
from tests.support.prometheus import values

from .conftest import CONTROL, MIGRATIONS, PASSWORD, ROOT, Site

MODULES = ROOT / "plugins" / "modules"


def documentation(module: str, name: str) -> Any:
    """A YAML block of a module's source."""
    scope: dict[str, Any] = {}
    source = (MODULES / f"{module}.py").read_text().split("\nimport ", 1)[0]
    exec(compile(source, module, "exec"), scope)  # noqa: S102 - our own documentation blocks
    return yaml.safe_load(scope[name])


class Ansible:
    """Runs tasks on this machine against one site; results come back as JSON."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.folder = folder
        self.output = ""
        self.variables: dict[str, Any] = {
            "ansible_python_interpreter": sys.executable,
            "postgres_host": site.server.host,
            "postgres_port": site.server.port,
            "postgres_password": site.server.password,
            "guild_migrations": site.migrations,
            "control_migrations": CONTROL,
            "service_password": PASSWORD,
            "guilds_file": str(folder / "guilds.csv"),
            "archives": str(folder / "archives"),
        }

    def run(self, tasks: list[dict[str, Any]], *arguments: str, fails: bool = False) -> list[dict[str, Any]]:
        """The results of the tasks, in order."""
        defaults = {"login_db": self.site.database, "service_role": self.site.service}
        names = [f"dcm.platform.{name}" for name in ("guild_schema", "guild_info", "guild_offboard", "guild_move")]
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": self.variables, "tasks": tasks}
        plain = ("dcm.platform.guild_archive", "dcm.platform.guild_server_info")
        play["module_defaults"] = {**dict.fromkeys(names, defaults), **{name: {"login_db": self.site.database} for name in plain}}
        playbook = self.folder / "play.yml"
        playbook.write_text(yaml.safe_dump([play]))
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(playbook), *arguments]
        environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
        self.output = done.stdout + done.stderr
        assert (done.returncode != 0) is fails, self.output
        report, _end = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index('{\n    "') :])
        return [task["hosts"]["localhost"] for task in report["plays"][0]["tasks"]]

    def task(self, **options: Any) -> dict[str, Any]:
        common = {"login_host": "127.0.0.1", "login_port": self.site.server.port, "login_password": self.site.server.password}
        return {"dcm.platform.guild_schema": {**common, "migrations_dir": MIGRATIONS, "control_migrations_dir": CONTROL, **options}}

    def one(self, *arguments: str, fails: bool = False, **options: Any) -> dict[str, Any]:
        return self.run([self.task(**options)], *arguments, fails=fails)[0]

    def messages(self, *options: dict[str, Any]) -> list[str]:
        """What each of these says, in one run."""
        return [result["msg"] for result in self.run([{**self.task(**each), "failed_when": False} for each in options])]


@pytest.fixture
def ansible(site: Site, tmp_path: Path) -> Ansible:
    made = Ansible(site, tmp_path)
    (tmp_path / "guilds.csv").write_text("id,plan\n" + "".join(f"{guild_id},free\n" for guild_id in site.ids(3)))
    return made


def renumber(tasks: Any, site: Site) -> Any:
    """The same tasks with ids that no other test uses: roles are shared by the whole server."""
    text = json.dumps(tasks)
    for number in (1, 2):
        text = text.replace(str(1_100_000_000_000_000_000 + number), str(site.ids(1, 10 + number)[0]))
    return json.loads(text)


def test_the_examples_run_as_documented(ansible: Ansible) -> None:
    tasks = renumber(documentation("guild_schema", "EXAMPLES"), ansible.site)
    tasks += documentation("guild_info", "EXAMPLES")
    predicted = ansible.run(tasks[:1], "--check", "--diff")[0]
    results = ansible.run(tasks, "--diff")
    assert [result["changed"] for result in results] == [True, True, False, True, True, False, False]
    first, from_file, everything, suspended, erased, info, _asserted = results
    assert predicted["totals"] == first["totals"]
    assert (first["totals"]["created"], from_file["totals"]["created"], everything["totals"]["unchanged"]) == (2, 3, 5)
    assert (suspended["totals"]["updated"], erased["totals"]["erased"]) == (1, 1)
    assert info["totals"]["guilds"] == 4
    assert info["drift"] == {"checked": 4, "differing": [], "explained": []}
    again = ansible.run(tasks[1:3])
    assert [result["changed"] for result in again] == [False, False]
    for module, result in (("guild_schema", first), ("guild_info", info)):
        described = set(documentation(module, "RETURN"))
        assert described == set(result) - {"changed", "diff", "invocation", "_ansible_no_log", "action", "ansible_facts", "failed"}


def test_the_examples_of_archives_and_endings_run_as_documented(ansible: Ansible) -> None:
    tasks = renumber(documentation("guild_schema", "EXAMPLES")[:1] + documentation("guild_archive", "EXAMPLES"), ansible.site)
    tasks += renumber(documentation("guild_offboard", "EXAMPLES"), ansible.site)
    results = ansible.run(tasks)
    assert [result["changed"] for result in results] == [True, True, False, True, True, True]
    for module, result in (("guild_archive", results[1]), ("guild_offboard", results[4])):
        described = set(documentation(module, "RETURN"))
        assert described == set(result) - {"changed", "invocation", "_ansible_no_log", "action", "ansible_facts", "failed"}
    keys = (
        next(iter(documentation("guild_archive", "RETURN")["guilds"]["description"].split("keys ")[1:])).rstrip(".").replace(" and ", ", ")
    )
    assert set(results[1]["guilds"][0]) == set(keys.split(", "))


def test_the_examples_of_placements_run_as_documented(ansible: Ansible) -> None:
    with running_postgres({"fsync": "off"}) as second:
        other = Site(second, ansible.site.migrations)
        other.number = ansible.site.number
        other.run([])
        sites = {"default": ansible.site, "second": other}
        ansible.variables["placements"] = [{"name": name, "login_db": site.database, **site.server.login} for name, site in sites.items()]
        tasks = documentation("guild_schema", "EXAMPLES")[:1] + documentation("guild_placement", "EXAMPLES")
        tasks += documentation("guild_move", "EXAMPLES")
        one, two = renumber(["1100000000000000001", "1100000000000000002"], ansible.site)
        results = ansible.run(renumber(tasks, ansible.site))
        assert [result["changed"] for result in results] == [True, False, True, False]
        assert results[1]["placements"] == {"default": [one, two], "second": []}
        assert other.query("SELECT guild_id::text, state FROM dcm.guild") == [(one, "active")]
        for module, result in (("guild_placement", results[1]), ("guild_move", results[2])):
            described = set(documentation(module, "RETURN"))
            assert described == set(result) - {"changed", "diff", "invocation", "_ansible_no_log", "action", "ansible_facts", "failed"}
        wrong = {"dcm.platform.guild_placement": {"placements": "{{ placements }}", "guilds": [{"id": one, "placement": "default"}]}}
        said = ansible.run([wrong], fails=True)[0]["msg"]
        assert f"guild {one} lives on placement 'second', not on 'default': guild_move moves it" in said
        assert second.password not in ansible.output


def test_a_check_on_an_empty_server_shows_the_difference(ansible: Ansible) -> None:
    guild_id = ansible.site.ids(1)[0]
    result = ansible.one("--check", "--diff", guilds=[str(guild_id)])
    assert result["changed"]
    assert f"guild {guild_id}: active" in result["diff"]["after"]
    assert ansible.site.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'dcm'") == [(0,)]


def test_a_wrong_id_is_one_message_before_the_first_statement(ansible: Ansible) -> None:
    values = ["0", "-1", "1; drop schema", "٣", str(2**64), "12345"]
    messages = ansible.messages(*({"guilds": [str(ansible.site.ids(1)[0]), value]} for value in values))
    for value, message in zip(values, messages, strict=True):
        assert message.startswith(f"guilds, item 2: {value!r} is not a Discord guild id: ")
    assert ansible.site.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'dcm'") == [(0,)]


def test_a_file_is_refused_by_line(ansible: Ansible) -> None:
    file = ansible.folder / "guilds.csv"
    file.write_text(file.read_text() + "nonsense,free\n")
    result = ansible.one(guilds_file=str(file), fails=True)
    assert result["msg"].startswith(f"{file}, line 5: 'nonsense' is not a Discord guild id")


def test_failed_guilds_fail_the_task_with_all_that_is_known(ansible: Ansible) -> None:
    good, bad = ansible.site.ids(2)
    with ansible.site.connect() as conn:
        conn.execute(f"CREATE SCHEMA guild_{bad}")
    result = ansible.one(guilds=[str(good), str(bad)], fails=True)
    assert result["msg"].startswith(f"1 of 2 guilds failed: guild {bad}: schema guild_{bad} exists")
    assert result["totals"]["created"] == 1
    assert [row["error"] == "" for row in sorted(result["guilds"], key=lambda row: row["id"])] == [True, False]


def test_erasing_wants_each_id_confirmed(ansible: Ansible) -> None:
    guild_id = str(ansible.site.ids(1)[0])
    ansible.one(guilds=[guild_id])
    assert "refusing to erase" in ansible.one(guilds=[{"id": guild_id, "state": "absent"}], fails=True)["msg"]
    assert ansible.one(guilds=[guild_id], state="absent", confirm_erase=[guild_id])["totals"]["erased"] == 1


WRONG_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"login_password": "wrong"}, "password authentication failed"),
    ({"login_port": 1}, "127.0.0.1:1"),
    ({"lock_timeout": 0}, "lock_timeout: 0.0 must be more than 0"),
    ({"connections": 0}, "connections: 0 must be at least 1"),
    ({"waves": ["many"]}, "waves: 'many'"),
    ({"migrations_dir": "/nonexistent"}, "migrations folder /nonexistent does not exist"),
    ({"access": "port_forward"}, "needs login_service"),
    ({"login_secret": "postgres-admin"}, "login_secret: 'postgres-admin' is not of the form namespace/name"),
    ({"login_secret": "a/b", "kubeconfig": "/nonexistent"}, "kubeconfig /nonexistent does not exist"),
]


def test_wrong_options_are_one_message(ansible: Ansible) -> None:
    messages = ansible.messages(*({"guilds": [str(ansible.site.ids(1)[0])], **options} for options, _words in WRONG_OPTIONS))
    assert [words for (_options, words), message in zip(WRONG_OPTIONS, messages, strict=True) if words not in message] == []
    assert "Traceback" not in ansible.output


def test_a_server_that_is_not_there_yet_counts_as_empty_in_check_mode_if_asked(ansible: Ansible) -> None:
    options = {"guilds": [str(ansible.site.ids(1)[0])], "login_secret": "a/b", "kubeconfig": "/nonexistent", "assume_empty": True}
    assert ansible.one("--check", **options)["totals"]["created"] == 1
    assert "does not exist" in ansible.one(fails=True, **options)["msg"]


def test_passwords_are_in_no_output(ansible: Ansible) -> None:
    ansible.one("-vvvv", guilds=[str(ansible.site.ids(1)[0])], service_password=PASSWORD)
    assert ansible.site.server.password not in ansible.output
    assert PASSWORD not in ansible.output


def test_drift_is_named_by_guild_and_line(ansible: Ansible) -> None:
    first, second = ansible.site.ids(2)
    ansible.one(guilds=[str(first), str(second)])
    with ansible.site.connect() as conn:
        conn.execute(f"DROP INDEX guild_{second}.cleanup_action_occurred_at_idx; GRANT DELETE ON guild_{second}.cleanup_action TO PUBLIC")
    info = ansible.run(documentation("guild_info", "EXAMPLES")[:1])[0]
    assert info["drift"]["differing"] == [str(second)]
    explained = info["drift"]["explained"][0]
    assert any(line.startswith("index cleanup_action_occurred_at_idx on cleanup_action") for line in explained["missing"])
    assert any(line.startswith("relation cleanup_action ") and "=d/@_owner" in line for line in explained["extra"])


def test_progress_is_shown_while_it_works(ansible: Ansible, lab: Any) -> None:
    lab.write(2, "SELECT pg_sleep(0.4);")
    ansible.one(guilds=[str(guild_id) for guild_id in lab.ids(8)], migrations_dir=lab.migrations, connections=2)
    assert "guild_schema: the plan" in ansible.output
    assert " of 8 guilds, 0 failed, " in ansible.output


def test_metrics_of_a_run_and_of_the_fleet(ansible: Ansible) -> None:
    first, second = ansible.site.ids(2)
    file = ansible.folder / "dcm_guild_run.prom"
    with ansible.site.connect() as conn:
        conn.execute(f"CREATE SCHEMA guild_{second}")
    ansible.one("--check", guilds=[str(first)], metrics_file=str(file))
    assert not file.exists()
    failed = ansible.one(guilds=[str(first), str(second)], metrics_file=str(file), metrics_url="http://127.0.0.1:1", fails=True)
    assert any("did not take the metrics" in warning for warning in failed["warnings"])
    run = values(file.read_text())
    assert (run["dcm_guild_run_guilds{state=done}"], run["dcm_guild_run_failures{sqlstate_class=refused}"]) == (1, 1)
    assert LAST_SUCCESS not in run
    ansible.one(guilds=[str(first)], metrics_file=str(file))
    assert values(file.read_text())[LAST_SUCCESS] > 1_700_000_000
    (task,) = documentation("guild_info", "EXAMPLES")[:1]
    task["dcm.platform.guild_info"]["metrics_file"] = str(ansible.folder / "dcm_guild_fleet.prom")
    ansible.run([task])
    fleet = values((ansible.folder / "dcm_guild_fleet.prom").read_text())
    version = ansible.site.set().version
    assert fleet[f"dcm_guild_fleet_guilds{{placement=default,state=active,version={version}}}"] == 1
    assert (fleet["dcm_guild_fleet_outdated_guilds"], fleet["dcm_guild_fleet_drifted_guilds"]) == (0, 0)
    wrong = ansible.one(guilds=[str(first)], metrics_file=str(ansible.folder / "run.txt"), fails=True)
    assert "must end in .prom" in wrong["msg"]
