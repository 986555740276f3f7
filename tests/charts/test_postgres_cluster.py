# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""charts/postgres-cluster: what it asks the operator for, and that a real API server with the operator's definitions takes all of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.charts.charting import Refused, render
from tests.charts.test_api_server import dry_run
from tests.support.cnpg import definitions
from tests.support.kube_api import KubeApi, kube_api  # noqa: F401

BACKUP: dict[str, Any] = {
    "backup": {
        "enabled": True,
        "destination": "s3://dcm-backups/production",
        "endpoint": "https://s3.example",
        "caSecret": "s3-ca",
        "credentialsSecret": {"name": "s3", "regionKey": "region"},
    }
}
FULL: dict[str, Any] = {
    **BACKUP,
    "labels": {"team": "data"},
    "image": {"digest": f"sha256:{'0' * 64}", "pullSecrets": ["registry"]},
    "walStorage": {"size": "10Gi", "storageClassName": "fast"},
    "storage": {"size": "20Gi", "storageClassName": "fast"},
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn"}},
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "tolerations": [{"key": "data", "operator": "Exists"}],
    "nodeSelector": {"disk": "fast"},
    "priorityClassName": "dcm-data",
    "networkPolicy": {
        "ingress": [{"from": [{"namespace": "dcm-data", "name": "postgres-pooler"}], "ports": [5432]}],
        "egress": [{"to": [{"cidr": "0.0.0.0/0"}], "ports": [443]}],
    },
}


def cluster(*layers: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = render("postgres-cluster", *layers, release="postgres")["Cluster", "postgres"]["spec"]
    return spec


def test_three_instances_one_copy_before_each_commit_and_no_two_on_a_node() -> None:
    spec = cluster()
    assert spec["instances"] == 3
    assert spec["postgresql"]["synchronous"] == {"method": "any", "number": 1, "dataDurability": "required"}
    assert spec["affinity"]["podAntiAffinityType"] == "required"
    assert spec["enablePDB"]
    assert "plugins" not in spec


def test_the_contract_of_every_profile_is_kept() -> None:
    """The Service and the Secret that lite-postgres has."""
    spec = cluster({"adminSecret": {"name": "other-admin"}})
    [service] = spec["managed"]["services"]["additional"]
    assert (service["selectorType"], service["serviceTemplate"]["metadata"]["name"]) == ("rw", "postgres")
    assert spec["enableSuperuserAccess"]
    assert spec["superuserSecret"] == {"name": "other-admin"}
    assert spec["bootstrap"]["initdb"]["database"] == "dcm"


def test_pods_of_the_operator_say_that_they_have_a_token_of_the_api() -> None:
    """Role admission refuses them otherwise."""
    assert cluster({"labels": {"dcm.platform/api-access": "no"}})["inheritedMetadata"]["labels"]["dcm.platform/api-access"] == "true"


def test_nobody_gets_in_without_tls() -> None:
    assert cluster()["postgresql"]["pg_hba"] == ["hostssl all all all scram-sha-256", "hostnossl all all all reject"]


def test_an_image_by_digest_alone_says_its_major_version() -> None:
    objects = render("postgres-cluster", {"image": {"tag": "", "digest": f"sha256:{'0' * 64}"}, "major": 17}, release="postgres")
    [image] = objects["ImageCatalog", "postgres"]["spec"]["images"]
    assert image == {"major": 17, "image": f"dcm.example/image@sha256:{'0' * 64}"}
    assert objects["Cluster", "postgres"]["spec"]["imageCatalogRef"]["major"] == 17


def test_only_instances_the_operator_and_who_is_named_get_in() -> None:
    rules = render("postgres-cluster", FULL, release="postgres")["NetworkPolicy", "postgres"]["spec"]
    assert rules["podSelector"]["matchLabels"] == {"cnpg.io/cluster": "postgres"}
    peers = [(peer, [port["port"] for port in rule["ports"]]) for rule in rules["ingress"] for peer in rule["from"]]
    assert [ports for _, ports in peers] == [[5432, 8000], [5432, 8000], [5432]]
    assert peers[0][0] == {"podSelector": {"matchLabels": {"cnpg.io/cluster": "postgres"}}}
    assert peers[2][0]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "postgres-pooler"}


def test_backups_go_where_it_is_said_or_nowhere() -> None:
    objects = render("postgres-cluster", BACKUP, release="postgres")
    assert objects["ObjectStore", "postgres"]["spec"]["configuration"]["destinationPath"] == "s3://dcm-backups/production"
    assert objects["ScheduledBackup", "postgres"]["spec"]["pluginConfiguration"] == {"name": "barman-cloud.cloudnative-pg.io"}
    assert objects["Cluster", "postgres"]["spec"]["plugins"][0]["parameters"] == {"barmanObjectName": "postgres"}
    by_role = render("postgres-cluster", {"backup": {"enabled": True, "destination": "s3://x"}}, release="postgres")
    assert by_role["ObjectStore", "postgres"]["spec"]["configuration"]["s3Credentials"] == {"inheritFromIAMRole": True}
    with pytest.raises(Refused, match="/backup/destination"):
        render("postgres-cluster", {"backup": {"enabled": True}})


@pytest.fixture(scope="module")
def api(kube_api: KubeApi) -> KubeApi:  # noqa: F811
    kube_api.kubectl("create", "namespace", "clusters")
    names = []
    for definition in definitions():
        kube_api.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(definition))
        names.append(f"crd/{definition['metadata']['name']}")
    kube_api.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
    return kube_api


@pytest.mark.parametrize("values", [{}, FULL, {"instances": 1, "synchronous": {"number": 0}}], ids=["least", "full", "one"])
def test_the_api_server_takes_it(api: KubeApi, values: dict[str, Any]) -> None:
    for entry in render("postgres-cluster", values, release="postgres", namespace="clusters").values():
        dry_run(api, entry)


def test_the_api_server_would_refuse_a_wrong_one(api: KubeApi) -> None:
    objects = render("postgres-cluster", BACKUP, release="postgres", namespace="clusters")
    for kind, path in (("Cluster", "instancez"), ("ObjectStore", "retention"), ("ScheduledBackup", "plugin")):
        wrong = objects[kind, "postgres"]
        wrong["spec"][path] = 1
        with pytest.raises(RuntimeError, match="unknown field"):
            dry_run(api, wrong)
