# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guards in real playbook runs, with a real API server."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time

import pytest
import yaml

from tests.support.kube_api import KubeApi, kube_api  # noqa: F401

ROOT = pathlib.Path(__file__).parents[3]
PLAYBOOK = """
- import_playbook: {root}/playbooks/guard.yml
  vars: {{guard_access: "{access}"}}
- import_playbook: {root}/playbooks/guard.yml
  vars: {{guard_access: "{access}"}}
- hosts: platform
  gather_facts: false
  tasks:
    - ansible.builtin.command: "sleep {seconds}"
      when: {seconds} > 0
    - ansible.builtin.debug: {{msg: reached the end}}
"""


class Site:
    """An inventory of its own, and runs on it."""

    def __init__(self, folder: pathlib.Path, environment: str, **values: object) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.inventory = folder / "inventories" / environment
        shutil.copytree(ROOT / "inventories" / environment, self.inventory)
        filled = {"platform_domain": "dcm.example", "platform_services_image": "dcm.example/service", "platform_services_tag": "1"}
        filled |= {f"platform_backup_s3_{part}": "backups.example" for part in ("bucket", "endpoint", "region")}
        self.set(platform_state_dir=str(self.state), **filled, **values)

    def set(self, **values: object) -> None:
        own = self.inventory / "group_vars" / "all" / "zz_test.yml"
        before = yaml.safe_load(own.read_text()) if own.exists() else {}
        own.write_text(yaml.safe_dump({**before, **values}))

    def command(self, *arguments: str, access: str = "change", seconds: int = 0) -> list[str]:
        playbook = self.folder / f"{access}-{seconds}.yml"
        playbook.write_text(PLAYBOOK.format(root=ROOT, access=access, seconds=seconds))
        return [str(pathlib.Path(sys.executable).parent / "ansible-playbook"), str(playbook), "-i", str(self.inventory), *arguments]

    def run(self, *arguments: str, access: str = "change") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments, access=access),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )

    def start(self, seconds: int) -> subprocess.Popen[str]:
        """A run that holds the site; returns when it does."""
        process = subprocess.Popen(
            self.command(seconds=seconds), cwd=ROOT, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, start_new_session=True
        )
        assert process.stdout
        for line in process.stdout:
            if "PLAY [platform]" in line:
                return process
        raise AssertionError("the run ended before it held the site")


@pytest.fixture
def site(tmp_path: pathlib.Path) -> Site:
    return Site(tmp_path, "local")


@pytest.fixture
def live(tmp_path: pathlib.Path, kube_api: KubeApi) -> Site:  # noqa: F811
    kube_api.kubectl("-n", "kube-system", "delete", "lease", "dcm-operator", "--ignore-not-found")
    site = Site(tmp_path, "local")
    site.state.mkdir(mode=0o700)
    shutil.copy(kube_api.kubeconfig, site.state / "kubeconfig")
    return site


def uid(api: KubeApi) -> str:
    return api.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")


def lease(api: KubeApi) -> dict[str, object]:
    spec = json.loads(api.kubectl("-n", "kube-system", "get", "lease", "dcm-operator", "-o", "json"))["spec"]
    return dict(spec)


def passed(done: subprocess.CompletedProcess[str]) -> bool:
    return done.returncode == 0 and "reached the end" in done.stdout


def refused(done: subprocess.CompletedProcess[str], why: str) -> bool:
    return done.returncode != 0 and "reached the end" not in done.stdout and re.search(why, done.stdout) is not None


def test_a_valid_site_passes_and_is_quick(site: Site) -> None:
    done = site.run()
    assert passed(done), done.stdout
    assert (site.state / "operator.lock").exists()


