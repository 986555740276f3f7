# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A site whose Postgres is a cluster of CloudNativePG: an embedded cluster, the operator built from its Go module, and our playbooks.

The official chart cannot be had from package registries; the operator is installed by the manifest that its module carries.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cnpg import release

ROOT = Path(__file__).resolve().parents[2]
SITE = os.environ.get("DCM_TEST_CNPG_SITE", "cnpgtest")
STATE = Path("/var/lib/dcm") / SITE
# Those of inventories/local.
GUILDS = ["1100000000000000001", "1100000000000000002"]
INSTANCES = 2
SETTINGS: dict[str, Any] = {
    "platform_site_id": SITE,
    "embedded_cluster_index": int(os.environ.get("DCM_TEST_CNPG_INDEX", "202")),
    "embedded_cluster_images": ["pause", "coredns", "metrics-server", "local-path-provisioner", "volume-helper", "pgbouncer", "redis"],
    "embedded_cluster_images_on_demand": ["cloudnative-pg", "postgres-cnpg"],
    "platform_postgres_provider": "cnpg",
    "platform_postgres_ssl_mode": "verify-full",
    "platform_postgres_ca_secret": "postgres-ca",
    "platform_postgres_peers": [{"namespace": "dcm-data", "labels": {"cnpg.io/cluster": "postgres"}}],
    "postgres_image": "{{ lookup('dcm.platform.built_image', 'postgres-cnpg') }}",
    "postgres_major": 15,
    "postgres_instances": INSTANCES,
    # One node, the image's own user, and a cluster that goes on with one of two.
    "postgres_values": {
        "antiAffinity": {"type": "preferred"},
        "user": {"uid": 999, "gid": 999},
        "synchronous": {"durability": "preferred"},
    },
}


class CnpgSite:
    """Runs playbooks on the site, and asks its API."""

    def __init__(self, folder: Path) -> None:
        self.settings = folder / "settings.yml"
        self.settings.write_text(yaml.safe_dump(SETTINGS))

    def play(self, playbook: str, *arguments: str) -> str:
        command = ["ansible-playbook", "-i", str(ROOT / "inventories/local"), str(ROOT / f"playbooks/{playbook}.yml")]
        command += ["-e", f"@{self.settings}", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1500, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stdout + done.stderr + self.state()
        return done.stdout

    def changes(self, playbook: str, *arguments: str) -> int:
        return sum(int(found) for found in re.findall(r"changed=(\d+)", self.play(playbook, *arguments)))

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        command = [str(STATE / "bin/kubectl"), f"--kubeconfig={STATE / 'kubeconfig'}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def state(self) -> str:
        """For a failed test: what the operator and its pods say."""
        if not (STATE / "kubeconfig").exists():
            return ""
        asked = [("get", "pods,clusters", "-A"), ("logs", "-n", "cnpg-system", "deployment/cnpg-controller-manager", "--tail=20")]
        return "\n".join(self.kubectl(*words, check=False) for words in asked)

    def sql(self, pod: str, statement: str) -> str:
        """As the superuser, over the socket inside of an instance."""
        words = ("-n", "dcm-data", "exec", pod, "-c", "postgres", "--", "psql", "-XAtq", "-d", "dcm", "-c", statement)
        return self.kubectl(*words).strip()

    def primary(self) -> str:
        found: dict[str, Any] = json.loads(self.kubectl("-n", "dcm-data", "get", "cluster", "postgres", "-o", "json"))
        return str(found["status"].get("currentPrimary", ""))

    def ready(self) -> int:
        found: dict[str, Any] = json.loads(self.kubectl("-n", "dcm-data", "get", "cluster", "postgres", "-o", "json"))
        return int(found["status"].get("readyInstances", 0))

    def install_operator(self) -> None:
        image = json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"][0]["status"]["images"]
        [name] = [name for entry in image for name in entry["names"] if "/cloudnative-pg:" in name]
        for document in release():
            text = json.dumps(document)
            if document["kind"] == "Deployment":
                [container] = document["spec"]["template"]["spec"]["containers"]
                container.update(image=name, imagePullPolicy="IfNotPresent", resources={"limits": {"memory": "256Mi"}})
                container["env"] = [
                    {**entry, "value": name} if entry["name"] == "OPERATOR_IMAGE_NAME" else entry for entry in container["env"]
                ]
                text = json.dumps(document)
            self.kubectl("apply", "--server-side", "-f", "-", stdin=text)
        self.kubectl("-n", "cnpg-system", "rollout", "status", "deployment/cnpg-controller-manager", "--timeout=110s")


def eventually(probe: Callable[[], bool], seconds: float) -> float:
    """The seconds until something came true."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        if probe():
            return time.monotonic() - start
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds} s")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CnpgSite]:
    """Cluster, namespaces and operator; gone afterwards."""
    made = CnpgSite(tmp_path_factory.mktemp("cnpg"))
    made.play("cluster")
    made.play("baseline")
    made.install_operator()
    yield made
    made.play("reset", "-e", f"platform_confirm={SITE}")
