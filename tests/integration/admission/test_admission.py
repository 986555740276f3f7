# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The roles namespaces and admission on a real API server: what is refused and why, what is let in, and what is left alone."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.kube_api import KubeApi, kube_api  # noqa: F401

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOK = """
- hosts: platform
  gather_facts: false
  roles: [dcm.platform.namespaces, dcm.platform.admission]
"""
# A namespace that Pod Security leaves open: what is refused there is refused by our rules alone.
OPEN = {"name": "dcm-open", "pod_security": "privileged"}
EXTRA = [OPEN, {**OPEN, "name": "dcm-exempt", "labels": {"admission.dcm.platform/all": "exempt"}}]
EXTRA += [{**OPEN, "name": "dcm-agents", "labels": {"admission.dcm.platform/host": "exempt"}}]
DIGEST = "sha256:" + "0" * 64
MOVING = "latest"
RESOURCES = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "16Mi"}}
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "tried"},
    "spec": {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "main",
                "image": "dcm.example/service:1",
                "resources": RESOURCES,
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    },
}
Change = Callable[[dict[str, Any]], object]


class Cluster:
    """An API server with the rules."""

    def __init__(self, api: KubeApi, folder: Path) -> None:
        self.api = api
        self.playbook = folder / "baseline.yml"
        self.playbook.write_text(PLAYBOOK)

    def run(self, *arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        values = {"platform_kubeconfig": str(self.api.kubeconfig), "platform_site_id": "admission", "namespaces_extra": EXTRA, **settings}
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(ROOT / "inventories/local"), str(self.playbook)]
        command += ["-e", json.dumps(values), *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)

    def changed(self, *arguments: str, **settings: Any) -> int:
        result = self.run(*arguments, **settings)
        assert result.returncode == 0, result.stdout + result.stderr
        return int(re.findall(r"changed=(\d+)", result.stdout)[-1])

    def refusal(self, thing: dict[str, Any], namespace: str = "dcm-open") -> str:
        """What the API server says against it; empty when it would be made."""
        try:
            self.api.kubectl("--namespace", namespace, "create", "--dry-run=server", "-f", "-", stdin=json.dumps(thing))
        except RuntimeError as error:
            return str(error)
        return ""


@pytest.fixture(scope="module")
def cluster(kube_api: KubeApi, tmp_path_factory: pytest.TempPathFactory) -> Cluster:  # noqa: F811
    made = Cluster(kube_api, tmp_path_factory.mktemp("admission"))
    assert made.changed("--check", "--diff") >= 1
    assert made.changed() >= 2
    for namespace in ("dcm-open", "dcm-exempt", "dcm-agents", "dcm-services"):
        found = made.api.kubectl("--namespace", namespace, "get", "serviceaccounts", "--output=name")
        if "serviceaccount/default" not in found:
            made.api.kubectl("--namespace", namespace, "create", "serviceaccount", "default")
    return made


def changed(*changes: Change) -> dict[str, Any]:
    """The good pod with something different."""
    pod = copy.deepcopy(POD)
    for change in changes:
        change(pod)
    return pod


def main(**values: Any) -> Change:
    """The container has other values."""
    return lambda pod: pod["spec"]["containers"][0].update(values)


def spec(**values: Any) -> Change:
    return lambda pod: pod["spec"].update(values)


def labels(**values: str) -> Change:
    return lambda pod: pod["metadata"].update(labels={name.replace("__", "/"): value for name, value in values.items()})


def inside(kind: str, pod: dict[str, Any]) -> dict[str, Any]:
    """Something that makes such pods."""
    template = {"metadata": {"labels": {"app": "tried", **pod["metadata"].get("labels", {})}}, "spec": pod["spec"]}
    selected = {"selector": {"matchLabels": {"app": "tried"}}, "template": template}
    finite = {"template": {**template, "spec": {**pod["spec"], "restartPolicy": "Never"}}}
    group, body = {
        "Deployment": ("apps/v1", selected),
        "DaemonSet": ("apps/v1", selected),
        "StatefulSet": ("apps/v1", {**selected, "serviceName": "tried"}),
        "Job": ("batch/v1", finite),
        "CronJob": ("batch/v1", {"schedule": "0 0 * * *", "jobTemplate": {"spec": finite}}),
    }[kind]
    return {"apiVersion": group, "kind": kind, "metadata": {"name": "tried"}, "spec": body}


