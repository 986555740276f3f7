# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The two things that the guards ask the API server for: which cluster it is, and the Lease of the operator."""

from __future__ import annotations

import datetime as dt
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guard_lease import DURATION, Holder, Lease
from ansible_collections.dcm.platform.plugins.module_utils._kube_api import KubeApi, KubeError
from ansible_collections.dcm.platform.plugins.module_utils._kube_login import read_kubeconfig

NAMESPACE = "/api/v1/namespaces/kube-system"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
NAME = "dcm-operator"
TIMEOUT = 10.0  # seconds


class LostRace(PlatformError):
    """Somebody else wrote the Lease between our look and our write."""


class Cluster:
    """A cluster behind a kubeconfig."""

    def __init__(self, kubeconfig: str, context: str) -> None:
        self._api = KubeApi(read_kubeconfig(kubeconfig, context), timeout=TIMEOUT)

    def uid(self) -> str:
        """The UID of namespace kube-system: it is born and dies with the cluster."""
        uid = ((self._api.get(NAMESPACE) or {}).get("metadata") or {}).get("uid")
        if not uid:
            raise KubeError(0, f"what answers at {self._api.login.server} is no API server")
        return str(uid)

    def lease(self) -> tuple[Lease | None, str]:
        """The Lease, and the version of it that was read; none and "" where nobody ever held one."""
        found = self._ask("GET", f"{LEASES}/{NAME}")
        if found is None:
            return None, ""
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
        self._ask("PUT", f"{LEASES}/{NAME}", lease) if version else self._ask("POST", LEASES, lease)

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any] | None:
        try:
            return self._api.request(method, path, body)
        except KubeError as error:
            if error.status == 404 and method == "GET":
                return None
            if error.status == 409:
                raise LostRace("another run took the operator's Lease a moment ago: try again when it has ended") from error
            raise PlatformError(f"the operator's Lease cannot be used: {error}") from error
