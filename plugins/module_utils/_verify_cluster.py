# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the cluster promises."""

from __future__ import annotations

import datetime as dt
import json
import pathlib
import secrets
import socket
import ssl
import stat
import subprocess
from typing import Any
from urllib.parse import urlsplit

import kubernetes
from ansible_collections.dcm.platform.plugins.module_utils._verify import Broken, NotApplicable, Promise, eventually
from ansible_collections.dcm.platform.plugins.module_utils._verify_probe import MANAGED_BY, TOOL
from ansible_collections.dcm.platform.plugins.module_utils._verify_site import TIMEOUT, Site

RECENT = dt.timedelta(minutes=10)
READY_SECONDS = 60.0  # metrics-server needs half of it after a start


def api_ready(site: Site) -> str:
    """The API server says so itself, and every node is ready."""
    answer = site.get("/readyz")
    if answer != "ok":
        raise Broken("ok from /readyz", answer)
    nodes = site.core.list_node(_request_timeout=TIMEOUT).items
    unready = [node.metadata.name for node in nodes if not _ready_since(node)]
    if unready or not nodes:
        raise Broken("every node ready", f"not ready: {', '.join(unready) or 'there is no node'}")
    version = kubernetes.client.VersionApi(site.client).get_code(_request_timeout=TIMEOUT).git_version
    return f"Kubernetes {version}, {len(nodes)} of {len(nodes)} nodes ready"


def _ready_since(node: Any) -> dt.datetime | None:
    """Since when the node is ready; None when it is not."""
    ready = [item for item in node.status.conditions or [] if item.type == "Ready" and item.status == "True"]
    found: dt.datetime | None = ready[0].last_transition_time if ready else None
    return found


def pods_running(site: Site) -> str:
    """Every pod runs and becomes ready, and none of them ended since its node came up (or lately, on a node that is up for long)."""
    eventually(lambda: _not_ready(site), READY_SECONDS, "all pods running and ready")
    now = dt.datetime.now(dt.UTC)
    started = _agents_started(site)
    up = {
        node.metadata.name: max([_ready_since(node) or now, *started.get(node.metadata.name, [])])
        for node in site.core.list_node(_request_timeout=TIMEOUT).items
    }
    pods = _all_pods(site)
    problems = [problem for pod in pods for problem in _restarts(pod, max(up.get(pod.spec.node_name, now), now - RECENT))]
    if problems:
        raise Broken("no pod restarted", "; ".join(problems[:5]))
    return f"{len(pods)} pods run"


def _all_pods(site: Site) -> list[Any]:
    pods = [pod for namespace in ["kube-system", *site.namespaces] for pod in site.pods(namespace)]
    return [pod for pod in pods if not pod.metadata.deletion_timestamp and pod.status.phase != "Succeeded"]


def _not_ready(site: Site) -> str | None:
    """The pods that are not ready; a pod that was just made is given time by the caller."""
    found = []
    for pod in _all_pods(site):
        statuses = pod.status.container_statuses or []
        if pod.status.phase != "Running" or not all(status.ready for status in statuses):
            waiting = [status.state.waiting.reason for status in statuses if status.state.waiting]
            name, state = f"{pod.metadata.namespace}/{pod.metadata.name}", ", ".join(waiting) or pod.status.phase
            found.append(f"{name} is {state}, ready {sum(status.ready for status in statuses)}/{len(statuses)}")
    return "; ".join(found[:5]) or None


def _agents_started(site: Site) -> dict[str, list[dt.datetime]]:
    """When the agents of each node were started lately: a node that comes back quickly was never seen as not ready."""
    found: dict[str, list[dt.datetime]] = {}
    selector = "reason=Starting,involvedObject.kind=Node"
    for event in site.core.list_namespaced_event("default", field_selector=selector, _request_timeout=TIMEOUT).items:
        if at := event.last_timestamp or event.event_time:
            found.setdefault(event.involved_object.name, []).append(at)
    return found


def _restarts(pod: Any, since: dt.datetime) -> list[str]:
    ended = [(status.restart_count, status.last_state.terminated) for status in pod.status.container_statuses or []]
    return [
        f"{pod.metadata.namespace}/{pod.metadata.name} was restarted ({count} times), last after {last.reason}, status {last.exit_code}"
        for count, last in ended
        # "Unknown" is how a node that came back says that the container went down with it.
        if last and last.finished_at and last.finished_at > since and last.reason != "Unknown"
    ]


