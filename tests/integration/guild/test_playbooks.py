# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The playbooks against a real Kubernetes API, which keeps the credentials, and a real Postgres."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.dcm.platform.plugins.module_utils._guild_kube import Kubectl, port_forward
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Unreachable

from tests.support.kube_api import KubeApi, kube_api  # noqa: F401

from .conftest import PASSWORD, ROOT, Site

FAKE_KUBECTL = """#!{python}
import json, os, socket, sys, threading
if "get" in sys.argv:
    print(json.dumps({{"spec": {{"clusterIP": "127.0.0.1"}}}}))
    sys.exit()
open({pid!r}, "w").write(str(os.getpid()))
listener = socket.create_server(("127.0.0.1", 0))
print(f"Forwarding from 127.0.0.1:{{listener.getsockname()[1]}} -> 5432", flush=True)
def pump(source, target):
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)
while True:
    near = listener.accept()[0]
    far = socket.create_connection(("127.0.0.1", {port}))
    for pair in ((near, far), (far, near)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""


class Operator:
    """An inventory of its own whose cluster holds the Secrets, and runs of playbooks on it."""

    def __init__(self, site: Site, api: KubeApi, folder: Path) -> None:
        self.site = site
        self.api = api
        self.namespace = f"data-{site.number}"
        self.inventory = folder / "inventories" / "local"
        shutil.copytree(ROOT / "inventories" / "local", self.inventory)
        self.state = folder / "state"
        (self.state / "bin").mkdir(mode=0o700, parents=True)
        (self.state / "bin" / "kubectl").symlink_to(api.bin / "kubectl")
        values = {
            "platform_state_dir": str(self.state),
            "platform_namespace_data": self.namespace,
            "platform_namespace_services": self.namespace,
            "platform_postgres_host": site.server.host,
            "platform_postgres_port": site.server.port,
            "platform_postgres_database": site.database,
            "guild_data_service_role": site.service,
        }
        (self.inventory / "group_vars" / "all" / "zz_test.yml").write_text(yaml.safe_dump(values))

    def make_cluster(self) -> None:
        shutil.copy(self.api.kubeconfig, self.state / "kubeconfig")
        self.api.kubectl("create", "namespace", self.namespace)
        self.secret("postgres-admin", username=self.site.user, password=self.site.password)
        self.secret("dcm-service", **{"postgres-password": PASSWORD})

    def secret(self, name: str, **values: str) -> None:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": self.namespace}, "data": data}
        self.api.kubectl("apply", "-f", "-", stdin=json.dumps(document))

    def play(self, playbook: str, *arguments: str, fails: bool = False) -> str:
        program = str(Path(sys.executable).parent / "ansible-playbook")
        command = [program, str(ROOT / "playbooks" / f"{playbook}.yml"), "-i", str(self.inventory), *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=180, stdin=subprocess.DEVNULL)
        output = done.stdout + done.stderr
        assert (done.returncode != 0) is fails, output
        assert self.site.server.password not in output
        assert self.site.password not in output
        assert PASSWORD not in output
        return output


@pytest.fixture
def operator(site: Site, kube_api: KubeApi, tmp_path: Path) -> Iterator[Operator]:  # noqa: F811
    made = Operator(site, kube_api, tmp_path)
    yield made
    kube_api.kubectl("delete", "namespace", made.namespace, "--ignore-not-found", "--wait=false")


def test_onboarding_from_the_first_check_to_the_report(operator: Operator) -> None:
    first, second, third = map(str, operator.site.ids(3))
    predicted = operator.play("guild_onboard", "-e", f"guild_id={first}", "--check", "--diff")
    assert "changed=1" in predicted
    operator.make_cluster()
    output = operator.play("guild_onboard", "-e", f"guild_id={first},{second}", "-e", "guild_plan=premium")
    assert f"guild {first}: create schema guild_{first}" in output
    assert "created 2" in output
    assert "changed=0" in operator.play("guild_onboard", "-e", f"guild_id={first}")
    file = operator.state / "new.json"
    file.write_text(json.dumps([{"id": third}]))
    assert "created 1" in operator.play("guild_onboard", "-e", f"guilds_file={file}")
    assert "changed=0" in operator.play("guild_migrate")
    assert "guilds: 3" in operator.play("guild_report")
    assert operator.site.query("SELECT guild_id::text, plan FROM dcm.guild ORDER BY 1") == [
        (first, "premium"),
        (second, "premium"),
        (third, "free"),
    ]
    operator.site.as_service().close()
    with operator.site.connect() as conn:
        conn.execute(f"DROP INDEX guild_{second}.cleanup_action_occurred_at_idx")
    drifted = operator.play("guild_report", fails=True)
    assert "1 of 3 guilds differ" in drifted
    assert second in drifted


def test_mistakes_are_one_clear_message(operator: Operator) -> None:
    operator.make_cluster()
    wrong = operator.play("guild_onboard", "-e", "guild_id=12345", fails=True)
    assert "guilds, item 1: '12345' is not a Discord guild id" in " ".join(wrong.replace("''", "'").split())
    assert "Name the guilds: -e guild_id=" in operator.play("guild_onboard", fails=True)
    assert "is not a Discord guild id" in " ".join(operator.play("guild_suspend", "-e", "guild_id=", fails=True).split())
    twice = operator.site.ids(1)[0]
    assert f"guild {twice} was already named" in " ".join(
        operator.play("guild_onboard", "-e", f"guild_id={twice},{twice}", fails=True).split()
    )
    operator.api.kubectl("delete", "secret", "postgres-admin", "-n", operator.namespace)
    assert "postgres-admin" in operator.play("guild_onboard", "-e", f"guild_id={operator.site.ids(1)[0]}", fails=True)


@pytest.fixture
def tunnel(site: Site, tmp_path: Path) -> tuple[Kubectl, Path]:
    """A program that forwards as kubectl does: the test cluster has no node to forward to."""
    program, pid = tmp_path / "kubectl", tmp_path / "pid"
    program.write_text(FAKE_KUBECTL.format(python=sys.executable, pid=str(pid), port=site.server.port))
    program.chmod(0o755)
    return Kubectl(str(program)), pid


def gone(pid: int) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_tunnel_carries_the_engine_and_ends(site: Site, tunnel: tuple[Kubectl, Path]) -> None:
    kubectl, pid = tunnel
    with port_forward(kubectl, "login_service", "dcm-data/postgres", 5432) as port:
        access = site.access(host="postgres.dcm-data.svc", hostaddr="127.0.0.1", port=port)
        assert site.run(site.ids(3), access=access)["totals"]["created"] == 3
    assert gone(int(pid.read_text()))


def test_a_tunnel_ends_with_an_error_inside(tunnel: tuple[Kubectl, Path]) -> None:
    kubectl, pid = tunnel
    with pytest.raises(ZeroDivisionError), port_forward(kubectl, "login_service", "dcm-data/postgres", 5432):
        raise ZeroDivisionError
    assert gone(int(pid.read_text()))


def test_a_tunnel_ends_with_its_killed_parent(tunnel: tuple[Kubectl, Path]) -> None:
    kubectl, pid = tunnel
    source = (
        "import os, signal\n"
        "from ansible_collections.dcm.platform.plugins.module_utils._guild_kube import Kubectl, port_forward\n"
        f"with port_forward(Kubectl({kubectl.binary!r}), 'login_service', 'dcm-data/postgres', 5432):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", source], cwd=ROOT / "collections", check=False, timeout=60)
    assert gone(int(pid.read_text()))


def test_a_missing_service_is_one_message(kube_api: KubeApi) -> None:  # noqa: F811
    kubectl = Kubectl(str(kube_api.bin / "kubectl"), str(kube_api.kubeconfig))
    with pytest.raises(Unreachable, match=r"login_service: cannot read service default/nothing: .*not found"):
        kubectl.cluster_address("login_service", "default/nothing")
    assert kubectl.cluster_address("login_service", "default/kubernetes") == "10.253.0.1"


def test_the_life_of_a_guild_from_export_to_certificate(operator: Operator) -> None:
    guild_id = str(operator.site.ids(1)[0])
    operator.make_cluster()
    operator.play("guild_onboard", "-e", f"guild_id={guild_id}")
    operator.play("guild_export", "--check")
    operator.play("guild_export")
    archive = operator.state / "archives" / f"guild_{guild_id}"
    assert (archive / "manifest.json").is_file()
    assert "exists" in operator.play("guild_export", fails=True)
    assert "has data already" in operator.play("guild_import", "-e", f"guild_id={guild_id}", fails=True)
    assert "1 guilds imported" in operator.play("guild_import", "-e", f"guild_id={guild_id}", "-e", "replace_data=true")
    assert "updated 1" in operator.play("guild_suspend", "-e", f"guild_id={guild_id}")
    assert "changed=0" in operator.play("guild_suspend", "-e", f"guild_id={guild_id}")
    assert "updated 1" in operator.play("guild_resume", "-e", f"guild_id={guild_id}")
    assert "erase_after" in operator.play("guild_offboard", "-e", f"guild_id={guild_id}")
    assert "its grace period lasts until" in operator.play(
        "guild_offboard", "-e", f"guild_id={guild_id}", "-e", "offboard=erased", fails=True
    )
    last = ("-e", f"guild_id={guild_id}", "-e", "offboard=erased", "-e", "skip_grace=true")
    assert "changed=1" in operator.play("guild_offboard", *last, "--check")
    output = operator.play("guild_offboard", *last)
    assert f"erasure-{guild_id}-" in output
    assert "remains: []" in output.replace('"', "")
    assert "changed=0" in operator.play("guild_offboard", *last)
    assert "Name the guilds" in operator.play("guild_suspend", fails=True)
