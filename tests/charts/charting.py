# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Helm as the tests use it: values in, objects out."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

CHARTS = Path(__file__).resolve().parents[2] / "charts"
Objects = dict[tuple[str, str], dict[str, Any]]

# The least that each chart asks for.
IMAGE = {"repository": "dcm.example/image", "tag": "0123abc"}
NAMES = (
    "dcm-service", "lite-cert-manager", "lite-dns", "lite-external-dns", "lite-pgbouncer", "lite-postgres", "lite-redis", "lite-traefik",
    "lite-vault", "postgres-cluster",
)  # fmt: skip
LEAST: dict[str, dict[str, Any]] = {name: {"image": IMAGE} for name in NAMES}
# Those whose pods speak to the API server.
API_CLIENTS = {"lite-cert-manager", "lite-external-dns", "lite-traefik"}
CLUSTER_WIDE = {
    "ClusterRole",
    "ClusterRoleBinding",
    "GatewayClass",
    "IngressClass",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
}
# Charts whose pods an operator makes.
OPERATED = {"postgres-cluster"}


class Refused(Exception):
    """Helm did not take the values; the text is its message."""


def merged(*layers: dict[str, Any]) -> dict[str, Any]:
    """Layers of values, the later ones on top, as Helm merges them."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def binary() -> str:
    """Helm 4 of the folder that holds the cluster's programs, or from PATH."""
    found = shutil.which("helm", path=os.pathsep.join([os.environ.get("DCM_TEST_KUBE_BIN", ""), os.environ["PATH"]]))
    assert found, "the chart tests need Helm 4: point DCM_TEST_KUBE_BIN at a folder with helm (`make up` builds it), or put helm on PATH"
    return found


def helm(*arguments: str, values: dict[str, Any] | None = None) -> str:
    """Run helm; its standard output, or Refused with its complaint."""
    command = [binary(), *arguments, "--values", "-"]
    done = subprocess.run(command, input=yaml.safe_dump(values or {}), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(done.stderr + done.stdout)
    return done.stdout


def render(chart: str, *layers: dict[str, Any], release: str = "gateway", namespace: str = "dcm") -> Objects:
    """The objects that a chart makes of values, by kind and name."""
    text = helm("template", release, str(CHARTS / chart), "--namespace", namespace, values=merged(LEAST[chart], *layers))
    found = [entry for entry in yaml.safe_load_all(text) if entry]
    objects = {(entry["kind"], entry["metadata"]["name"]): entry for entry in found}
    assert len(objects) == len(found), "two objects of one kind and name"
    return objects


def workloads(objects: Objects) -> list[dict[str, Any]]:
    """Every Deployment and StatefulSet, the one that is called like the release first: the others are named after it."""
    found = [entry for (kind, _), entry in objects.items() if kind in ("Deployment", "StatefulSet")]
    return sorted(found, key=lambda entry: len(entry["metadata"]["name"]))


def workload(objects: Objects) -> dict[str, Any]:
    """The one that is called like the release."""
    return workloads(objects)[0]
