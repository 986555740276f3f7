# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A pod that does something inside the cluster and tells what it saw. It keeps to Pod Security restricted, and is gone afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._verify import Broken, NotApplicable, eventually
from ansible_collections.dcm.platform.plugins.module_utils._verify_site import PART_OF_DCM, TIMEOUT, Site

PYTHON = "/usr/bin/python3"
LISTENS = 8080
MANAGED_BY = "app.kubernetes.io/managed-by"
TOOL = "dcm-verify"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a probe runs, and the labels of whom it passes for. It is never ready, so that no Service leads to it."""

    namespace: str
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)


def run_python(site: Site, script: str, claim: str = "", seconds: float = 40, place: Place | None = None) -> str:
    """Run a Python script in a new pod, in the services' namespace if no other; returns what it printed. A claim is mounted at /data."""
    where = place or Place(site.inputs.namespace_services)
    with _pod(site, where, script, claim) as name:
        eventually(lambda: _unfinished(_status(site, name, where)), seconds, f"probe pod {name} in {where.namespace} to end")
        log = _log(site, name, where)
        if not _succeeded(_status(site, name, where)):
            raise Broken("a probe pod that succeeds", log.splitlines()[-1][:300] if log else "no output")
        return log


@contextlib.contextmanager
def listener(site: Site, place: Place, seconds: float = 60) -> Iterator[str]:
    """The address of a pod that listens on LISTENS, for the length of a with block."""
    script = (
        f"import socket\nserver = socket.create_server(('', {LISTENS}))\nprint('on', flush=True)\n"
        "while True:\n    server.accept()[0].close()\n"
    )

    def missing(name: str) -> str | None:
        phase = str(_status(site, name, place).phase)
        return phase if phase != "Running" or _log(site, name, place) != "on" else None

    with _pod(site, place, script) as name:
        eventually(lambda: missing(name), seconds, f"probe pod {name} in {place.namespace} to listen")
        yield str(_status(site, name, place).pod_ip)


@contextlib.contextmanager
def _pod(site: Site, where: Place, script: str, claim: str = "") -> Iterator[str]:
    pod = manifest(image(site), script, claim, where.labels)
    name = str(pod["metadata"]["name"])
    site.core.create_namespaced_pod(where.namespace, pod, _request_timeout=TIMEOUT)
    try:
        yield name
    finally:
        site.core.delete_namespaced_pod(name, where.namespace, grace_period_seconds=0, _request_timeout=TIMEOUT)


def _log(site: Site, name: str, where: Place) -> str:
    return str(site.core.read_namespaced_pod_log(name, where.namespace, _request_timeout=TIMEOUT)).strip()


def _unfinished(status: Any) -> str | None:
    # The container's own end: the phase of the pod follows a second later.
    if status.phase == "Failed" or any(item.state.terminated for item in status.container_statuses or []):
        return None
    waiting = [item.state.waiting for item in status.container_statuses or [] if item.state.waiting]
    conditions = [item.message for item in status.conditions or [] if item.status == "False" and item.message]
    reasons = [f"{item.reason} {item.message or ''}".strip() for item in waiting] or conditions
    return f"{status.phase}: {'; '.join(reasons)[:300]}"


def _succeeded(status: Any) -> bool:
    ends = [item.state.terminated for item in status.container_statuses or []]
    return bool(ends) and all(end and end.exit_code == 0 for end in ends)


def _status(site: Site, name: str, where: Place) -> Any:
    return site.core.read_namespaced_pod(name, where.namespace, _request_timeout=TIMEOUT).status


def image(site: Site) -> str:
    """The image that the services run with, unless another one is named."""
    if site.inputs.probe_image:
        return site.inputs.probe_image
    pods = site.pods(site.inputs.namespace_services, PART_OF_DCM)
    if not pods:
        raise NotApplicable("no DCM service runs, so there is no image for a probe")
    return str(pods[0].spec.containers[0].image)


def manifest(image_name: str, script: str = "", claim: str = "", labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A pod that keeps to all rules of the platform."""
    container: dict[str, Any] = {
        "name": "probe",
        "image": image_name,
        "imagePullPolicy": "IfNotPresent",
        "command": [PYTHON, "-c", script],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
    }
    spec: dict[str, Any] = {
        "containers": [container],
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if claim:
        container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
    if labels:
        spec["readinessGates"] = [{"conditionType": "dcm.platform/never"}]
    all_labels = {"app.kubernetes.io/name": TOOL, **(labels or {}), MANAGED_BY: TOOL}
    return {"metadata": {"name": f"{TOOL}-{secrets.token_hex(4)}", "labels": all_labels}, "spec": spec}


@contextlib.contextmanager
def volume_claim(site: Site) -> Iterator[str]:
    """A small claim on the default StorageClass, for the length of a with block."""
    namespace = site.inputs.namespace_services
    name = f"{TOOL}-{secrets.token_hex(4)}"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}
    site.core.create_namespaced_persistent_volume_claim(namespace, {"metadata": {"name": name}, "spec": spec}, _request_timeout=TIMEOUT)
    try:
        yield name
    finally:
        site.core.delete_namespaced_persistent_volume_claim(name, namespace, _request_timeout=TIMEOUT)
