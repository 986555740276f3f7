# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The embedded cluster as its users meet it: first run, second run, check mode, killed processes, down and up, wrong input, removal.

The tests are in the order of the life of one instance.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest
import requests
import yaml

from .conftest import STATE, Instance, eventually

PROGRAMS = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "network-policy-enforcer",
    "containerd",
    "kubelet",
    "kube-proxy",
]


def all_ready(instance: Instance) -> bool:
    pods = instance.pods()
    return bool(pods) and all(all(c["ready"] for c in pod["status"].get("containerStatuses", [{"ready": False}])) for pod in pods)


def test_a_fresh_instance_runs_without_a_restart(instance: Instance) -> None:
    assert eventually(lambda: all_ready(instance)), instance.kubectl("get", "pods", "-A")
    assert [pod["metadata"]["name"] for pod in instance.pods() if any(c["restartCount"] for c in pod["status"]["containerStatuses"])] == []


@pytest.mark.usefixtures("instance")
def test_the_kubeconfig_is_the_owners_alone() -> None:
    assert stat.S_IMODE((STATE / "kubeconfig").stat().st_mode) == 0o600
    assert stat.S_IMODE(STATE.stat().st_mode) == 0o700


def test_a_second_run_changes_and_restarts_nothing(instance: Instance) -> None:
    before = {program: instance.pid(program) for program in PROGRAMS}
    assert instance.converge() == 0
    assert {program: instance.pid(program) for program in PROGRAMS} == before


def test_check_mode_on_a_live_instance_predicts_nothing(instance: Instance) -> None:
    assert instance.converge("--check", "--diff") == 0


@pytest.mark.usefixtures("instance")
def test_nobody_gets_in_without_credentials() -> None:
    server = yaml.safe_load((STATE / "kubeconfig").read_text())["clusters"][0]["cluster"]["server"]
    for path in ("/api/v1/namespaces", "/version", "/metrics"):
        assert requests.get(server + path, verify=STATE / "pki/ca.crt", timeout=10).status_code == 401


def test_nothing_listens_outside_of_the_instances_own_network(instance: Instance) -> None:
    # The programs are in a network namespace: the machine's own table of listeners must not know their ports.
    listeners = {
        line.split()[1].rsplit(":", 1)[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    }
    assert not {f"{port:04X}" for port in (6443, 2379, 2380, 10250, 10256, 10257, 10259)} & listeners
    with socket.create_connection(("10.254.201.1", 6443), timeout=5):
        pass
    assert Path(f"/proc/{instance.pid('kube-apiserver')}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()


def test_requests_are_in_the_audit_log_and_secrets_are_not(instance: Instance) -> None:
    instance.kubectl("create", "secret", "generic", "audited", "--from-literal=key=planted-value")
    log = STATE / "log/audit.log"
    assert eventually(lambda: '"name":"audited"' in log.read_text())
    assert "planted-value" not in log.read_text()
    assert "cGxhbnRlZC12YWx1ZQ" not in log.read_text()


def test_secrets_are_encrypted_on_disk(instance: Instance) -> None:
    instance.kubectl("create", "configmap", "plain", "--from-literal=key=planted-plain-value")
    written = b"".join(path.read_bytes() for path in (STATE / "etcd").rglob("*.wal"))
    assert b"planted-plain-value" in written, "the control: what is not encrypted can be found"
    assert b"planted-value" not in written


@pytest.mark.usefixtures("instance")
def test_a_privileged_pod_is_refused() -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bad"},
        "spec": {"containers": [{"name": "bad", "image": "x", "securityContext": {"privileged": True}}]},
    }
    kubectl = [str(STATE / "bin/kubectl"), f"--kubeconfig={STATE / 'kubeconfig'}", "create", "--dry-run=server", "-f", "-"]
    result = subprocess.run(kubectl, input=yaml.safe_dump(pod), capture_output=True, text=True, check=False)
    assert "violates PodSecurity" in result.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_killed_program_comes_back(instance: Instance, program: str) -> None:
    before = instance.pid(program)
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: instance.pid(program) != before)
    assert eventually(lambda: "ok" in instance.kubectl("get", "--raw", "/readyz", check=False))