def test_forgetting_the_inventory_is_refused(site: Site) -> None:
    command = site.command()
    done = subprocess.run(command[:2], cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused(done, "choose a site with -i"), done.stdout


def test_limit_does_not_get_around_the_guard(site: Site) -> None:
    assert refused(
        site.run("--limit", "controller", "-e", "platform_profile=medium"), "platform_profile must be one of: lite, full, got: medium"
    )


def test_tags_do_not_get_around_the_guard(site: Site) -> None:
    assert refused(site.run("--tags", "nothing", "-e", "platform_profile=medium"), "platform_profile")


def test_all_wrong_inputs_are_named_at_once(site: Site) -> None:
    site.set(platform_cluster_provider="minikube", platform_postgres_port="many", platform_domain="", platform_site_id="{{ nowhere }}")
    done = site.run()
    assert refused(done, "platform_cluster_provider must be one of: embedded, existing, got: minikube"), done.stdout
    assert refused(done, "platform_postgres_port")
    assert refused(done, "platform_domain is empty")
    assert refused(done, "'nowhere' is undefined")
    assert not site.state.exists()


def test_a_missing_input_is_named(site: Site) -> None:
    text = (site.inventory / "group_vars/all/guards.yml").read_text()
    (site.inventory / "group_vars/all/guards.yml").write_text(
        text.replace("platform_deletion_protection:", "platform_deletion_protektion:")
    )
    assert refused(site.run(), "missing required arguments: platform_deletion_protection")


def test_a_renamed_inventory_is_refused(site: Site) -> None:
    site.inventory = site.inventory.rename(site.inventory.parent / "production")
    assert refused(site.run(), "the inventory folder is named 'production'")


def test_unwritable_state_is_told(site: Site) -> None:
    blocker = site.folder / "file"
    blocker.write_text("")
    assert refused(site.run("-e", f"platform_state_dir={blocker}/state"), "platform_state_dir = .* cannot be written by")


def test_an_unreadable_kubeconfig_is_told(site: Site) -> None:
    folder = site.folder / "kubeconfig.d"
    folder.mkdir()
    assert refused(site.run("-e", f"platform_kubeconfig={folder}"), "platform_kubeconfig = .* cannot be read by")


def test_check_mode_creates_nothing(site: Site) -> None:
    assert passed(site.run("--check"))
    assert not site.state.exists()


def test_two_runs_at_once_before_there_is_a_cluster(site: Site) -> None:
    first = site.start(60)
    try:
        assert refused(site.run(), f"another run is at work on this site: .*process {first.pid}")
        assert passed(site.run("--check"))
        assert passed(site.run(access="read"))
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    assert passed(site.run())


def test_another_cluster_is_refused(live: Site, kube_api: KubeApi) -> None:  # noqa: F811
    live.set(platform_cluster_uid="0f0b4b3e-8a7e-4d5c-9f5e-0d6b6f0a6a51")
    assert refused(live.run(), f"has the UID {uid(kube_api)}, but this inventory is for 0f0b4b3e")
    assert refused(live.run(access="read"), "this inventory is for")
    live.set(platform_cluster_uid=uid(kube_api))
    assert passed(live.run())


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_real_environments_name_their_cluster(tmp_path: pathlib.Path, kube_api: KubeApi, environment: str) -> None:  # noqa: F811
    site = Site(tmp_path, environment)
    site.state.mkdir()
    shutil.copy(kube_api.kubeconfig, site.state / "kubeconfig")
    confirm = ("-e", f"platform_confirm={environment}")
    assert refused(site.run(*confirm), f"has to name its cluster: .*{uid(kube_api)}")
    assert passed(site.run(*confirm, "-e", f"platform_cluster_uid={uid(kube_api)}"))


def test_an_unreachable_cluster_is_no_obstacle_to_starting_it(live: Site) -> None:
    text = (live.state / "kubeconfig").read_text()
    (live.state / "kubeconfig").write_text(re.sub(r"https://127.0.0.1:\d+", "https://127.0.0.1:9", text))
    done = live.run()
    assert passed(done)
    assert "cannot be identified yet" in done.stdout


def test_a_broken_kubeconfig_is_named(live: Site) -> None:
    (live.state / "kubeconfig").write_text("nonsense")
    assert refused(live.run(), "kubeconfig .*/state/kubeconfig: contexts has no")


def test_the_lease_lives_as_long_as_the_run(live: Site, kube_api: KubeApi) -> None:  # noqa: F811
    first = live.start(60)
    try:
        assert f"/{first.pid}/" in str(lease(kube_api)["holderIdentity"])
    finally:
        os.killpg(first.pid, signal.SIGINT)
        first.wait()
    end = time.monotonic() + 5
    while lease(kube_api).get("holderIdentity"):
        assert time.monotonic() < end, "the lease was not given back"
        time.sleep(0.1)


def test_an_operator_on_another_machine_is_seen(live: Site, kube_api: KubeApi) -> None:  # noqa: F811
    foreign(kube_api, time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime()))
    assert refused(live.run(), "another run is at work on this cluster: bob@desk, process 7")
    assert passed(live.run(access="read"))


