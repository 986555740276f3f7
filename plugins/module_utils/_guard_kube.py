# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The two things that the guards ask the API server for: which cluster it is, and the Lease of the operator."""

from __future__ import annotations

import datetime as dt
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guard_lease import DURATION, Holder, Lease
from ansible_collections.dcm.platform.plugins.module_utils._kube_rest import KubeRest

NAMESPACE = "/api/v1/namespaces/kube-system"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
NAME = "dcm-operator"


class LostRace(PlatformError):
    """Somebody else wrote the Lease between our look and our write."""


class Cluster:
    """A cluster behind a kubeconfig."""

    def __init__(self, kubeconfig: str, context: str) -> None:
        self._api = KubeRest(kubeconfig, context)

    def uid(self) -> str:
        """The UID of namespace kube-system: it is born and dies with the cluster."""
        return str(self._api.get(NAMESPACE)["metadata"]["uid"])

    def lease(self) -> tuple[Lease | None, str]:
        """The Lease, and the version of it that was read; none and "" where nobody ever held one."""
        status, found = self._api.ask("GET", f"{LEASES}/{NAME}")
        if status == 404:
            return None, ""
        self._expect(status, found)
        spec = found.get("spec") or {}
        renewed = dt.datetime.fromisoformat(spec["renewTime"]) if spec.get("renewTime") else None
        duration, transitions = spec.get("leaseDurationSeconds") or DURATION, spec.get("leaseTransitions") or 0
        return Lease(spec.get("holderIdentity") or "", duration, renewed, transitions), found["metadata"]["resourceVersion"]

    def write_lease(self, holder: Holder | None, transitions: int, version: str) -> None:
        """Take, renew or (without a holder) give back the Lease, if it still has the version that was read."""
        metadata = {"name": NAME, "labels": {"app.kubernetes.io/part-of": "dcm"}, **({"resourceVersion": version} if version else {})}
        spec = {
            "holderIdentity": holder.identity if holder else "",
            "leaseDurationSeconds": DURATION,
            "renewTime": dt.datetime.now(dt.UTC).isoformat(timespec="microseconds"),
            "leaseTransitions": transitions,
        }
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        status, found = self._api.ask("PUT", f"{LEASES}/{NAME}", lease) if version else self._api.ask("POST", LEASES, lease)
        if status == 409:
            raise LostRace("another run took the operator's Lease a moment ago: try again when it has ended")
        self._expect(status, found)

    @staticmethod
    def _expect(status: int, found: dict[str, Any]) -> None:
        if status >= 400:
            raise PlatformError(f"the operator's Lease cannot be used: {status} {found.get('message', '')}")
