# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What site.yml leaves behind, looked at with other means than its own verification."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from testinfra.host import Host

STATE = "/var/lib/dcm/molecule"
SERVICES = ["bot", "dashboard", "discord-fake", "gateway", "worker"]


def kubectl(host: Host, *arguments: str) -> Any:
    command = " ".join(arguments)
    return json.loads(host.check_output(f"{STATE}/bin/kubectl --kubeconfig {STATE}/kubeconfig {command} --output json"))


def pods(host: Host, namespace: str) -> dict[str, Any]:
    items = kubectl(host, "get", "pods", "--namespace", namespace)["items"]
    return {pod["metadata"]["labels"].get("app.kubernetes.io/name", pod["metadata"]["name"]): pod for pod in items}


@pytest.mark.parametrize(
    ("path", "mode"), [("", 0o700), ("/kubeconfig", 0o600), ("/pki", 0o700), ("/etcd", 0o700), ("/operator.lock", 0o600)]
)
def test_state_is_private(host: Host, path: str, mode: int) -> None:
    assert host.file(STATE + path).mode == mode


@pytest.mark.parametrize("name", SERVICES)
def test_service_runs(host: Host, name: str) -> None:
    pod = pods(host, "dcm-services")[name]
    status = pod["status"]["containerStatuses"][0]
    assert status["ready"] is True
    assert status["restartCount"] == 0
    assert pod["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_server_keeps_its_data_on_a_volume(host: Host, name: str) -> None:
    assert pods(host, "dcm-data")[name]["status"]["phase"] == "Running"
    claims = kubectl(host, "get", "persistentvolumeclaims", "--namespace", "dcm-data")["items"]
    assert {claim["status"]["phase"] for claim in claims if name in claim["metadata"]["name"]} == {"Bound"}


def test_nothing_of_the_node_listens_beyond_this_machine(host: Host) -> None:
    """It has a network namespace of its own."""
    lines = host.check_output("ss --listening --tcp --numeric --processes --no-header").splitlines()
    outer = [line for line in lines if not re.match(r"(127\.|\[::1\])", line.split()[3])]
    assert not re.findall(r"etcd|kube|containerd|coredns|postgres|redis", "\n".join(outer))


def test_the_lock_was_given_back(host: Host) -> None:
    lease = kubectl(host, "get", "lease", "dcm-operator", "--namespace", "kube-system")
    assert not lease["spec"].get("holderIdentity")
    assert host.run(f"flock --nonblock {STATE}/operator.lock true").rc == 0


def test_secrets_are_in_no_file_but_the_data(host: Host) -> None:
    secret = kubectl(host, "get", "secret", "postgres-admin", "--namespace", "dcm-data")
    password = host.check_output(f"printf %s {secret['data']['password']} | base64 --decode")
    assert len(password) >= 16
    assert (
        host.run(f"grep --recursive --files-with-matches --fixed-strings -e {password} {STATE}/reports {STATE}/config {STATE}/log").stdout
        == ""
    )


def test_the_report_says_that_all_promises_are_kept(host: Host) -> None:
    report = json.loads(host.file(f"{STATE}/reports/latest/report.json").content_string)
    assert report["kept"] is True
    assert report["site"] == "molecule"
    assert report["counts"]["held"] >= 20


def test_an_autoscaler_gets_its_numbers(host: Host) -> None:
    tool = f"{STATE}/bin/kubectl --kubeconfig {STATE}/kubeconfig --namespace dcm-services"
    host.check_output(f"{tool} autoscale deployment gateway --min=1 --max=2 --cpu=70% --name=tried")
    try:
        host.check_output(f"{tool} wait horizontalpodautoscaler/tried --for=condition=ScalingActive --timeout=120s")
    finally:
        host.check_output(f"{tool} delete horizontalpodautoscaler tried")
