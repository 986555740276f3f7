# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What charts/dcm-service makes of its values."""

from __future__ import annotations

from typing import Any

import pytest

from tests.charts.charting import CHARTS, Refused, helm, render, workload

CHART = "dcm-service"
SECRETS = {"secrets": {"source": "secret", "name": "dcm-service", "keys": ["postgres-password", "api-signing-key"]}}
PUBLIC = {"parentRefs": [{"name": "public", "namespace": "ingress"}]}
HTTPROUTE = {"route": {"kind": "httproute", "hostnames": ["api.dcm.localhost"], "httproute": PUBLIC}}
INGRESS = {"route": {"kind": "ingress", "hostnames": ["api.dcm.localhost"]}}


def kinds(*layers: dict[str, Any]) -> set[str]:
    return {kind for kind, _ in render(CHART, *layers)}


def container(*layers: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = workload(render(CHART, *layers))["spec"]["template"]["spec"]["containers"][0]
    return found


def test_least_service() -> None:
    assert kinds() == {"Deployment", "Service", "ServiceAccount", "ConfigMap", "NetworkPolicy"}


def test_stateful_service() -> None:
    claim = {"name": "state", "mountPath": "/state", "size": "1Gi", "storageClassName": "fast"}
    objects = render(CHART, {"workload": {"kind": "StatefulSet"}, "volumeClaims": [claim], "serviceMonitor": {"enabled": True}})
    spec = workload(objects)["spec"]
    assert spec["serviceName"] == "gateway-headless"
    assert objects["Service", "gateway-headless"]["spec"]["clusterIP"] == "None"
    assert "clusterIP" not in objects["Service", "gateway"]["spec"]
    assert spec["volumeClaimTemplates"][0]["spec"]["storageClassName"] == "fast"
    assert {"name": "state", "mountPath": "/state"} in spec["template"]["spec"]["containers"][0]["volumeMounts"]
    # scraped once, though two Services stand before the same pods
    assert objects["Service", "gateway-headless"]["metadata"]["labels"]["dcm.platform/headless"] == "true"
    [without] = objects["ServiceMonitor", "gateway"]["spec"]["selector"]["matchExpressions"]
    assert without == {"key": "dcm.platform/headless", "operator": "DoesNotExist"}


def test_probes_ask_the_management_port() -> None:
    found = container({"probes": {"readiness": {"path": "/readyz", "periodSeconds": 7}}, "management": {"port": 9191}})
    assert {"name": "management", "containerPort": 9191} in found["ports"]
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert found[probe]["httpGet"] == {"path": path, "port": "management"}
    assert found["readinessProbe"]["periodSeconds"] == 7


def test_service_without_http() -> None:
    objects = render(CHART, {"http": {"enabled": False}})
    assert [port["name"] for port in objects["Service", "gateway"]["spec"]["ports"]] == ["management"]
    assert [port["name"] for port in workload(objects)["spec"]["template"]["spec"]["containers"][0]["ports"]] == ["management"]


def test_secrets_are_files_and_only_the_named_ones() -> None:
    objects = render(CHART, SECRETS)
    pod = workload(objects)["spec"]["template"]["spec"]
    [volume] = [entry for entry in pod["volumes"] if entry["name"] == "secrets"]
    [source] = volume["projected"]["sources"]
    assert volume["projected"]["defaultMode"] == 0o440
    assert source["secret"]["name"] == "dcm-service"
    assert [item["key"] for item in source["secret"]["items"]] == ["postgres-password", "api-signing-key"]
    assert pod["securityContext"]["fsGroup"] == 10001
    assert {"name": "secrets", "mountPath": "/run/dcm/secrets", "readOnly": True} in pod["containers"][0]["volumeMounts"]
    assert objects["ConfigMap", "gateway"]["data"]["DCM_SECRETS_DIR"] == "/run/dcm/secrets"


AGENT_IMAGE = {"image": {"repository": "dcm.example/vault", "tag": "1a2b"}}
VAULT = {"secrets": {"source": "vault", "keys": ["postgres-password", "api-signing-key"]}, "vault": AGENT_IMAGE}


def test_the_agent_of_vault_writes_the_named_secrets_into_memory() -> None:
    objects = render(CHART, VAULT, {"vault": {"refreshSeconds": 7}})
    pod = workload(objects)["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["secrets"]["emptyDir"]["medium"] == "Memory"
    [token] = volumes["vault-token"]["projected"]["sources"]
    assert token["serviceAccountToken"]["audience"] == "vault"
    assert {"name": "secrets", "mountPath": "/run/dcm/secrets", "readOnly": True} in pod["containers"][0]["volumeMounts"]
    config = objects["ConfigMap", "gateway-vault-agent"]["data"]["agent.hcl"]
    assert 'role                     = "gateway"' in config
    assert 'static_secret_render_interval = "7s"' in config
    for key in ("postgres-password", "api-signing-key"):
        assert f'destination          = "/run/dcm/secrets/{key}"' in config
        assert f'secret \\"dcm/data/credentials/{key}\\"' in config
    assert not [name for kind, name in objects if kind == "Secret"]


def test_files_are_there_before_the_service_and_kept_fresh_beside_it() -> None:
    first, beside = workload(render(CHART, VAULT))["spec"]["template"]["spec"]["initContainers"]
    assert first["command"][-1] == "-exit-after-auth"
    assert "restartPolicy" not in first
    assert beside["restartPolicy"] == "Always"
    for container in (first, beside):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]


def test_a_changed_agent_rolls_the_pods() -> None:
    def annotations(*layers: dict[str, Any]) -> dict[str, str]:
        found: dict[str, str] = workload(render(CHART, *layers))["spec"]["template"]["metadata"]["annotations"]
        return found

    name = "dcm.platform/vault-agent-checksum"
    assert name not in annotations()
    assert annotations(VAULT)[name] != annotations(VAULT, {"vault": {"refreshSeconds": 7}})[name]


def test_no_secrets_no_folder() -> None:
    objects = render(CHART)
    assert "secrets" not in [volume["name"] for volume in workload(objects)["spec"]["template"]["spec"]["volumes"]]
    assert "DCM_SECRETS_DIR" not in (objects["ConfigMap", "gateway"].get("data") or {})


def test_a_changed_setting_rolls_the_pods() -> None:
    def checksum(*layers: dict[str, Any]) -> str:
        found: str = workload(render(CHART, *layers))["spec"]["template"]["metadata"]["annotations"]["dcm.platform/config-checksum"]
        return found

    one = {"env": {"DCM_LOG_LEVEL": "info"}}
    assert checksum(one) == checksum(one, {"service": {"annotations": {"a": "b"}}})
    assert checksum(one) != checksum({"env": {"DCM_LOG_LEVEL": "debug"}})


def test_a_new_chart_version_alone_restarts_nothing() -> None:
    labels = workload(render(CHART))["spec"]["template"]["metadata"]["labels"]
    assert not [key for key in labels if key.startswith("helm.sh/")]


def test_environment_stays_text() -> None:
    env = {"DCM_REDIS_PORT": "6379", "DCM_FLAG": "true", "DCM_TEXT": 'say "hi": #1'}
    assert render(CHART, {"env": env})["ConfigMap", "gateway"]["data"] == env


def test_image_by_digest() -> None:
    digest = "sha256:" + "a" * 64
    assert container({"image": {"tag": "", "digest": digest}})["image"] == f"dcm.example/image@{digest}"
    assert container({"image": {"digest": digest}})["image"] == f"dcm.example/image:0123abc@{digest}"


def test_shutdown() -> None:
    objects = render(CHART, {"shutdown": {"gracePeriodSeconds": 90, "pauseSeconds": 9}})
    pod = workload(objects)["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 90
    assert pod["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 9}}}
    assert "lifecycle" not in container({"shutdown": {"pauseSeconds": 0}})


def test_httproute_of_its_own_service() -> None:
    spec = render(CHART, HTTPROUTE)["HTTPRoute", "gateway"]["spec"]
    assert spec["parentRefs"] == [{"name": "public", "namespace": "ingress"}]
    assert spec["hostnames"] == ["api.dcm.localhost"]
    assert spec["rules"][0]["backendRefs"] == [{"name": "gateway", "port": 8080, "weight": 1}]


def test_httproute_with_weights() -> None:
    backends = [{"service": "gateway", "weight": 100}, {"service": "gateway-canary", "weight": 0, "port": 8081}]
    spec = render(CHART, HTTPROUTE, {"route": {"httproute": {"backends": backends}}})["HTTPRoute", "gateway"]["spec"]
    assert spec["rules"][0]["backendRefs"] == [
        {"name": "gateway", "port": 8080, "weight": 100},
        {"name": "gateway-canary", "port": 8081, "weight": 0},
    ]


def test_ingress() -> None:
    more = {"route": {"ingress": {"className": "traefik", "tlsSecretName": "api-tls"}}}
    spec = render(CHART, INGRESS, more)["Ingress", "gateway"]["spec"]
    assert spec["ingressClassName"] == "traefik"
    assert spec["tls"] == [{"secretName": "api-tls", "hosts": ["api.dcm.localhost"]}]
    assert spec["rules"][0]["http"]["paths"][0]["backend"] == {"service": {"name": "gateway", "port": {"name": "http"}}}
    assert "tls" not in render(CHART, INGRESS)["Ingress", "gateway"]["spec"]


def test_autoscaling_takes_the_replicas() -> None:
    custom = {"type": "Pods", "pods": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "5"}}}
    scaling = {"enabled": True, "minReplicas": 2, "maxReplicas": 6, "memoryPercent": 80, "metrics": [custom]}
    objects = render(CHART, {"autoscaling": scaling})
    spec = objects["HorizontalPodAutoscaler", "gateway"]["spec"]
    assert "replicas" not in workload(objects)["spec"]
    assert [metric.get("resource", {}).get("name") for metric in spec["metrics"]] == ["cpu", "memory", None]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 6)
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "gateway"}