def test_a_second_run_changes_nothing(cluster: Cluster) -> None:
    assert cluster.changed() == 0
    assert cluster.changed("--check", "--diff") == 0


@pytest.mark.parametrize("namespace", ["dcm-open", "dcm-services"])
def test_a_good_pod_is_let_in(cluster: Cluster, namespace: str) -> None:
    assert cluster.refusal(POD, namespace) == ""


@pytest.mark.parametrize(
    "image", ["dcm.example/service:1", "dcm.example/a/b/c:v1.2", f"dcm.example/x@{DIGEST}", f"dcm.example/x:1@{DIGEST}"]
)
def test_good_images(cluster: Cluster, image: str) -> None:
    assert cluster.refusal(changed(main(image=image))) == ""


BAD: list[tuple[list[Change], str, str]] = [
    ([main(resources={})], "main", "resources.limits.memory [resources]"),
    ([main(resources={"limits": RESOURCES["limits"], "requests": {"memory": "1Mi"}})], "main", "[resources]"),
    ([main(resources={"requests": RESOURCES["requests"]})], "main", "[resources]"),
    ([spec(initContainers=[{"name": "first", "image": "dcm.example/x:1"}])], "first", "[resources]"),
    ([main(resources={**RESOURCES, "limits": {"memory": "9Gi"}})], "main", "set resources.limits.memory to 8Gi or less [memory]"),
    ([spec(securityContext={})], "main", "set securityContext.runAsNonRoot to true"),
    ([spec(securityContext={"runAsNonRoot": True, "runAsUser": 0})], "main", "[non-root]"),
    ([main(securityContext={"runAsNonRoot": False})], "main", "[non-root]"),
    ([main(image="nginx:1")], "nginx:1", "add the registry to admission_registries [registry]"),
    ([main(image="dcm.example.evil/service:1")], "dcm.example.evil/service:1", "[registry]"),
    ([main(image="dcm.example:5000/service:1")], "dcm.example:5000/service:1", "[registry]"),
    ([main(image="dcm.example/service")], "dcm.example/service", "name a version as the tag, not latest, or a digest [tag]"),
    ([main(image=f"dcm.example/service:{MOVING}")], f"dcm.example/service:{MOVING}", "[tag]"),
    ([main(image="dcm.example/a:1/service")], "dcm.example/a:1/service", "[tag]"),
    ([spec(hostNetwork=True)], "hostNetwork", "[host]"),
    ([spec(hostPID=True)], "hostPID", "[host]"),
    ([spec(volumes=[{"name": "root", "hostPath": {"path": "/"}}])], "volume root", "[host]"),
    ([main(ports=[{"containerPort": 80, "hostPort": 80}])], "hostPort of main", "[host]"),
    ([spec(automountServiceAccountToken=True)], "automountServiceAccountToken", "label the pod dcm.platform/api-access: true [token]"),
    ([lambda pod: pod["spec"].pop("automountServiceAccountToken")], "automountServiceAccountToken", "[token]"),
]


@pytest.mark.parametrize(("changes", "names", "says"), BAD)
def test_a_bad_pod_is_refused_with_what_to_change(cluster: Cluster, changes: list[Change], names: str, says: str) -> None:
    refusal = cluster.refusal(changed(*changes))
    assert "ValidatingAdmissionPolicy 'dcm-pods'" in refusal
    assert f": {names}; " in refusal or f", {names}; " in refusal
    assert says in refusal


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet", "StatefulSet", "Job", "CronJob"])
def test_whatever_makes_pods_is_asked_the_same(cluster: Cluster, kind: str) -> None:
    assert cluster.refusal(inside(kind, POD)) == ""
    assert "[resources]" in cluster.refusal(inside(kind, changed(main(resources={}))))
    assert "[registry]" in cluster.refusal(inside(kind, changed(main(image="nginx:1"))))


