# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take one guard of the running platform away, and exactly its promise turns red. Everything is put back afterwards."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[3]
INVENTORY = ROOT / "molecule/default/inventories/local"
STATE = Path("/var/lib/dcm/molecule")
MINE, OTHER = "guild_1100000000000000001", "guild_1100000000000000002"


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    command = [str(STATE / "bin/kubectl"), f"--kubeconfig={STATE}/kubeconfig", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout


def secret(namespace: str, name: str, key: str) -> str:
    return base64.b64decode(json.loads(kubectl("get", "secret", "-n", namespace, name, "-o", "json"))["data"][key]).decode()


def sql(*statements: str) -> None:
    host = kubectl("get", "service", "-n", "dcm-data", "postgres", "-o", "jsonpath={.spec.clusterIP}")
    user, password = (secret("dcm-data", "postgres-admin", key) for key in ("username", "password"))
    with psycopg.connect(host=host, dbname="dcm", user=user, password=password, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@contextlib.contextmanager
def widened_kubeconfig() -> Iterator[None]:
    (STATE / "kubeconfig").chmod(0o644)
    yield
    (STATE / "kubeconfig").chmod(0o600)


@contextlib.contextmanager
def no_default_deny() -> Iterator[None]:
    saved = kubectl("get", "networkpolicy", "-n", "dcm-services", "default-deny", "-o", "yaml")
    kubectl("delete", "networkpolicy", "-n", "dcm-services", "default-deny")
    yield
    kubectl("create", "-f", "-", stdin=saved)


@contextlib.contextmanager
def one_flow_too_many() -> Iterator[None]:
    rule = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "postgres"}}, "policyTypes": ["Ingress"], "ingress": [{}]}
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "too-wide"}, "spec": rule}
    kubectl("create", "-n", "dcm-data", "-f", "-", stdin=json.dumps(policy))
    yield
    kubectl("delete", "networkpolicy", "-n", "dcm-data", "too-wide")


@contextlib.contextmanager
def no_admission() -> Iterator[None]:
    """The rules stay, but hold nowhere."""
    saved = kubectl("get", "validatingadmissionpolicybinding", "dcm-pods", "-o", "yaml")
    kubectl("delete", "validatingadmissionpolicybinding", "dcm-pods")
    yield
    kubectl("create", "-f", "-", stdin=saved)


@contextlib.contextmanager
def exempt_namespace() -> Iterator[None]:
    kubectl("label", "namespace", "dcm-data", "admission.dcm.platform/registry=exempt")
    yield
    kubectl("label", "namespace", "dcm-data", "admission.dcm.platform/registry-")


@contextlib.contextmanager
def no_pod_security() -> Iterator[None]:
    kubectl("label", "namespace", "dcm-services", "pod-security.kubernetes.io/enforce=privileged", "--overwrite")
    yield
    kubectl("label", "namespace", "dcm-services", "pod-security.kubernetes.io/enforce=restricted", "--overwrite")


@contextlib.contextmanager
def one_grant_too_many() -> Iterator[None]:
    sql(f"GRANT USAGE ON SCHEMA {OTHER} TO {MINE}_app", f"GRANT SELECT ON {OTHER}.cleanup_action TO {MINE}_app")
    yield
    sql(f"REVOKE ALL ON {OTHER}.cleanup_action FROM {MINE}_app", f"REVOKE ALL ON SCHEMA {OTHER} FROM {MINE}_app")


@contextlib.contextmanager
def leaky_pooler() -> Iterator[None]:
    """Sessions are no longer wiped: what a client leaves in one, the next client finds."""

    def settle(config: str) -> None:
        kubectl("replace", "-f", "-", stdin=config)
        kubectl("rollout", "restart", "-n", "dcm-data", "deployment/postgres-pooler")
        kubectl("rollout", "status", "-n", "dcm-data", "deployment/postgres-pooler", "--timeout=120s")

    saved = json.loads(kubectl("get", "configmap", "-n", "dcm-data", "postgres-pooler", "-o", "json"))
    del saved["metadata"]["resourceVersion"]
    whole = json.dumps(saved)
    settle(whole.replace("server_reset_query_always = 1", "server_reset_query_always = 0"))
    yield
    settle(whole)


