# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real API server, a real helm, charts made for one test, and two ways to run the engine: directly and through a playbook."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ansible_collections.dcm.platform.plugins.module_utils._helm_cli import Helm
from ansible_collections.dcm.platform.plugins.module_utils._helm_engine import Engine, Options
from ansible_collections.dcm.platform.plugins.module_utils._helm_plan import Record, Release
from ansible_collections.dcm.platform.plugins.module_utils._helm_records import ReleaseApi
from ansible_collections.dcm.platform.plugins.module_utils._helm_steps import Outcome
from ansible_collections.dcm.platform.plugins.module_utils._kube_login import read_kubeconfig

from tests.support import kube_api as support

kube_api = support.kube_api

ROOT = pathlib.Path(__file__).resolve().parents[3]
# Put into every namespace by a controller, some time after its creation.
CLUSTER_CA = "kube-root-ca.crt"
_COUNTER = itertools.count(1)

CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  colour: {{ .Values.colour | quote }}
"""


@pytest.fixture(scope="session")
def helm_binary() -> str:
    """The helm under test: DCM_TEST_HELM, or the one beside the Kubernetes programs."""
    path = os.environ.get("DCM_TEST_HELM") or str(support.kube_bin() / "helm")
    if not shutil.which(path):
        raise RuntimeError(f"there is no helm at {path}; set DCM_TEST_HELM, or link it into DCM_TEST_KUBE_BIN")
    return path


@dataclasses.dataclass
class Site:
    """A namespace of its own on the API server, with everything a test needs to install something there."""

    api: support.KubeApi
    helm: str
    namespace: str
    folder: pathlib.Path
    said: list[str] = dataclasses.field(default_factory=list)

    def kube(self) -> ReleaseApi:
        return ReleaseApi(read_kubeconfig(str(self.api.kubeconfig)))

    def chart(
        self, name: str = "demo", version: str = "1.0.0", templates: dict[str, str] | None = None, files: dict[str, str] | None = None
    ) -> pathlib.Path:
        """A chart folder: its templates, and further files, by name."""
        chart = self.folder / f"{name}-{version}"
        contents = {f"templates/{path}": text for path, text in (templates or {"config.yaml": CONFIG_MAP}).items()}
        contents |= files or {}
        contents.setdefault("values.yaml", "colour: green\n")
        contents.setdefault("Chart.yaml", yaml.safe_dump({"apiVersion": "v2", "name": name, "version": version, "appVersion": "7"}))
        for path, text in contents.items():
            target = chart / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        return chart

    def package(self, chart: pathlib.Path) -> pathlib.Path:
        """The chart as a .tgz."""
        path = self.folder / f"{chart.name}.tgz"
        with tarfile.open(path, "w:gz") as archive:
            archive.add(chart, arcname="demo")
        return path

    def release(self, name: str, chart: pathlib.Path | str = "", **options: Any) -> Release:
        options = {"create_namespace": True, "wait": False, **options}
        return Release(name=name, namespace=options.pop("namespace", self.namespace), chart_ref=str(chart), **options)

    def run(self, *releases: Release, check: bool = False, diff: bool = False, parallel: int = 4) -> dict[str, Outcome]:
        """Run the engine itself."""
        engine = Engine(
            Helm(self.helm, str(self.api.kubeconfig), ""),
            self.kube(),
            Options(check, diff, parallel, self.folder / "cache"),
            self.said.append,
        )
        return engine.run(list(releases))

    def records(self, name: str) -> list[Record]:
        return self.kube().release_history([(self.namespace, name)])[(self.namespace, name)]

    def get(self, kind: str, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.api.kubectl("get", kind, name, f"--namespace={self.namespace}", "--output=json"))
        return document

    def names(self, kind: str) -> set[str]:
        shown = self.api.kubectl("get", kind, f"--namespace={self.namespace}", "--output=name", "--ignore-not-found")
        return {line.split("/", 1)[1] for line in shown.splitlines()} - {CLUSTER_CA}

    def snapshot(self) -> list[str]:
        """Every object's identity and version in the namespace, to show that nothing changed."""
        kinds = "configmaps,secrets,deployments,persistentvolumeclaims,services"
        shown = json.loads(self.api.kubectl("get", kinds, f"--namespace={self.namespace}", "--output=json", "--ignore-not-found") or "{}")
        items = shown.get("items") or []
        return sorted(
            f"{item['kind']} {item['metadata']['name']} {item['metadata']['resourceVersion']}"
            for item in items
            if item["metadata"]["name"] != CLUSTER_CA
        )

    def as_pending(self, name: str, status: str, labels: dict[str, str], age: int = 0) -> None:
        """Make the newest record look as if helm had been killed in the middle."""
        import time

        record = self.records(name)[-1]
        self.kube().request(
            "PATCH",
            f"/api/v1/namespaces/{self.namespace}/secrets/{record.secret}",
            {"metadata": {"labels": {"status": status, "modifiedAt": str(int(time.time()) - age), **labels}}},
            "application/merge-patch+json",
        )
        document = self.kube().release_document(self.namespace, record)
        document["info"]["status"] = status
        self.kube().store_release_document(self.namespace, record, document)

    def playbook(self, options: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the action plugin as users do."""
        return subprocess.run(
            self.playbook_command(options, *arguments), capture_output=True, text=True, check=False, cwd=ROOT, timeout=120
        )

    def playbook_command(self, options: dict[str, Any], *arguments: str) -> list[str]:
        connection = {"kubeconfig": str(self.api.kubeconfig), "binary_path": self.helm}
        tell = {"content": "{{ result | to_json }}", "dest": str(self.folder / "result.json")}
        tasks = [
            {"name": "Converge", "dcm.platform.helm_release": {**connection, **options}, "register": "result"},
            {"name": "Tell", "ansible.builtin.copy": tell, "check_mode": False, "diff": False, "no_log": True},
        ]
        play = {
            "name": "Test",
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": sys.executable},
            "tasks": tasks,
        }
        path = self.folder / "play.yml"
        path.write_text(yaml.safe_dump([play]))
        return [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(path), *arguments]

    def result(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "result.json").read_text())
        return document


@pytest.fixture
def site(kube_api: support.KubeApi, helm_binary: str, tmp_path: pathlib.Path) -> Iterator[Site]:
    """A namespace that is empty before and removed after the test."""
    namespace = f"helmtest-{next(_COUNTER)}"
    yield Site(kube_api, helm_binary, namespace, tmp_path)
    kube_api.kubectl("delete", "crd", "things.test.dcm.example", "--ignore-not-found")
    kube_api.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")
