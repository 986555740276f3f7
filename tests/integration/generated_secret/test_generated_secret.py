# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module generated_secret against a real API server: check, create, repeat, rotate, repeat, concurrently."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.kube_api import KubeApi, kube_api  # noqa: F401

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = "from ansible_collections.dcm.platform.plugins.modules.generated_secret import main; main()"


class Module:
    """The module as Ansible runs it: arguments on standard input, a JSON result."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self.api, self.namespace = api, namespace

    def __call__(self, *entries: dict[str, Any], rotate: list[str] | None = None, **flags: bool) -> dict[str, Any]:
        secrets = [{"namespace": self.namespace, **entry} for entry in entries]
        arguments = {"kubeconfig": str(self.api.kubeconfig), "secrets": secrets, "rotate": rotate or []}
        arguments |= {f"_ansible_{name}": value for name, value in flags.items()}
        command = [sys.executable, "-c", PROGRAM]
        text = json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
        environment = {"PYTHONPATH": str(ROOT / "collections"), "PATH": "/usr/bin:/bin", "_ANSIBLE_PROFILE": "legacy"}
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, env=environment)
        assert done.stdout, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def secret(self, name: str) -> dict[str, str]:
        document = json.loads(self.api.kubectl("-n", self.namespace, "get", "secret", name, "-o", "json"))
        return {key: base64.b64decode(value).decode() for key, value in document["data"].items()}


@pytest.fixture
def module(kube_api: KubeApi, request: pytest.FixtureRequest) -> Module:  # noqa: F811
    namespace = request.node.name.replace("_", "-")[:60].rstrip("-")
    kube_api.kubectl("create", "namespace", namespace)
    return Module(kube_api, namespace)


def redis(module: Module) -> dict[str, Any]:
    copy = {"namespace": module.namespace, "name": "service", "keys": {"redis-password": "password"}}
    return {"name": "redis", "keys": {"password": {"length": 40}}, "public_values": {"username": "default"}, "copies": [copy]}


def test_life_of_a_secret(module: Module) -> None:
    predicted = module(redis(module), check_mode=True, diff=True)
    assert predicted["changed"] is True
    with pytest.raises(RuntimeError, match="not found"):
        module.secret("redis")

    created = module(redis(module), diff=True)
    assert {key: created[key] for key in ("changed", "secrets", "diff")} == {key: predicted[key] for key in ("changed", "secrets", "diff")}
    first = module.secret("redis")
    assert first["username"] == "default"
    assert len(first["password"]) == 40
    assert module.secret("service") == {"redis-password": first["password"]}
    assert first["password"] not in json.dumps(created)

    again = module(redis(module))
    assert (again["changed"], again["secrets"]) == (False, [])

    rotated = module(redis(module), rotate=[f"{module.namespace}/redis"])
    assert rotated["secrets"][0]["keys"] == {"password": "rotated"}
    second = module.secret("redis")
    assert second["password"] != first["password"]
    assert module.secret("service") == {"redis-password": second["password"]}


def test_other_keys_and_labels_stay(module: Module) -> None:
    module.api.kubectl("-n", module.namespace, "create", "secret", "generic", "redis", "--from-literal=mine=1")
    module.api.kubectl("-n", module.namespace, "label", "secret", "redis", "owner=me")
    module(redis(module))
    assert module.secret("redis")["mine"] == "1"
    document = json.loads(module.api.kubectl("-n", module.namespace, "get", "secret", "redis", "-o", "json"))
    assert document["metadata"]["labels"]["owner"] == "me"
    assert document["metadata"]["labels"]["app.kubernetes.io/part-of"] == "dcm"


def test_two_at_once_agree(module: Module) -> None:
    results: list[dict[str, Any]] = []
    entries = [{"name": f"secret-{number}", "keys": {"a": {}, "b": {}}} for number in range(5)]
    threads = [threading.Thread(target=lambda: results.append(module(*entries))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.get("failed", False) for result in results] == [False] * 4, results
    written = [secret["name"] for result in results for secret in result["secrets"]]
    assert sorted(written) == sorted(entry["name"] for entry in entries)


def test_problems_are_named(module: Module) -> None:
    lost = module({"name": "x", "namespace": "no-such-namespace", "keys": {"a": {}}})
    assert lost["failed"] is True
    assert "Secret no-such-namespace/x: its namespace does not exist" in lost["msg"]
    wrong = module({"name": "x", "keys": {"a": {"length": 3}}})
    assert "length 3 is not a number from 16 to 1024" in wrong["msg"]


def test_without_a_cluster_only_check_mode_works(module: Module) -> None:
    nowhere = Module(module.api, module.namespace)
    nowhere.api = type("Api", (), {"kubeconfig": "/no/such/kubeconfig"})()  # type: ignore[assignment]
    entry = {"name": "x", "keys": {"a": {}}, "required_keys": ["b"]}
    assert "/no/such/kubeconfig cannot be read" in nowhere(entry)["msg"]
    predicted = nowhere(entry, check_mode=True)
    assert [secret["keys"] for secret in predicted["secrets"]] == [{"a": "generated (32 characters, alphanumeric)"}]


def test_a_given_secret_value_is_masked(module: Module) -> None:
    result = module({"name": "given", "secret_values": {"token": "a-planted-token"}}, diff=True)
    assert module.secret("given") == {"token": "a-planted-token"}
    assert "a-planted-token" not in json.dumps(result)