@pytest.mark.parametrize(
    ("values", "made"),
    [
        ({}, False),
        ({"workload": {"replicas": 0}}, False),
        ({"workload": {"replicas": 2}}, True),
        ({"workload": {"replicas": 2}, "disruptionBudget": {"enabled": False}}, False),
        ({"autoscaling": {"enabled": True, "minReplicas": 1}}, False),
        ({"autoscaling": {"enabled": True, "minReplicas": 2}}, True),
    ],
)
def test_disruption_budget_never_blocks_a_single_pod(values: dict[str, Any], made: bool) -> None:
    objects = render(CHART, values)
    assert (("PodDisruptionBudget", "gateway") in objects) is made
    if made:
        assert objects["PodDisruptionBudget", "gateway"]["spec"]["maxUnavailable"] == 1


def test_flows() -> None:
    policy = {
        "ingress": [{"from": [{"name": "dashboard"}, {"namespace": "ingress", "name": "traefik"}], "ports": [8080]}],
        "egress": [
            {"to": [{"namespace": "dcm-data", "name": "postgres"}], "ports": [5432]},
            {"to": [{"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}], "ports": [443, 8443], "protocols": ["TCP", "UDP"]},
        ],
    }
    spec = render(CHART, {"networkPolicy": policy})["NetworkPolicy", "gateway"]["spec"]
    [ingress] = spec["ingress"]
    dns, postgres, world = spec["egress"]
    assert ingress["from"] == [
        {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "dashboard"}}},
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}},
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "traefik"}},
        },
    ]
    assert ingress["ports"] == [{"protocol": "TCP", "port": 8080}]
    assert dns["ports"] == [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    assert postgres["ports"] == [{"protocol": "TCP", "port": 5432}]
    assert world["to"] == [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]
    assert len(world["ports"]) == 4


def test_canary_release_keeps_the_name_but_not_the_selector() -> None:
    objects = render(CHART, {"nameOverride": "gateway"}, release="gateway-canary")
    selector = objects["Service", "gateway-canary"]["spec"]["selector"]
    assert selector == {"app.kubernetes.io/name": "gateway", "app.kubernetes.io/instance": "gateway-canary"}


def test_spread_selects_the_own_pods() -> None:
    spread = workload(render(CHART))["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert [entry["topologyKey"] for entry in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert all(entry["labelSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "gateway" for entry in spread)


def test_scheduling_and_extras() -> None:
    values = {
        "priorityClassName": "dcm-services",
        "nodeSelector": {"pool": "services"},
        "tolerations": [{"key": "x", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "image": {"pullSecrets": ["registry"]},
        "podLabels": {"tier": "edge", "app.kubernetes.io/name": "no"},
        "podAnnotations": {"note": "1"},
        "extraVolumes": [{"name": "more", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    }
    template = workload(render(CHART, values))["spec"]["template"]
    pod = template["spec"]
    assert pod["priorityClassName"] == "dcm-services"
    assert pod["nodeSelector"] == {"pool": "services"}
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert template["metadata"]["labels"]["tier"] == "edge"
    assert template["metadata"]["labels"]["app.kubernetes.io/name"] == "gateway"
    assert template["metadata"]["annotations"]["note"] == "1"
    assert {"name": "more", "mountPath": "/more"} in pod["containers"][0]["volumeMounts"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"image": {"tag": 12}}, "/image/tag"),
        ({"env": {"DCM_PORT": 5432}}, "/env/DCM_PORT"),
        ({"env": {"DCM_POSTGRES_PASSWORD": "x"}}, "/env/DCM_POSTGRES_PASSWORD"),
        ({"env": {"lower": "x"}}, "/env"),
        ({"secrets": {"source": "secret"}}, "/secrets"),
        ({"secrets": {"source": "file"}}, "/secrets/source"),
        ({"secrets": {"source": "vault", "keys": ["a"]}}, "vault.image has no repository"),
        ({"secrets": {"source": "vault", "keys": []}, "vault": AGENT_IMAGE}, "/secrets/keys"),
        ({"vault": {"address": "http://vault:8200"}}, "/vault/address"),
        ({"vault": {"role": 'x" }'}}, "/vault/role"),
        ({"workload": {"kind": "DaemonSet"}}, "/workload/kind"),
        ({"workload": {"kind": "StatefulSet", "strategy": "Recreate"}}, "/workload/strategy"),
        ({"workload": {"replicas": "two"}}, "/workload/replicas"),
        ({"workload": {"replica": 2}}, "/workload"),
        ({"http": {"port": 0}}, "/http/port"),
        ({"route": {"kind": "httproute", "hostnames": ["a.b"]}}, "/route/httproute/parentRefs"),
        ({"route": {"kind": "ingress"}}, "/route/hostnames"),
        ({"route": {"kind": "ingress", "hostnames": ["UPPER"]}}, "/route/hostnames/0"),
        ({"route": {"path": "api"}}, "/route/path"),
        ({"probes": {"liveness": {"path": None}}}, "/probes/liveness"),
        ({"disruptionBudget": {"maxUnavailable": 0}}, "/disruptionBudget/maxUnavailable"),
        ({"disruptionBudget": {"minAvailable": 1}}, "/disruptionBudget"),
        ({"topologySpread": [{"maxSkew": 1}]}, "/topologySpread/0"),
        ({"tmp": {"sizeLimit": "big"}}, "/sizeLimit"),
        ({"shutdown": {"gracePeriodSeconds": 5}}, "shutdown.pauseSeconds (5) must be less than shutdown.gracePeriodSeconds (5)"),
        ({"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}, "autoscaling.maxReplicas (2) is below"),
        ({"http": {"enabled": False}, **INGRESS}, "http.enabled is false"),
        ({"http": {"port": 9090}}, "http.port and management.port are both 9090"),
        ({"volumeClaims": [{"name": "a", "mountPath": "/a", "size": "1Gi"}]}, "volumeClaims need workload.kind StatefulSet"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_wrong_values_are_refused_with_their_path(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused) as refused:
        render(CHART, wrong)
    assert words in str(refused.value)


def test_lint_of_a_full_service() -> None:
    values = {"image": {"repository": "dcm.example/image", "tag": "1.0"}, "autoscaling": {"enabled": True}, **SECRETS, **HTTPROUTE}
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHARTS / CHART), values=values)
