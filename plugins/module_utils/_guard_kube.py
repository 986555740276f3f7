# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The two things that the guards ask the API server for: which cluster it is, and the Lease of the operator."""

from __future__ import annotations

import datetime as dt
from typing import Any

import kubernetes
import urllib3
import yaml
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guard_lease import DURATION, Holder, Lease

NAMESPACE = "kube-system"
NAME = "dcm-operator"
TIMEOUT = (2, 5)  # seconds to connect, and to answer


class Unreachable(PlatformError):
    """No API server, or one that does not let us in: there is nothing to guard yet."""


class LostRace(PlatformError):
    """Somebody else wrote the Lease between our look and our write."""


class Cluster:
    """A cluster behind a kubeconfig."""

    def __init__(self, kubeconfig: str, context: str) -> None:
        try:
            client: Any = kubernetes.config.new_client_from_config(kubeconfig, context or None)
        except (kubernetes.config.ConfigException, yaml.YAMLError, OSError, TypeError) as error:
            raise PlatformError(f"kubeconfig {kubeconfig} cannot be used: {error}") from error
        client.configuration.retries = urllib3.Retry(0)
        client.rest_client = kubernetes.client.rest.RESTClientObject(client.configuration)
        self._core: Any = kubernetes.client.CoreV1Api(client)
        self._leases: Any = kubernetes.client.CoordinationV1Api(client)

    def uid(self) -> str:
        """The UID of namespace kube-system: it is born and dies with the cluster."""
        try:
            found: str = self._core.read_namespace(NAMESPACE, _request_timeout=TIMEOUT).metadata.uid
            return found
        except kubernetes.client.ApiException as error:
            raise Unreachable(f"the API server answers {error.status} {error.reason}") from error
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"the API server does not answer: {error}") from error

    def lease(self) -> tuple[Lease | None, str]:
        """The Lease, and the version of it that was read; none and "" where nobody ever held one."""
        try:
            found = self._leases.read_namespaced_lease(NAME, NAMESPACE, _request_timeout=TIMEOUT)
        except kubernetes.client.ApiException as error:
            if error.status == 404:
                return None, ""
            raise
        spec = found.spec
        lease = Lease(spec.holder_identity or "", spec.lease_duration_seconds or DURATION, spec.renew_time, spec.lease_transitions or 0)
        return lease, found.metadata.resource_version

    def write_lease(self, holder: Holder | None, transitions: int, version: str) -> str:
        """Take, renew or (without a holder) give back the Lease, if it still has the version that was read. Returns the new version."""
        client: Any = kubernetes.client
        lease = client.V1Lease(
            metadata=client.V1ObjectMeta(name=NAME, resource_version=version or None, labels={"app.kubernetes.io/part-of": "dcm"}),
            spec=client.V1LeaseSpec(
                holder_identity=holder.identity if holder else "",
                lease_duration_seconds=DURATION,
                renew_time=dt.datetime.now(dt.UTC),
                lease_transitions=transitions,
            ),
        )
        try:
            if version:
                written = self._leases.replace_namespaced_lease(NAME, NAMESPACE, lease, _request_timeout=TIMEOUT)
            else:
                written = self._leases.create_namespaced_lease(NAMESPACE, lease, _request_timeout=TIMEOUT)
        except client.ApiException as error:
            if error.status == 409:
                raise LostRace("another run took the operator's Lease a moment ago: try again when it has ended") from error
            raise
        new_version: str = written.metadata.resource_version
        return new_version