def test_all_offenders_are_named(cluster: Cluster) -> None:
    second = {"name": "second", "image": "dcm.example/x:1"}
    refusal = cluster.refusal(changed(main(resources={}), lambda pod: pod["spec"]["containers"].append(second)))
    assert "containers that do not state what they need: main, second; set" in refusal


def test_a_labelled_pod_may_have_a_token(cluster: Cluster) -> None:
    assert cluster.refusal(changed(spec(automountServiceAccountToken=True), labels(dcm__platform="x"))) != ""
    allowed = changed(spec(automountServiceAccountToken=True))
    allowed["metadata"]["labels"] = {"dcm.platform/api-access": "true"}
    assert cluster.refusal(allowed) == ""
    assert cluster.refusal(inside("Deployment", allowed)) == ""


def test_exemptions_are_per_namespace_and_check(cluster: Cluster) -> None:
    into_node = changed(spec(hostNetwork=True))
    assert cluster.refusal(into_node, "dcm-agents") == ""
    assert "[registry]" in cluster.refusal(changed(main(image="nginx:1")), "dcm-agents")
    assert cluster.refusal(changed(spec(hostNetwork=True), main(image="nginx", resources={})), "dcm-exempt") == ""


def test_namespaces_of_others_are_left_alone(cluster: Cluster) -> None:
    cluster.api.kubectl("create", "namespace", "others")
    cluster.api.kubectl("--namespace", "others", "create", "serviceaccount", "pods")
    assert cluster.refusal(changed(main(image="nginx", resources={}), spec(serviceAccountName="pods")), "others") == ""


def test_what_was_there_before_can_be_labelled_and_deleted_but_not_changed(cluster: Cluster) -> None:
    """The rules come to a namespace that has a bad pod already."""
    kubectl = cluster.api.kubectl
    kubectl("create", "namespace", "older")
    kubectl("--namespace", "older", "create", "serviceaccount", "pods")
    old = changed(main(image="nginx:1"), spec(serviceAccountName="pods"))
    kubectl("--namespace", "older", "create", "-f", "-", stdin=json.dumps(old))
    kubectl("label", "namespace", "older", "app.kubernetes.io/part-of=dcm")
    kubectl("--namespace", "older", "label", "pod", "tried", "seen=yes")
    with pytest.raises(RuntimeError, match=r"nginx:2; take them from dcm.example/"):
        kubectl("--namespace", "older", "set", "image", "pod/tried", "main=nginx:2")
    with pytest.raises(RuntimeError, match=r"busybox:1; take them from"):
        kubectl("--namespace", "older", "debug", "tried", "--image=busybox:1", "--attach=false")
    kubectl("--namespace", "older", "delete", "pod", "tried", "--grace-period=0", "--force")


def test_the_role_fails_where_the_rules_do_not_hold(cluster: Cluster) -> None:
    result = cluster.run(admission_namespace="dcm-exempt", admission_timeout=2)
    assert result.returncode != 0
    assert "In namespace dcm-exempt a pod with an image from an unlisted registry was not refused by policy dcm-pods" in result.stdout


def test_an_empty_list_of_registries_is_refused(cluster: Cluster) -> None:
    result = cluster.run(platform_image_registries=[])
    assert result.returncode != 0
    assert "has to name where images come from" in result.stdout


def test_types_of_all_expressions_are_known(cluster: Cluster) -> None:
    """The API server has looked at each expression and warns of none."""
    status = json.loads(cluster.api.kubectl("get", "validatingadmissionpolicy", "dcm-pods", "-o", "json")).get("status", {})
    assert status.get("typeChecking", {}).get("expressionWarnings", []) == []
