# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is said while a release is installed, and why it does not get ready."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._helm_progress import (
    Readiness,
    condition_reasons,
    pod_reasons,
    progress_line,
    readiness,
)


def workload(kind: str, **spec: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "web", "generation": 2}, "spec": spec}


@pytest.mark.parametrize(
    ("document", "status", "expected"),
    [
        (workload("Deployment", replicas=3), {"readyReplicas": 3, "updatedReplicas": 2, "observedGeneration": 2}, (2, 3)),
        (workload("Deployment", replicas=3), {"readyReplicas": 3, "updatedReplicas": 3, "observedGeneration": 1}, (0, 3)),
        (  # a rolling update: the pod that is ready is the former one
            workload("Deployment", replicas=1),
            {"replicas": 2, "readyReplicas": 1, "updatedReplicas": 1, "observedGeneration": 2},
            (0, 1),
        ),
        (workload("Deployment", replicas=0), {"observedGeneration": 2}, (0, 0)),
        (workload("StatefulSet"), {"readyReplicas": 1, "updatedReplicas": 1, "observedGeneration": 2}, (1, 1)),
        (workload("DaemonSet"), {"desiredNumberScheduled": 4, "numberReady": 1, "observedGeneration": 2}, (1, 4)),
        (workload("Job", completions=2), {"succeeded": 1}, (1, 2)),
    ],
)
def test_readiness(document: dict[str, Any], status: dict[str, Any], expected: tuple[int, int]) -> None:
    state = readiness(document, {**document, "status": status})
    assert (state.ready, state.wanted) == expected


def test_a_workload_that_is_not_there_yet() -> None:
    assert not readiness(workload("Deployment", replicas=2), None).done


def test_progress_lines() -> None:
    done, waiting = Readiness("Deployment a", 1, 1), Readiness("Deployment b", 0, 2)
    assert progress_line("web", [done, waiting], 41.3) == "helm_release: web ready 1/2, 41 s: waiting for Deployment b 0/2"
    assert progress_line("web", [done], 3) == "helm_release: web ready 1/1, 3 s"
    assert progress_line("web", [], 3) == "helm_release: web in progress, 3 s"
    assert progress_line("web", [waiting] * 5, 3).endswith("and 2 more")


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}, "is waiting: ImagePullBackOff no such image"),
        (
            {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 3}}},
            "is waiting: CrashLoopBackOff (last exit status 3)",
        ),
        ({"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}, "ended with status 137 OOMKilled"),
        ({"state": {"running": {}}, "ready": False}, "runs but its readiness probe does not pass"),
    ],
)
def test_reasons_of_a_pod(container: dict[str, Any], expected: str) -> None:
    pod = {"metadata": {"name": "web-1"}, "status": {"containerStatuses": [{"name": "main", **container}]}}
    assert pod_reasons(pod) == [f"pod web-1: container main {expected}"]


def test_reasons_of_pods_without_containers() -> None:
    pending = {"metadata": {"name": "p"}, "status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]}}
    assert pod_reasons(pending) == ["pod p is not scheduled: 0/1 nodes"]
    assert pod_reasons({"metadata": {"name": "p"}, "status": {"containerStatuses": [{"state": {"running": {}}, "ready": True}]}}) == []
    refused = {
        "status": {
            "conditions": [
                {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "no"},
                {"type": "Available", "status": "False"},
            ]
        }
    }
    assert condition_reasons(refused) == ["FailedCreate: no"]