def test_a_dead_operator_on_another_machine_is_taken_over(live: Site, kube_api: KubeApi) -> None:  # noqa: F811
    foreign(kube_api, "2026-01-01T00:00:00.000000Z")
    done = live.run()
    assert passed(done)
    assert "bob@desk, process 7) died without giving its lock back: taking it over" in done.stdout


def foreign(api: KubeApi, renewed: str) -> None:
    spec = {"holderIdentity": "bob@desk/7/9", "leaseDurationSeconds": 45, "renewTime": renewed}
    metadata = {"name": "dcm-operator", "namespace": "kube-system"}
    api.kubectl(
        "apply", "-f", "-", stdin=json.dumps({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})
    )


@pytest.mark.parametrize(("typed", "passes"), [("production", True), ("local", False), ("", False)])
def test_production_wants_its_name(tmp_path: pathlib.Path, typed: str, passes: bool) -> None:
    done = Site(tmp_path, "production").run(*(["-e", f"platform_confirm={typed}"] if typed else []))
    assert passed(done) if passes else refused(done, "pass -e platform_confirm=production")


def test_production_check_mode_wants_nothing(tmp_path: pathlib.Path) -> None:
    assert passed(Site(tmp_path, "production").run("--check"))


@pytest.mark.parametrize(("typed", "passes"), [("production", True), ("yes", False)])
def test_production_asks_on_a_terminal(tmp_path: pathlib.Path, typed: str, passes: bool) -> None:
    site = Site(tmp_path, "production")
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        site.command(),
        cwd=ROOT,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=own_terminal,  # noqa: PLW1509 - no threads here
    )
    os.close(terminal)
    output = converse(process, master, typed.encode() + b"\r")
    assert (process.wait() == 0 and "reached the end" in output) is passes, output
    assert output.count("Type its id to go on") == 1, "a run asks once"


def own_terminal() -> None:
    """Make the terminal the one that the new session is controlled by."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def converse(process: subprocess.Popen[bytes], master: int, answer: bytes, bound: float = 60) -> str:
    """Answer the prompt of a process on a terminal; returns all that it printed."""
    output = b""
    end = time.monotonic() + bound
    try:
        while time.monotonic() < end:
            if select.select([master], [], [], 0.5)[0]:
                output += os.read(master, 65536)
            elif b"go on" in output and answer:  # the prompt is there, and the terminal is quiet
                answer = answer[os.write(master, answer) :]
    except OSError:  # the other side has gone
        return output.decode()
    process.kill()
    raise AssertionError(f"still running after {bound} s: {output.decode()}")


def test_destroying_wants_the_name_everywhere(site: Site) -> None:
    assert refused(site.run(access="destroy"), "to destroy the site its id has to be typed")
    assert passed(site.run("-e", "platform_confirm=local", access="destroy"))
    protected = site.run("-e", "platform_confirm=local", "-e", "platform_deletion_protection=true", access="destroy")
    assert refused(protected, "protected from deletion")