def api_private(site: Site) -> str:
    """Our API server, known by its certificate, answers on no other address of this machine."""
    if site.inputs.provider != "embedded":
        raise NotApplicable("the cluster does not run on this machine")
    own = urlsplit(site.client.configuration.host)
    listing = json.loads(subprocess.run(["ip", "-json", "address"], capture_output=True, check=True).stdout)  # noqa: S607 - iproute2, wherever it is
    addresses = {str(entry["local"]) for link in listing for entry in link["addr_info"] if entry.get("scope") != "link"} - {own.hostname}
    answering = [address for address in sorted(addresses) if _is_ours(site, address, own.port or 443)]
    if answering:
        raise Broken(f"an API server on {own.hostname} alone", f"it answers on {', '.join(answering)} too")
    return f"answers on {own.hostname}, not on the {len(addresses)} other addresses of this machine"


def _is_ours(site: Site, address: str, port: int) -> bool:
    context = ssl.create_default_context(cafile=site.client.configuration.ssl_ca_cert)
    context.check_hostname = False
    try:
        with socket.create_connection((address, port), timeout=1) as plain, context.wrap_socket(plain):
            return True
    except OSError:
        return False


def anonymous_refused(site: Site) -> str:
    """Who says nothing about himself gets nothing."""
    try:
        site.get("/api/v1/secrets", site.anonymous())
    except kubernetes.client.ApiException as error:
        if error.status in (401, 403):
            return f"a request without credentials is answered with {error.status}"
        raise Broken("401 or 403 for a request without credentials", f"{error.status}") from error
    raise Broken("401 or 403 for a request without credentials", "the list of all Secrets")


def kubeconfig_private(site: Site) -> str:
    """Nobody else on this machine reads it."""
    path = pathlib.Path(site.inputs.kubeconfig)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode != 0o600:
        raise Broken(f"{path} with mode 0600", f"{mode:04o}")
    return f"{path} has mode 0600"


def audit_log(site: Site) -> str:
    """A request that was just made is in the audit log."""
    if not site.inputs.audit_log:
        raise NotApplicable("the audit log of this cluster is not on this machine")
    name = f"dcm-verify-{secrets.token_hex(6)}"
    log = pathlib.Path(site.inputs.audit_log)
    with log.open(encoding="utf-8", errors="replace") as lines:
        lines.seek(0, 2)
        try:
            site.core.read_namespaced_secret(name, "kube-system", _request_timeout=TIMEOUT)
        except kubernetes.client.ApiException as error:
            if error.status != 404:
                raise
        seconds = eventually(
            lambda: None if name in lines.read() else "no line that names it", 5, f"the request for Secret {name} in {log}"
        )
    return f"a request was in {log.name} after {seconds:.1f} s"


def metrics(site: Site) -> str:
    """The numbers that autoscaling goes by."""
    path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{site.inputs.namespace_services}/pods"
    # Pods of other promises are gone before they are measured.
    running = [pod for pod in site.pods(site.inputs.namespace_services, f"{MANAGED_BY}!={TOOL}") if pod.status.phase == "Running"]

    def probe() -> str | None:
        measured = {item["metadata"]["name"] for item in json.loads(site.get(path))["items"]}
        missing = [pod.metadata.name for pod in running if pod.metadata.name not in measured]
        return f"none for {', '.join(missing)}" if missing else None

    eventually(probe, 45, "CPU and memory of every pod", pause=2)
    return f"CPU and memory of {len(running)} pods"


PROMISES = (
    Promise(
        "cluster.api_ready",
        "The API server and every node are ready",
        api_ready,
        "the logs of kube-apiserver and kubelet; kubectl get nodes",
    ),
    Promise(
        "cluster.pods_running",
        "All pods run and none was restarted",
        pods_running,
        "kubectl get pods -A; kubectl describe and logs --previous of the pods named",
        timeout=READY_SECONDS + 15,
        needs=("cluster.api_ready",),
    ),
    Promise(
        "cluster.api_private",
        "The API server answers on the node's own address alone",
        api_private,
        "ss -ltnp; --bind-address of kube-apiserver",
    ),
    Promise(
        "cluster.anonymous_refused",
        "A request without credentials is refused",
        anonymous_refused,
        "--anonymous-auth and the ClusterRoleBindings of system:unauthenticated",
        needs=("cluster.api_ready",),
    ),
    Promise(
        "cluster.kubeconfig_private", "The kubeconfig is readable by its owner alone", kubeconfig_private, "chmod 0600, and who widened it"
    ),
    Promise(
        "cluster.audit_log",
        "A request is written to the audit log",
        audit_log,
        "--audit-log-path and --audit-policy-file of kube-apiserver",
        needs=("cluster.api_ready",),
    ),
    Promise(
        "cluster.metrics",
        "Pods are measured for autoscaling",
        metrics,
        "the log of metrics-server; kubectl get apiservice v1beta1.metrics.k8s.io",
        timeout=60,
        needs=("cluster.pods_running",),
    ),
)
