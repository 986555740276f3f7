# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What pods are promised, and what is promised about them."""

from __future__ import annotations

import base64
import json
import secrets
from typing import Any

import kubernetes
from ansible_collections.dcm.platform.plugins.module_utils._verify import Broken, NotApplicable, Promise
from ansible_collections.dcm.platform.plugins.module_utils._verify_probe import run_python, volume_claim
from ansible_collections.dcm.platform.plugins.module_utils._verify_site import TIMEOUT, Site

SHORTEST = 8  # shorter values of Secrets are found everywhere by chance
NO_SECRET = ("username",)  # keys of Secrets whose values are no secret


def names_resolve(site: Site) -> str:
    """A pod asks for the name of Postgres, and for one that does not exist."""
    host = site.inputs.postgres_host
    script = (
        "import socket\n"
        f"print(socket.gethostbyname({host!r}))\n"
        "try:\n    socket.gethostbyname('nobody.dcm-verify.svc.cluster.local')\n"
        "except socket.gaierror:\n    pass\nelse:\n    raise SystemExit('a name that does not exist has an address')\n"
    )
    return f"{host} is {run_python(site, script)} in a pod"


def storage_keeps(site: Site) -> str:
    """A new volume binds; what one pod writes the next one reads."""
    token = secrets.token_hex(16)
    with volume_claim(site) as claim:
        run_python(site, f"open('/data/token', 'w').write('{token}')", claim)
        found = run_python(site, "print(open('/data/token').read())", claim)
    if found != token:
        raise Broken("what the first pod wrote", f"{found[:40]!r}")
    return "a new volume kept what one pod wrote for the next one"


def autoscaling(site: Site) -> str:
    """Each HorizontalPodAutoscaler has its numbers and can scale."""
    api: Any = kubernetes.client.AutoscalingV2Api(site.client)
    scalers = api.list_namespaced_horizontal_pod_autoscaler(site.inputs.namespace_services, _request_timeout=TIMEOUT).items
    if not scalers:
        raise NotApplicable("no service of this site is scaled automatically")
    for scaler in scalers:
        states = {item.type: item for item in scaler.status.conditions or []}
        active = states.get("ScalingActive")
        if not active or active.status != "True":
            raise Broken(f"{scaler.metadata.name} to have its numbers", active.message if active else "no condition yet")
    return f"{len(scalers)} autoscalers have their numbers"


def not_root(site: Site) -> str:
    """Every container of a DCM namespace runs as another user than root."""
    pods = [pod for namespace in site.namespaces for pod in site.pods(namespace)]
    roots = [f"{pod.metadata.name}/{container.name}" for pod in pods for container in _containers(pod) if _may_be_root(pod, container)]
    if roots or not pods:
        raise Broken("runAsNonRoot for every container", ", ".join(roots) or "no pods")
    return f"{sum(len(_containers(pod)) for pod in pods)} containers of {len(pods)} pods run as non-root"


def _containers(pod: Any) -> list[Any]:
    return [*(pod.spec.init_containers or []), *pod.spec.containers]


def _may_be_root(pod: Any, container: Any) -> bool:
    levels = [level for level in (container.security_context, pod.spec.security_context) if level]
    non_root = next((level.run_as_non_root for level in levels if level.run_as_non_root is not None), False)
    user = next((level.run_as_user for level in levels if level.run_as_user is not None), None)
    return not non_root or user == 0


def no_secrets_in_pods(site: Site) -> str:
    """No value of a Secret is in a pod's description or in a ConfigMap, and none becomes an environment variable."""
    values: dict[str, str] = {}
    texts: dict[str, str] = {}
    for namespace in site.namespaces:
        for secret in site.core.list_namespaced_secret(namespace, _request_timeout=TIMEOUT).items:
            if not (secret.type or "").startswith("helm.sh/"):
                values.update(_values(secret))
        for pod in site.pods(namespace):
            texts[f"pod {pod.metadata.name}"] = json.dumps(site.client.sanitize_for_serialization(pod))
            _refuse_environment(pod)
        for config in site.core.list_namespaced_config_map(namespace, _request_timeout=TIMEOUT).items:
            texts[f"ConfigMap {config.metadata.name}"] = json.dumps(config.data or {})
    if site.inputs.secrets_source == "vault":
        values.update({site.credential(key): f"{key} of Vault" for key in ("api-signing-key", "discord-token")})
    found = [f"{secret} in {where}" for where, text in texts.items() for value, secret in values.items() if value in text]
    if found:
        raise Broken("no value of a Secret outside of it", "; ".join(found[:5]))
    return f"none of {len(values)} secret values is in {len(texts)} pods and ConfigMaps"


def _values(secret: Any) -> dict[str, str]:
    plain = {key: base64.b64decode(data).decode(errors="replace") for key, data in (secret.data or {}).items() if key not in NO_SECRET}
    return {value: f"{secret.metadata.name}.{key}" for key, value in plain.items() if len(value) >= SHORTEST}


def _refuse_environment(pod: Any) -> None:
    for container in _containers(pod):
        direct = [item.name for item in container.env or [] if item.value_from and item.value_from.secret_key_ref]
        whole = [item.secret_ref.name for item in container.env_from or [] if item.secret_ref]
        if direct or whole:
            raise Broken(
                "secrets as files", f"{pod.metadata.name}/{container.name} has them in its environment: {', '.join(direct + whole)}"
            )


PROMISES = (
    Promise(
        "cluster.dns",
        "Names of the cluster resolve in a pod",
        names_resolve,
        "the pods of CoreDNS; the DNS rule of the namespace's NetworkPolicies",
        timeout=60,
        needs=("cluster.pods_running",),
    ),
    Promise(
        "cluster.storage",
        "A volume binds and keeps data",
        storage_keeps,
        "kubectl get storageclass,pvc -A; the log of the volume provisioner",
        timeout=90,
        needs=("cluster.pods_running",),
    ),
    Promise(
        "services.autoscaling",
        "Autoscalers have their numbers",
        autoscaling,
        "kubectl describe hpa -A; promise cluster.metrics",
        needs=("cluster.metrics",),
    ),
    Promise(
        "services.not_root",
        "No container runs as root",
        not_root,
        "securityContext in the values of the release",
        needs=("cluster.api_ready",),
    ),
    Promise(
        "services.no_secrets_in_pods",
        "No secret is in the environment or arguments of a pod",
        no_secrets_in_pods,
        "the values of the release that the pod belongs to; then rotate the secret",
        needs=("cluster.api_ready",),
    ),
)
