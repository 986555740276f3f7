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
        ("lite-vault", {"settings": {"listener": []}}, "/settings"),
        ("lite-vault", {"seal": {"type": "shamir"}}, "/seal/type"),
        ("lite-vault", {"seal": {"type": "transit", "settings": {"token": "x"}}}, "/seal/settings"),
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


def settings_of(objects: Any, name: str) -> dict[str, str]:
    lines = objects["ConfigMap", "gateway"]["data"][name].splitlines()
    return {key.strip(): value.strip(" '") for key, _, value in (line.partition("=") for line in lines) if value}


S3 = {
    "type": "s3",
    "cipherSecret": "cipher",
    "s3": {"bucket": "backups", "endpoint": "store.example:9000", "credentialsSecret": "keys", "caConfigMap": "authority"},
}


def test_without_backups_postgres_archives_nothing() -> None:
    objects = render("lite-postgres")
    assert "archive_mode" not in settings_of(objects, "postgresql.conf")
    assert not {name for name in objects["ConfigMap", "gateway"]["data"] if "backup" in name or "pgbackrest" in name}
    assert [container["name"] for container in workload(objects)["spec"]["template"]["spec"]["containers"]] == ["postgres"]
    assert ("PersistentVolumeClaim", "gateway-backup") not in objects


def test_a_posix_repository_outlives_the_release() -> None:
    objects = render("lite-postgres", {"backup": {"enabled": True}, "repository": {"cipherSecret": "cipher", "size": "9Gi"}})
    claim = objects["PersistentVolumeClaim", "gateway-backup"]
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert claim["spec"]["resources"]["requests"]["storage"] == "9Gi"
    found = settings_of(objects, "postgresql.conf")
    assert found["archive_mode"] == "on"
    assert found["archive_timeout"] == "60s"
    assert "pgbackrest" in found["archive_command"], "pgBackRest's check looks for its name"
    pod = workload(objects)["spec"]["template"]["spec"]
    assert [container["name"] for container in pod["containers"]] == ["postgres", "backup"]
    assert pod["containers"][1]["securityContext"] == pod["containers"][0]["securityContext"]
    [volume] = [entry for entry in pod["volumes"] if entry["name"] == "repository"]
    assert volume["persistentVolumeClaim"] == {"claimName": "gateway-backup"}


def test_a_scratch_server_reads_the_repository_of_another_and_writes_none() -> None:
    values = {"restore": {"id": "drill-1", "type": "name", "target": "point"}, "repository": {"claim": "postgres-backup"}}
    objects = render("lite-postgres", values)
    assert "archive_mode" not in settings_of(objects, "postgresql.conf")
    assert not [name for kind, name in objects if kind == "PersistentVolumeClaim"]
    [container] = workload(objects)["spec"]["template"]["spec"]["containers"]
    [mount] = [entry for entry in container["volumeMounts"] if entry["name"] == "repository"]
    assert mount["readOnly"] is True
    assert container["startupProbe"]["failureThreshold"] * container["startupProbe"]["periodSeconds"] >= 24 * 3600


def test_keys_of_the_repository_are_files_and_not_in_its_configuration() -> None:
    objects = render("lite-postgres", {"backup": {"enabled": True}, "repository": S3})
    found = settings_of(objects, "pgbackrest.conf")
    assert found["repo1-s3-endpoint"] == "store.example"
    assert found["repo1-storage-port"] == "9000"
    assert found["repo1-storage-verify-tls"] == "y"
    assert found["repo1-cipher-type"] == "aes-256-cbc"
    assert not [name for name in found if "pass" in name or "key" in name]
    pod = workload(objects)["spec"]["template"]["spec"]
    [volume] = [entry for entry in pod["volumes"] if entry["name"] == "repository-access"]
    named = [source.get("secret", source.get("configMap"))["name"] for source in volume["projected"]["sources"]]
    assert named == ["cipher", "keys", "authority"]
    assert ("PersistentVolumeClaim", "gateway-backup") not in objects
    assert "repository" not in {entry["name"] for entry in pod["volumes"]}


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"repository": {"type": "s3"}}, "/repository/s3"),
        ({"repository": {**S3, "s3": {**S3["s3"], "bucket": ""}}}, "/repository/s3/bucket"),  # type: ignore[dict-item]
        ({"repository": {"options": {"repo1-cipher-pass": "open"}}}, "/repository/options"),
        ({"repository": {"options": {"repo1-s3-key-secret": "open"}}}, "/repository/options"),
        ({"restore": {"id": "x", "type": "time"}}, "/restore"),
        ({"restore": {"id": "x y"}}, "/restore/id"),
        ({"restore": {"id": "x", "type": "time", "target": "now'; DROP"}}, "/restore/target"),
        ({"settings": {"archive_command": "true"}}, "/settings/archive_command"),
        ({"backup": {"keepFull": 0}}, "/backup/keepFull"),
    ],
)
def test_wrong_backup_values_are_refused_with_their_path(wrong: dict[str, Any], path: str) -> None:
    with pytest.raises(Refused) as refused:
        render("lite-postgres", wrong)
    assert path in str(refused.value)


def vault_config(*layers: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(render("lite-vault", *layers, release="vault")["ConfigMap", "vault"]["data"]["vault.json"])
    return found


def test_vault_speaks_tls_alone_and_keeps_its_data_on_the_volume() -> None:
    config = vault_config({"settings": {"log_level": "debug"}})
    [listener] = config["listener"]
    assert listener["tcp"]["tls_cert_file"].startswith("/run/vault/tls/")
    assert "tls_disable" not in listener["tcp"]
    assert config["storage"]["raft"]["path"] == "/vault/data"
    assert config["log_level"] == "debug"
    assert "seal" not in config


def test_vault_can_be_unsealed_by_a_key_service() -> None:
    seal = {
        "seal": {
            "type": "transit",
            "settings": {"address": "https://other:8200", "key_name": "unseal", "mount_path": "transit/"},
            "secret": "seal",
        }
    }
    assert vault_config(seal)["seal"] == [{"transit": seal["seal"]["settings"]}]
    [container] = workload(render("lite-vault", seal))["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "seal"}}]


def test_a_sealed_vault_is_ready_to_be_unsealed() -> None:
    [container] = workload(render("lite-vault"))["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["scheme"] == "HTTPS"
        assert "sealedcode=204" in container[probe]["httpGet"]["path"]


def test_a_new_certificate_restarts_vault() -> None:
    def annotations(*layers: dict[str, Any]) -> dict[str, str]:
        found: dict[str, str] = workload(render("lite-vault", *layers))["spec"]["template"]["metadata"]["annotations"]
        return found

    assert annotations({"tls": {"revision": "b"}})["dcm.platform/certificate"] == "b"
    issued = render("lite-vault", {"tls": {"issuerRef": {"name": "internal", "kind": "ClusterIssuer"}}}, release="vault", namespace="vault")
    assert "vault.vault.svc" in issued["Certificate", "vault"]["spec"]["dnsNames"]
    assert ("Certificate", "vault") not in render("lite-vault", release="vault")
