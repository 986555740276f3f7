# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Everything that the charts make, as a real API server sees it: unknown fields refused, Pod Security `restricted` enforced."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.charts.charting import render
from tests.support.kube_api import KubeApi, kube_api  # noqa: F401

# Kinds that come with controllers of their own; the API server knows them only with their definitions.
CUSTOM = {"GatewayClass", "HTTPRoute", "ServiceMonitor"}

FULL: dict[str, Any] = {
    "args": ["gateway"],
    "env": {"DCM_ENVIRONMENT": "test"},
    "secrets": {"source": "secret", "name": "dcm-service", "keys": ["postgres-password"]},
    "workload": {"replicas": 3},
    "route": {"kind": "ingress", "hostnames": ["api.dcm.localhost"], "ingress": {"className": "traefik", "tlsSecretName": "tls"}},
    "autoscaling": {
        "enabled": True,
        "memoryPercent": 80,
        "metrics": [{"type": "Pods", "pods": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "5"}}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
    },
    "networkPolicy": {
        "ingress": [{"from": [{"name": "dashboard"}, {"namespace": "ingress"}], "ports": [8080]}],
        "egress": [{"to": [{"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}], "ports": [443], "protocols": ["TCP", "UDP"]}],
    },
    "tolerations": [{"key": "spot", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "image": {"pullSecrets": ["registry"]},
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
}
STATEFUL: dict[str, Any] = {
    "workload": {"kind": "StatefulSet", "replicas": 2},
    "volumeClaims": [{"name": "state", "mountPath": "/state", "size": "1Gi"}],
}
ACCESS = {"networkPolicy": {"ingress": [{"from": [{"namespace": "dcm-services", "name": "gateway"}], "ports": [1234]}]}}
CASES = [
    ("dcm-service", {}),
    ("dcm-service", FULL),
    ("dcm-service", STATEFUL),
    ("lite-cert-manager", ACCESS),
    ("lite-dns", ACCESS),
    ("lite-external-dns", {"secret": {"name": "dns", "env": {"key": "KEY"}}, "flags": {"aws-zone-type": "public", "once": ""}}),
    ("lite-pgbouncer", {**ACCESS, "replicas": 2}),
    ("lite-postgres", ACCESS),
    ("lite-redis", ACCESS),
    ("lite-traefik", {**ACCESS, "gatewayClass": {"enabled": False}, "statusAddress": "10.0.0.1"}),
]


@pytest.fixture(scope="module")
def namespace(kube_api: KubeApi) -> str:  # noqa: F811
    kube_api.kubectl("create", "namespace", "charts")
    kube_api.kubectl("-n", "charts", "create", "serviceaccount", "pods")
    kube_api.kubectl("label", "namespace", "charts", "pod-security.kubernetes.io/enforce=restricted")
    return "charts"


def pod_of(entry: dict[str, Any]) -> dict[str, Any]:
    """The pod that a workload would start: Pod Security looks at pods, not at what makes them."""
    spec = dict(entry["spec"]["template"]["spec"])
    claims = [claim["metadata"]["name"] for claim in entry["spec"].get("volumeClaimTemplates", [])]
    spec["volumes"] = [*spec.get("volumes", []), *({"name": name, "emptyDir": {}} for name in claims)]
    metadata = {"name": entry["metadata"]["name"], "namespace": entry["metadata"]["namespace"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**spec, "serviceAccountName": "pods"}}


def dry_run(api: KubeApi, entry: dict[str, Any]) -> None:
    api.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(entry))


@pytest.mark.parametrize(("chart", "values"), CASES, ids=[f"{chart}-{number}" for number, (chart, _) in enumerate(CASES)])
def test_api_server_takes_it(kube_api: KubeApi, namespace: str, chart: str, values: dict[str, Any]) -> None:  # noqa: F811
    objects = render(chart, values, release="tested", namespace=namespace)
    for (kind, _), entry in objects.items():
        assert kind not in CUSTOM
        dry_run(kube_api, entry)
        if kind in ("Deployment", "StatefulSet"):
            dry_run(kube_api, pod_of(entry))


def test_the_api_server_would_refuse_wrong_ones(kube_api: KubeApi, namespace: str) -> None:  # noqa: F811
    objects = render("dcm-service", release="tested", namespace=namespace)
    deployment = objects["Deployment", "tested"]
    pod = pod_of(deployment)
    pod["spec"]["securityContext"]["runAsNonRoot"] = False
    with pytest.raises(RuntimeError, match="violates PodSecurity"):
        dry_run(kube_api, pod)
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(RuntimeError, match="unknown field"):
        dry_run(kube_api, deployment)