def test_a_killed_supervisor_comes_back_with_all_below_it(instance: Instance) -> None:
    before = instance.pid("etcd")
    (inner,) = (int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if is_inner_supervisor(path))
    os.kill(inner, signal.SIGKILL)
    assert eventually(lambda: instance.pid("etcd") != before)
    assert eventually(lambda: all_ready(instance)), instance.kubectl("get", "pods", "-A")


def is_inner_supervisor(cmdline: Path) -> bool:
    try:
        words = cmdline.read_bytes().split(b"\0")
    except OSError:
        return False
    return b"--nodaemon" in words and os.fsencode(STATE / "config/supervisor.conf") in words and b"unshare" not in words[0]


def test_down_and_up_keep_what_was_there(instance: Instance) -> None:
    uid = instance.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
    start = time.monotonic()
    assert instance.converge(embedded_cluster_state="stopped") == 1
    took = time.monotonic() - start
    assert instance.converge(embedded_cluster_state="stopped") == 0
    assert took < 60, "a stop may take the grace of its pods, not the patience of its programs"
    assert not Path("/run/netns/dcm-itest").exists()
    instance.converge()
    assert instance.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}") == uid
    assert eventually(lambda: all_ready(instance)), instance.kubectl("get", "pods", "-A")
    assert "audited" in instance.kubectl("get", "secrets")


def test_a_dead_outer_supervisor_is_resumed(instance: Instance) -> None:
    os.kill(int(Path("/run/dcm/itest/host.pid").read_text()), signal.SIGKILL)
    instance.converge()
    assert eventually(lambda: all_ready(instance)), instance.kubectl("get", "pods", "-A")


def test_a_file_changed_by_hand_is_put_right(instance: Instance) -> None:
    before = {program: instance.pid(program) for program in PROGRAMS}
    kubelet = STATE / "config/kubelet.yaml"
    kubelet.write_text(kubelet.read_text() + "# by hand\n")
    assert instance.converge() == 1, "the file is put right, and as its content is what it was, nothing restarts"
    assert {program: instance.pid(program) for program in PROGRAMS} == before


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"embedded_cluster_index": 999}, "embedded_cluster_index is 999"),
        ({"embedded_cluster_index": "many"}, "embedded_cluster_index"),
        ({"embedded_cluster_name": "Not A Name"}, "embedded_cluster_name is 'Not A Name'"),
        ({"embedded_cluster_state": "running"}, "running"),
        ({"embedded_cluster_name": "other", "embedded_cluster_run_dir": "/run/dcm/other", "embedded_cluster_disk_minimum": 10**9}, "disk:"),
        (
            {"embedded_cluster_name": "other", "embedded_cluster_run_dir": "/run/dcm/other", "embedded_cluster_memory_minimum": 10**9},
            "memory:",
        ),
    ],
)
def test_wrong_input_is_named_before_anything_changes(instance: Instance, settings: dict[str, object], says: str) -> None:
    result = instance.run(**settings)
    assert result.returncode != 0
    assert says in result.stdout
    assert not Path("/run/dcm/other").exists()


def test_absent_leaves_nothing(instance: Instance) -> None:
    assert instance.converge("--check", embedded_cluster_state="absent") == 1
    assert instance.converge(embedded_cluster_state="absent") == 1
    assert list(STATE.iterdir()) == []
    assert not Path("/run/dcm/itest").exists()
    assert not Path("/run/netns/dcm-itest").exists()
    assert "dcm201" not in subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout
    assert list(Path("/sys/fs/cgroup").glob("*/dcm-itest")) == []


def test_check_mode_on_an_empty_machine_works(instance: Instance) -> None:
    assert instance.converge("--check", "--diff") >= 3
    assert not (STATE / "kubeconfig").exists()
