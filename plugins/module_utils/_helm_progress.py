# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How far a release is: counts of ready workloads while it is installed, and the reasons when it does not get ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._helm_plan import Record, Release
from ansible_collections.dcm.platform.plugins.module_utils._helm_records import ReleaseApi
from ansible_collections.dcm.platform.plugins.module_utils._helm_values import manifest_objects, object_name

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
MAX_PODS = 5

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Readiness:
    """One workload: how many of its pods are ready, of how many."""

    name: str
    ready: int
    wanted: int

    @property
    def done(self) -> bool:
        return self.ready >= self.wanted


def readiness(document: Json, live: Json | None) -> Readiness:
    """The state of a workload from its live object."""
    name, kind = object_name(document, str((document.get("metadata") or {}).get("namespace", ""))), document.get("kind")
    source: Json = live or document
    spec, status = source.get("spec") or {}, (live or {}).get("status") or {}
    if kind == "DaemonSet":
        wanted, ready = int(status.get("desiredNumberScheduled", 1)), int(status.get("numberReady", 0))
    elif kind == "Job":
        wanted, ready = int(spec.get("completions") or 1), int(status.get("succeeded", 0))
    else:
        wanted = int(spec.get("replicas", 1))
        updated = int(status.get("updatedReplicas", 0))
        former = max(0, int(status.get("replicas", 0)) - updated) if kind == "Deployment" else 0  # ready, but of the revision before
        ready = max(0, min(int(status.get("readyReplicas", 0)) - former, updated))
    if kind != "Job" and int(status.get("observedGeneration", 0)) < int(((live or {}).get("metadata") or {}).get("generation", 1)):
        ready = 0
    return Readiness(name, ready, wanted)


def progress_line(key: str, workloads: Sequence[Readiness], seconds: float) -> str:
    """``cert-manager ready 2/3, 41 s: waiting for Deployment cert-manager-webhook 0/1``."""
    waiting = [workload for workload in workloads if not workload.done]
    counted = f"ready {len(workloads) - len(waiting)}/{len(workloads)}" if workloads else "in progress"
    names = ", ".join(f"{workload.name} {workload.ready}/{workload.wanted}" for workload in waiting[:3])
    more = f" and {len(waiting) - 3} more" if len(waiting) > 3 else ""
    return f"helm_release: {key} {counted}, {seconds:.0f} s" + (f": waiting for {names}{more}" if names else "")


class Watch:
    """Follows one release while Helm works on it. The workloads come from the record that Helm writes first."""

    def __init__(self, kube: ReleaseApi, release: Release, revision: int) -> None:
        self._kube = kube
        self._release = release
        self._record = Record(revision, "", f"sh.helm.release.v1.{release.name}.v{revision}", 0.0)
        self._workloads: list[dict[str, Any]] | None = None

    def workloads(self) -> list[dict[str, Any]]:
        """The workloads of the release, hooks included; empty until Helm has written the record."""
        if self._workloads is None:
            document = self._kube.release_document(self._release.namespace, self._record)
            if not document:
                return []
            texts = [str(document.get("manifest", "")), *(str(hook.get("manifest", "")) for hook in document.get("hooks") or [])]
            self._workloads = [item for text in texts for item in manifest_objects(text) if item.get("kind") in WORKLOADS]
        return self._workloads

    def _live(self, document: Json) -> Json | None:
        path = self._kube.path_of(document, self._release.namespace)
        return self._kube.get(path) if path else None

    def poll(self) -> list[Readiness]:
        """The state of every workload now."""
        return [readiness(document, self._live(document)) for document in self.workloads()]

    def explain(self) -> list[str]:
        """Why workloads are not ready: what their pods wait for, and the warnings about them."""
        reasons: list[str] = []
        for document in self.workloads():
            live = self._live(document)
            state = readiness(document, live)
            if live is None or state.done:
                continue
            place = str((live.get("metadata") or {}).get("namespace") or self._release.namespace)
            pods = self._pods(live, place)
            found = [reason for pod in pods[:MAX_PODS] for reason in pod_reasons(pod)[:2] or self._warnings(place, pod)]
            found = found or condition_reasons(live) or self._warnings(place, live)
            reasons.append(f"{state.name} {state.ready}/{state.wanted}: {'; '.join(dict.fromkeys(found)) or 'no reason is given'}")
        return reasons

    def _pods(self, live: Json, namespace: str) -> Sequence[Json]:
        selector = ((live.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
        if not selector:
            return []
        text = ",".join(f"{key}={value}" for key, value in selector.items())
        pods = self._kube.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=text)
        return [pod for pod in pods if pod_reasons(pod)] or pods

    def _warnings(self, namespace: str, document: Json) -> list[str]:
        metadata = document.get("metadata") or {}
        events = self._kube.items(
            f"/api/v1/namespaces/{namespace}/events", fieldSelector=f"involvedObject.uid={metadata.get('uid', '')},type=Warning", limit="50"
        )
        newest = sorted(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))[-1:]
        return [f"{metadata.get('name')}: {event.get('reason')}: {str(event.get('message', '')).strip()[:300]}" for event in newest]


def pod_reasons(pod: Json) -> list[str]:
    """What a pod waits for."""
    name, status = (pod.get("metadata") or {}).get("name"), pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    reasons = [
        f"pod {name}: container {container.get('name')} {reason}" for container in containers if (reason := container_reason(container))
    ]
    unplaced = [item for item in status.get("conditions") or [] if item.get("type") == "PodScheduled" and item.get("status") == "False"]
    return reasons + [f"pod {name} is not scheduled: {str(item.get('message', ''))[:300]}" for item in unplaced]


def container_reason(container: Json) -> str:
    """What is wrong with a container, or nothing."""
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    if waiting.get("reason") not in {None, "PodInitializing", "ContainerCreating"}:
        text = f"is waiting: {waiting['reason']} {str(waiting.get('message', ''))[:300]}".rstrip()
        return text + (f" (last exit status {ended['exitCode']})" if "exitCode" in ended else "")
    if ended.get("exitCode"):
        return f"ended with status {ended['exitCode']} {ended.get('reason', '')}".rstrip()
    return "runs but its readiness probe does not pass" if "running" in state and not container.get("ready") else ""


def condition_reasons(live: Json) -> list[str]:
    """What a workload itself says is wrong, for example that its pods were refused."""
    bad = {"ReplicaFailure": "True", "Progressing": "False", "Failed": "True"}
    conditions = (live.get("status") or {}).get("conditions") or []
    return [
        f"{condition.get('reason')}: {str(condition.get('message', '')).strip()[:400]}"
        for condition in conditions
        if bad.get(condition.get("type")) == condition.get("status")
    ]
