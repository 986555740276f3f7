# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is refused before it exists. Everything is tried by a server-side dry run: no pod is made."""

from __future__ import annotations

import copy
import json
from typing import Any

import kubernetes
from ansible_collections.dcm.platform.plugins.module_utils._images import image_parts
from ansible_collections.dcm.platform.plugins.module_utils._verify import Broken, Promise
from ansible_collections.dcm.platform.plugins.module_utils._verify_probe import image, manifest
from ansible_collections.dcm.platform.plugins.module_utils._verify_site import TIMEOUT, Site

UNLISTED = "unlisted.invalid/probe:1"


def pod_security(site: Site) -> str:
    """A pod that may do too much is refused by Pod Security; one that keeps to the rules is not."""
    good = manifest(image(site))
    privileged = _with(good, securityContext={"privileged": True})
    for namespace in _ours(site):
        if refusal := _refusal(site, namespace, good):
            raise Broken(f"a pod that keeps to the rules let into {namespace}", refusal)
        refusal = _refusal(site, namespace, privileged)
        if "violates PodSecurity" not in refusal:
            raise Broken(f"a privileged pod refused by Pod Security in {namespace}", refusal or "it would be admitted")
    return f"a privileged pod is refused in {', '.join(site.namespaces)}; a restricted one is not"


def admission(site: Site) -> str:
    """Pods that break a rule of the platform are refused with a message that says what to change."""
    name = image(site)
    good = manifest(name)
    container = good["spec"]["containers"][0]
    offences = {
        "resources.limits.memory": _with(good, resources={"requests": container["resources"]["requests"]}),
        "resources.requests.cpu": _with(good, resources={}),
        "runAsNonRoot": _with(good, securityContext={**container["securityContext"], "runAsNonRoot": False}),
        "admission_registries": _with(good, image=UNLISTED),
        "not latest": _with(good, image=f"{image_parts(name)['repository']}:latest"),
        "automountServiceAccountToken": {**good, "spec": {**good["spec"], "automountServiceAccountToken": True}},
    }
    for namespace in _ours(site):
        for word, pod in offences.items():
            refusal = _refusal(site, namespace, pod)
            if word not in refusal:
                found = refusal or "it would be admitted"
                raise Broken(f"a pod in {namespace} refused with a message that names {word!r}", found[:300])
    return f"{len(offences)} kinds of pods that break a rule are refused in {', '.join(site.namespaces)}"


def _with(pod: dict[str, Any], **values: Any) -> dict[str, Any]:
    changed = copy.deepcopy(pod)
    changed["spec"]["containers"][0].update(values)
    return changed


def _ours(site: Site) -> list[str]:
    if found := site.namespaces:
        return found
    raise Broken(f"namespaces {site.inputs.namespace_data} and {site.inputs.namespace_services}", "neither")


def _refusal(site: Site, namespace: str, pod: dict[str, Any]) -> str:
    """What the API server says against the pod; empty when it would be made."""
    try:
        site.core.create_namespaced_pod(namespace, pod, dry_run="All", _request_timeout=TIMEOUT)
    except kubernetes.client.ApiException as error:
        if error.status not in (403, 422):
            raise
        return str(json.loads(error.body).get("message", error.body))
    return ""


PROMISES = (
    Promise(
        "cluster.pod_security",
        "A pod that breaks Pod Security is refused",
        pod_security,
        "the pod-security.kubernetes.io labels of the namespace",
        needs=("cluster.api_ready",),
    ),
    Promise(
        "cluster.admission",
        "A pod without limits, as root or from an unlisted registry is refused",
        admission,
        "kubectl get validatingadmissionpolicies,validatingadmissionpolicybindings; the namespace's labels; playbooks/baseline.yml",
        needs=("cluster.api_ready",),
    ),
)
