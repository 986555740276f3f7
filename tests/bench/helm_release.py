# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How fast dcm.platform.helm_release is, beside kubernetes.core.helm in the same run on the same API server.

    DCM_TEST_KUBE_BIN=… python tests/bench/helm_release.py [--helm PATH] [--releases 20] [--json FILE]

Ansible's own start is measured with an empty play and subtracted. Charts hold one ConfigMap; no pods run.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.support.kube_api import KubeApi, kube_bin  # noqa: E402

TEMPLATE = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}"}
data: {round: {{ .Values.round | quote }} }
"""

NOISE = 0.05  # seconds below which a difference between two starts of Ansible says nothing


class Bench:
    """One API server, one chart, and playbooks against it."""

    def __init__(self, api: KubeApi, helm: str, count: int, folder: pathlib.Path) -> None:
        self._api, self._helm, self._count, self._folder = api, helm, count, folder
        self._chart = folder / "chart"
        (self._chart / "templates").mkdir(parents=True)
        (self._chart / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": "bench", "version": "1.0.0"}))
        (self._chart / "templates" / "config.yaml").write_text(TEMPLATE)

    def _seconds(self, tasks: list[dict[str, Any]], expect: str) -> float:
        play = {
            "name": "Bench",
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": sys.executable},
            "tasks": tasks,
        }
        path = self._folder / "play.yml"
        path.write_text(yaml.safe_dump([play]))
        command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(path)]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
        seconds = time.monotonic() - started
        if done.returncode != 0 or expect not in done.stdout:
            raise RuntimeError(f"expected {expect!r}:\n{done.stdout}{done.stderr}")
        return seconds

    def start(self) -> float:
        """Ansible's own start: a play with nothing in it."""
        return self._seconds([{"name": "Nothing", "ansible.builtin.assert": {"that": "true", "quiet": True}}], "ok=1")

    def _common(self, namespace: str) -> dict[str, Any]:
        return {
            "release_namespace": namespace,
            "create_namespace": True,
            "wait": False,
            "kubeconfig": str(self._api.kubeconfig),
            "binary_path": self._helm,
        }

    def ours(self, change: int, expect: str, parallel: int = 4) -> float:
        """One task with a list."""
        entries = [{"name": f"r{number}", "chart_ref": str(self._chart), "values": {"round": change}} for number in range(self._count)]
        options = {**self._common("ours"), "releases": entries, "parallel": parallel}
        return self._seconds([{"name": "Converge", "dcm.platform.helm_release": options}], expect)

    def theirs(self, change: int, expect: str) -> float:
        """One task in a loop: it takes one release at a time."""
        options = {**self._common("theirs"), "name": "r{{ item }}", "chart_ref": str(self._chart), "values": {"round": change}}
        task = {"name": "Converge", "kubernetes.core.helm": options, "loop": list(range(self._count)), "no_log": True}
        return self._seconds([task], expect)


def measure(api: KubeApi, helm: str, count: int, folder: pathlib.Path) -> dict[str, Any]:
    """Install, repeat and upgrade on both sides; the repeat three times, its best counts, as that of the start."""
    bench = Bench(api, helm, count, folder)
    start = min(bench.start() for _ in range(3))
    seconds: dict[str, dict[str, float]] = {}
    cases = {"install": (1, "changed=1", 1), "nothing to do": (1, "changed=0", 3), "upgrade": (2, "changed=1", 1)}
    for case, (change, expect, repeats) in cases.items():
        sides = {}
        for side, run in (("helm_release", bench.ours), ("kubernetes.core.helm", bench.theirs)):
            times = [run(change, expect) for _ in range(repeats if side == "helm_release" else 1)]
            sides[side] = round(max(NOISE, min(times) - start), 3)
        seconds[case] = {**sides, "times_faster": round(sides["kubernetes.core.helm"] / sides["helm_release"], 1)}
    return {"releases": count, "ansible_start_s": round(start, 3), "beyond_ansible_start_s": seconds}


def run(helm: str = "", count: int = 20) -> dict[str, Any]:
    """Measure on an API server of its own."""
    with tempfile.TemporaryDirectory(prefix="helm-bench-") as folder, KubeApi(pathlib.Path(folder, "api")) as api:
        return measure(api, helm or str(kube_bin() / "helm"), count, pathlib.Path(folder))


def describe(numbers: dict[str, Any]) -> str:
    """The numbers for people."""
    lines = [f"{numbers['releases']} releases; seconds beyond Ansible's own start ({numbers['ansible_start_s']} s):"]
    for case, sides in numbers["beyond_ansible_start_s"].items():
        ours, theirs, ratio = sides["helm_release"], sides["kubernetes.core.helm"], sides["times_faster"]
        lines.append(f"  {case:14} helm_release {ours:7.2f}   kubernetes.core.helm {theirs:7.2f}   {ratio:6.1f} times")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--helm", default=os.environ.get("DCM_TEST_HELM", ""), help="the helm binary; the one in DCM_TEST_KUBE_BIN by default"
    )
    parser.add_argument("--releases", type=int, default=20)
    parser.add_argument("--json", type=pathlib.Path, help="write the numbers to this file")
    arguments = parser.parse_args()
    numbers = run(arguments.helm, arguments.releases)
    print(describe(numbers))
    if arguments.json:
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main()
