# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the lite charts make of their values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.charts.charting import Refused, render, workload

SECRETS = {"lite-postgres": ("postgres-admin", ["username", "password"]), "lite-redis": ("redis-auth", ["password"])}


@pytest.mark.parametrize("chart", SECRETS)
def test_one_server_with_a_volume(chart: str) -> None:
    spec = workload(render(chart, {"storage": {"size": "9Gi", "storageClassName": "slow"}}))["spec"]
    assert spec["replicas"] == 1
    [claim] = spec["volumeClaimTemplates"]
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "9Gi"}}, "storageClassName": "slow"}


@pytest.mark.parametrize("chart", SECRETS)
def test_passwords_come_as_files(chart: str) -> None:
    objects = render(chart)
    secret, keys = SECRETS[chart]
    pod = workload(objects)["spec"]["template"]["spec"]
    [volume] = [entry for entry in pod["volumes"] if entry["name"] == "secrets"]
    [source] = volume["projected"]["sources"]
    assert source["secret"]["name"] == secret
    assert [item["key"] for item in source["secret"]["items"]] == keys
    assert "secretKeyRef" not in json.dumps(pod)
    assert not [entry for (kind, _), entry in objects.items() if kind == "Secret"]


@pytest.mark.parametrize("chart", SECRETS)
def test_a_changed_setting_restarts_the_server(chart: str) -> None:
    def checksum(*layers: dict[str, Any]) -> str:
        found: str = workload(render(chart, *layers))["spec"]["template"]["metadata"]["annotations"]["dcm.platform/config-checksum"]
        return found

    setting = {"lite-postgres": {"work_mem": "8MB"}, "lite-redis": {"maxmemory": "99mb"}}[chart]
    assert checksum() == checksum({"storage": {"size": "2Gi"}})
    assert checksum() != checksum({"settings": setting})


@pytest.mark.parametrize(
    ("chart", "wrong", "path"),
    [
        ("lite-postgres", {"settings": {"work_mem": 8}}, "/settings/work_mem"),
        ("lite-postgres", {"settings": {"work_mem": "8' x"}}, "/settings/work_mem"),
        ("lite-postgres", {"settings": {"listen_addresses": "localhost"}}, "/settings/listen_addresses"),
        ("lite-postgres", {"database": 'dcm"; --'}, "/database"),
        ("lite-postgres", {"accessFrom": ["samehost trust"]}, "/accessFrom/0"),
        ("lite-postgres", {"adminSecret": {"name": ""}}, "/adminSecret/name"),
        ("lite-redis", {"settings": {"requirepass": "x"}}, "/settings/requirepass"),
        ("lite-redis", {"accessRules": ">password"}, "/accessRules"),
        ("lite-redis", {"storage": {"size": "1 GB"}}, "/storage/size"),
    ],
)
def test_wrong_values_are_refused_with_their_path(chart: str, wrong: dict[str, Any], path: str) -> None:
    with pytest.raises(Refused) as refused:
        render(chart, wrong)
    assert path in str(refused.value)


def test_postgres_asks_everybody_for_a_password() -> None:
    rules = render("lite-postgres")["ConfigMap", "gateway"]["data"]["pg_hba.conf"].splitlines()
    assert {line.split()[-1] for line in rules if line and not line.startswith("#")} == {"scram-sha-256", "reject"}
