# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A pod that does something inside the cluster and tells what it saw. It keeps to Pod Security restricted, and is gone afterwards."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._verify import Broken, NotApplicable, eventually
from ansible_collections.dcm.platform.plugins.module_utils._verify_site import PART_OF_DCM, TIMEOUT, Site

PYTHON = "/usr/bin/python3"


def run_python(site: Site, script: str, claim: str = "", seconds: float = 40) -> str:
    """Run a Python script in a new pod of the services' namespace; returns what it printed. A volume claim is mounted at /data."""
    namespace = site.inputs.namespace_services
    name = f"dcm-verify-{secrets.token_hex(4)}"
    site.core.create_namespaced_pod(namespace, _manifest(name, _image(site), script, claim), _request_timeout=TIMEOUT)
    try:
        eventually(lambda: _unfinished(site, name), seconds, f"probe pod {name} to end")
        log = str(site.core.read_namespaced_pod_log(name, namespace, _request_timeout=TIMEOUT)).strip()
        if not _succeeded(site, name):
            raise Broken("a probe pod that succeeds", log.splitlines()[-1][:300] if log else "no output")
        return log
    finally:
        site.core.delete_namespaced_pod(name, namespace, grace_period_seconds=0, _request_timeout=TIMEOUT)


def _unfinished(site: Site, name: str) -> str | None:
    status = _status(site, name)
    # The container's own end: the phase of the pod follows a second later.
    if status.phase == "Failed" or any(item.state.terminated for item in status.container_statuses or []):
        return None
    waiting = [item.state.waiting for item in status.container_statuses or [] if item.state.waiting]
    conditions = [item.message for item in status.conditions or [] if item.status == "False" and item.message]
    reasons = [f"{item.reason} {item.message or ''}".strip() for item in waiting] or conditions
    return f"{status.phase}: {'; '.join(reasons)[:300]}"


def _succeeded(site: Site, name: str) -> bool:
    ends = [item.state.terminated for item in _status(site, name).container_statuses or []]
    return bool(ends) and all(end and end.exit_code == 0 for end in ends)


def _status(site: Site, name: str) -> Any:
    return site.core.read_namespaced_pod(name, site.inputs.namespace_services, _request_timeout=TIMEOUT).status


def _image(site: Site) -> str:
    """The image that the services run with, unless another one is named."""
    if site.inputs.probe_image:
        return site.inputs.probe_image
    pods = site.pods(site.inputs.namespace_services, PART_OF_DCM)
    if not pods:
        raise NotApplicable("no DCM service runs, so there is no image for a probe")
    return str(pods[0].spec.containers[0].image)


def _manifest(name: str, image: str, script: str, claim: str) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "probe",
        "image": image,
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
    labels = {"app.kubernetes.io/name": "dcm-verify", "app.kubernetes.io/managed-by": "dcm-verify"}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


@contextlib.contextmanager
def volume_claim(site: Site) -> Iterator[str]:
    """A small claim on the default StorageClass, for the length of a with block."""
    namespace = site.inputs.namespace_services
    name = f"dcm-verify-{secrets.token_hex(4)}"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}
    site.core.create_namespaced_persistent_volume_claim(namespace, {"metadata": {"name": name}, "spec": spec}, _request_timeout=TIMEOUT)
    try:
        yield name
    finally:
        site.core.delete_namespaced_persistent_volume_claim(name, namespace, _request_timeout=TIMEOUT)