@contextlib.contextmanager
def mighty_services() -> Iterator[None]:
    sql("ALTER ROLE dcm_service CREATEDB")
    yield
    sql("ALTER ROLE dcm_service NOCREATEDB")


@contextlib.contextmanager
def suspended_guild() -> Iterator[None]:
    sql("UPDATE dcm.guild SET state = 'suspended' WHERE guild_id = 1100000000000000002")
    yield
    sql("UPDATE dcm.guild SET state = 'active' WHERE guild_id = 1100000000000000002")


@contextlib.contextmanager
def no_archive() -> Iterator[None]:
    """The server's own settings win over the chart's: WAL goes nowhere."""
    sql("ALTER SYSTEM SET archive_command = '/bin/false'", "SELECT pg_reload_conf()")
    yield
    sql("ALTER SYSTEM RESET archive_command", "SELECT pg_reload_conf()")


@contextlib.contextmanager
def secret_in_a_config_map() -> Iterator[None]:
    password = secret("dcm-data", "dcm-service", "postgres-password")
    kubectl("create", "configmap", "-n", "dcm-services", "leak", f"--from-literal=settings=password={password}")
    yield
    kubectl("delete", "configmap", "-n", "dcm-services", "leak")


@contextlib.contextmanager
def without(namespace: str, deployment: str, pods: str) -> Iterator[None]:
    kubectl("scale", "deployment", "-n", namespace, deployment, "--replicas=0")
    kubectl("wait", "pods", "-n", namespace, "-l", f"app.kubernetes.io/name={pods}", "--for=delete", "--timeout=60s")
    yield
    kubectl("scale", "deployment", "-n", namespace, deployment, "--replicas=1")
    kubectl("rollout", "status", "-n", namespace, f"deployment/{deployment}", "--timeout=90s")


def no_worker() -> contextlib.AbstractContextManager[None]:
    return without("dcm-services", "worker", "worker")


def no_webhook() -> contextlib.AbstractContextManager[None]:
    return without("cert-manager", "cert-manager-webhook", "webhook")


def no_ingress() -> contextlib.AbstractContextManager[None]:
    return without("traefik", "traefik", "traefik")


@pytest.mark.parametrize(
    ("taken_away", "promise"),
    [
        (widened_kubeconfig, "cluster.kubeconfig_private"),
        (no_default_deny, "cluster.network_policies"),
        (one_flow_too_many, "cluster.network_policies"),
        (no_admission, "cluster.admission"),
        (exempt_namespace, "cluster.admission"),
        (no_pod_security, "cluster.pod_security"),
        (no_webhook, "components.admission"),
        (no_ingress, "components.tls_served"),
        (mighty_services, "data.postgres_scram"),
        (one_grant_too_many, "data.guild_isolation"),
        (leaky_pooler, "data.pooler_wipes"),
        (suspended_guild, "data.registry_complete"),
        (no_archive, "data.wal_archived"),
        (secret_in_a_config_map, "services.no_secrets_in_pods"),
        (no_worker, "services.ready"),
    ],
)
def test_exactly_its_promise_turns_red(
    taken_away: Callable[[], contextlib.AbstractContextManager[None]], promise: str, tmp_path: Path
) -> None:
    only = [promise, "cluster.kubeconfig_private", "cluster.admission", "cluster.pod_security"]
    only += ["data.registry_complete", "data.guild_isolation", "data.pooler_wipes", "data.restore_proven"]
    only += ["services.no_secrets_in_pods", "services.ready"]
    variables = {"verify_only": only, "verify_report_dir": str(tmp_path)}
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        "playbooks/verify.yml",
        "-i",
        str(INVENTORY),
        "-e",
        json.dumps(variables),
    ]
    with contextlib.ExitStack() as stack:
        stack.enter_context(taken_away())
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    report = json.loads((tmp_path / "latest/report.json").read_text())
    assert [item["id"] for item in report["promises"] if item["state"] == "broken"] == [promise], done.stdout
    assert done.returncode != 0
