# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plugin generated_secret against a real API server: check, create, repeat, rotate, repeat, concurrently."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._secret_store import converge

from tests.support.kube_api import KubeApi, kube_api  # noqa: F401

ROOT = Path(__file__).resolve().parents[3]


class Secrets:
    """The plugin's work, and what is then in the cluster."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self.api, self.namespace = api, namespace
        self.kubeconfig = str(api.kubeconfig)

    def __call__(self, *entries: dict[str, Any], rotate: list[str] | None = None, check: bool = False) -> dict[str, Any]:
        """What was written, by Secret and key."""
        wanted = [{"namespace": self.namespace, **entry} for entry in entries]
        changes = converge(self.kubeconfig, "", wanted, rotate or [], check)
        return {change.ref.name: change.reasons for change in changes}

    def secret(self, name: str) -> dict[str, str]:
        document = json.loads(self.api.kubectl("-n", self.namespace, "get", "secret", name, "-o", "json"))
        return {key: base64.b64decode(value).decode() for key, value in document["data"].items()}


@pytest.fixture
def module(kube_api: KubeApi, request: pytest.FixtureRequest) -> Secrets:  # noqa: F811
    namespace = request.node.name.replace("_", "-")[:60].rstrip("-")
    kube_api.kubectl("create", "namespace", namespace)
    return Secrets(kube_api, namespace)


def redis(module: Secrets) -> dict[str, Any]:
    copy = {"namespace": module.namespace, "name": "service", "keys": {"redis-password": "password"}}
    return {"name": "redis", "keys": {"password": {"length": 40}}, "public_values": {"username": "default"}, "copies": [copy]}


def test_life_of_a_secret(module: Secrets) -> None:
    predicted = module(redis(module), check=True)
    assert set(predicted) == {"redis", "service"}
    with pytest.raises(RuntimeError, match="not found"):
        module.secret("redis")

    assert module(redis(module)) == predicted
    first = module.secret("redis")
    assert first["username"] == "default"
    assert len(first["password"]) == 40
    assert module.secret("service") == {"redis-password": first["password"]}

    assert module(redis(module)) == {}

    rotated = module(redis(module), rotate=[f"{module.namespace}/redis"])
    assert rotated["redis"] == {"password": "rotated"}
    second = module.secret("redis")
    assert second["password"] != first["password"]
    assert module.secret("service") == {"redis-password": second["password"]}


def test_other_keys_and_labels_stay(module: Secrets) -> None:
    module.api.kubectl("-n", module.namespace, "create", "secret", "generic", "redis", "--from-literal=mine=1")
    module.api.kubectl("-n", module.namespace, "label", "secret", "redis", "owner=me")
    module(redis(module))
    assert module.secret("redis")["mine"] == "1"
    document = json.loads(module.api.kubectl("-n", module.namespace, "get", "secret", "redis", "-o", "json"))
    assert document["metadata"]["labels"]["owner"] == "me"
    assert document["metadata"]["labels"]["app.kubernetes.io/part-of"] == "dcm"


def test_four_at_once_agree(module: Secrets) -> None:
    entries = [{"name": f"secret-{number}", "keys": {"a": {}, "b": {}}} for number in range(10)]
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda _: module(*entries), range(4)))
    written = [name for result in results for name in result]
    assert sorted(written) == sorted(entry["name"] for entry in entries)


def test_problems_are_named(module: Secrets) -> None:
    with pytest.raises(PlatformError, match="Secret no-such-namespace/x: its namespace does not exist"):
        module({"name": "x", "namespace": "no-such-namespace", "keys": {"a": {}}})
    with pytest.raises(PlatformError, match="has no key token: put it there"):
        module({"name": "x", "required_keys": ["token"]})


def test_without_a_cluster_only_check_mode_works(module: Secrets) -> None:
    module.kubeconfig = "/no/such/kubeconfig"
    entry = {"name": "x", "keys": {"a": {}}, "required_keys": ["b"]}
    with pytest.raises(PlatformError, match="/no/such/kubeconfig cannot be read"):
        module(entry)
    assert module(entry, check=True) == {"x": {"a": "generated (32 characters, alphanumeric)"}}


def test_a_playbook_shows_no_value(module: Secrets, tmp_path: Path) -> None:
    given = {
        "namespace": module.namespace,
        "name": "given",
        "keys": {"password": {"length": 40}},
        "secret_values": {"token": "a-planted-token"},
    }
    wrong = {**given, "keys": {"password": {"length": 3}}}
    tasks = [{"dcm.platform.generated_secret": {"kubeconfig": module.kubeconfig, "secrets": [entry]}} for entry in (given, given, wrong)]
    playbook = tmp_path / "play.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-vvv", "--diff", str(playbook)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    shown = done.stdout + done.stderr
    assert "ok=2    changed=1" in shown, shown
    assert "length 3 is not a number from 16 to 1024" in shown
    assert f"+{module.namespace}/given password: generated (40 characters, alphanumeric)" in shown
    assert "a-planted-token" not in shown
    assert module.secret("given")["token"] == "a-planted-token"
    assert module.secret("given")["password"] not in shown
