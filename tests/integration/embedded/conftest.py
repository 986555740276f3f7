# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An instance of the embedded cluster for these tests alone: name, number and folders of its own."""

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

ROOT = Path(__file__).resolve().parents[3]
SITE = "itest"
STATE = Path("/var/lib/dcm") / SITE
PLAYBOOK = """
- hosts: platform
  gather_facts: false
  roles: [dcm.platform.embedded_cluster]
"""
SETTINGS = {
    "platform_site_id": SITE,
    "platform_state_dir": str(STATE),
    "platform_kubeconfig": str(STATE / "kubeconfig"),
    "embedded_cluster_index": 201,
    "embedded_cluster_images": ["pause", "coredns", "metrics-server", "local-path-provisioner", "volume-helper"],
}


class Instance:
    """Runs the role on the instance, and asks its API."""

    def __init__(self, folder: Path) -> None:
        self.playbook = folder / "cluster.yml"
        self.playbook.write_text(PLAYBOOK)

    def run(self, *arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        """One run of the role."""
        values = json.dumps({**SETTINGS, **settings})
        command = ["ansible-playbook", "-i", str(ROOT / "inventories/local"), str(self.playbook), "-e", values, *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1800)

    def converge(self, *arguments: str, **settings: Any) -> int:
        """A run that has to succeed; returns how many tasks changed something."""
        result = self.run(*arguments, **settings)
        assert result.returncode == 0, result.stdout + result.stderr
        return int(re.findall(r"changed=(\d+)", result.stdout)[-1])

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """What kubectl says."""
        command = [str(STATE / "bin/kubectl"), f"--kubeconfig={STATE / 'kubeconfig'}", "--request-timeout=10s", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=check).stdout

    def pods(self) -> list[dict[str, Any]]:
        """All pods of the instance."""
        pods: list[dict[str, Any]] = json.loads(self.kubectl("get", "pods", "-A", "-o", "json"))["items"]
        return pods

    def pid(self, program: str) -> int:
        """The process of one of the node's programs."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0] == os.fsencode(STATE / "bin" / program):
                return int(path.parent.name)
        raise LookupError(program)


def eventually(probe: Callable[[], bool], seconds: float = 90) -> bool:
    """Whether something comes true within a bound."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if probe():
                return True
        except (LookupError, subprocess.CalledProcessError):
            pass
        time.sleep(0.5)
    return False


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A started instance, which is gone afterwards."""
    made = Instance(tmp_path_factory.mktemp("embedded"))
    made.converge(embedded_cluster_state="absent")
    made.converge()
    yield made
    made.converge(embedded_cluster_state="absent")
