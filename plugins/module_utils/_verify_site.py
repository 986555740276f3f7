# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The site as checks see it: its inputs, its API server, its Secrets, and a way to its services."""

from __future__ import annotations

import base64
import contextlib
import copy
import dataclasses
import functools
import threading
from collections.abc import Iterator
from typing import Any

import kubernetes
import urllib3
from ansible_collections.dcm.platform.plugins.module_utils._guild_kube import Kubectl, port_forward
from ansible_collections.dcm.platform.plugins.module_utils._vault_api import Place
from ansible_collections.dcm.platform.plugins.module_utils._vault_secrets import read_field
from ansible_collections.dcm.platform.plugins.module_utils._verify import Broken

PART_OF_DCM = "app.kubernetes.io/part-of=dcm"
TIMEOUT = (5, 20)
CREDENTIALS = ("dcm", "credentials")  # mount and path of the services' secrets in Vault


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What the inventory says."""

    environment: str
    provider: str
    kubeconfig: str
    context: str
    kubectl: str
    access: str
    namespace_data: str
    namespace_services: str
    namespace_ingress: str
    namespace_cert_manager: str
    namespace_dns: str
    audit_log: str
    postgres_host: str
    postgres_pooler_host: str
    postgres_port: int
    postgres_database: str
    postgres_admin_secret: str
    backup_repository: str
    backup_days: int
    backup_proof_days: int
    service_secret: str
    service_secret_namespace: str
    service_role: str
    secrets_source: str
    vault_service: str
    vault_port: int
    redis_host: str
    redis_port: int
    redis_secret: str
    discord_url: str
    domain: str
    service_hosts: dict[str, str]
    gateway: str
    certificate_issuer: str
    certificate_authority: str  # file; empty where certificates come from a public authority
    dns_own: bool
    dns_dry_run: bool
    migrations_dir: str
    placements: list[dict[str, Any]]
    guilds: list[int]
    event_seconds: float
    probe_image: str


class Site:
    """A running platform."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.client: Any = kubernetes.config.new_client_from_config(inputs.kubeconfig, inputs.context or None)
        self.core: Any = kubernetes.client.CoreV1Api(self.client)
        self.apps: Any = kubernetes.client.AppsV1Api(self.client)
        self._credentials: dict[str, str] = {}
        self._reading = threading.Lock()

    @property
    def vault(self) -> Place:
        """Where Vault is, and how the administrator logs in."""
        inputs = self.inputs
        namespace = inputs.vault_service.partition("/")[0]
        return Place(
            kubeconfig=inputs.kubeconfig,
            context=inputs.context,
            kubectl=inputs.kubectl,
            service=inputs.vault_service,
            port=inputs.vault_port,
            access=inputs.access,
            ca_secret=f"{namespace}/vault-tls",
            login_account=f"{namespace}/dcm-vault-admin",
        )

    def uid(self) -> str:
        """Which cluster this is; empty when it does not answer."""
        try:
            return str(self.core.read_namespace("kube-system", _request_timeout=TIMEOUT).metadata.uid)
        except (kubernetes.client.ApiException, urllib3.exceptions.HTTPError):
            return ""

    @property
    def namespaces(self) -> list[str]:
        """The namespaces of DCM that exist."""
        inputs = self.inputs
        mine = {
            inputs.namespace_data, inputs.namespace_services, inputs.namespace_ingress, inputs.namespace_cert_manager, inputs.namespace_dns
        }  # fmt: skip
        return sorted(item.metadata.name for item in self.core.list_namespace(_request_timeout=TIMEOUT).items if item.metadata.name in mine)

    def anonymous(self) -> Any:
        """A client that says nothing about itself."""
        configuration: Any = copy.copy(self.client.configuration)
        configuration.cert_file = configuration.key_file = configuration.username = configuration.password = None
        configuration.api_key, configuration.api_key_prefix, configuration.refresh_api_key_hook = {}, {}, None
        return kubernetes.client.ApiClient(configuration)

    def get(self, path: str, client: Any = None) -> str:
        """A path of the API server that the client library has no function for, as text."""
        asking = client or self.client
        headers = {item["key"]: item["value"] for item in asking.configuration.auth_settings().values() if item["value"]}
        timeout = urllib3.Timeout(*TIMEOUT)
        pool = asking.rest_client.pool_manager
        answer = pool.request("GET", asking.configuration.host + path, headers=headers, timeout=timeout, retries=False)
        if answer.status >= 400:
            raise kubernetes.client.ApiException(status=answer.status, reason=answer.reason)
        return str(answer.data.decode())

    def secret(self, reference: str, key: str) -> str:
        """A key of a Secret (namespace/name)."""
        namespace, _slash, name = reference.partition("/")
        data = self.core.read_namespaced_secret(name, namespace, _request_timeout=TIMEOUT).data or {}
        if key not in data:
            raise Broken(f"key {key} in Secret {reference}", f"the keys {', '.join(sorted(data)) or 'none'}")
        return base64.b64decode(data[key]).decode()

    def credential(self, key: str) -> str:
        """A secret of the services, from where they have it: Vault, or their Secret."""
        if self.inputs.secrets_source == "vault":
            with self._reading:
                if key not in self._credentials:
                    self._credentials[key] = read_field(self.vault, CREDENTIALS[0], f"{CREDENTIALS[1]}/{key}", "value")
                return self._credentials[key]
        return self.secret(f"{self.inputs.service_secret_namespace}/{self.inputs.service_secret}", key)

    def pods(self, namespace: str, selector: str = "") -> list[Any]:
        return list(self.core.list_namespaced_pod(namespace, label_selector=selector, _request_timeout=TIMEOUT).items)

    @functools.cached_property
    def _kubectl(self) -> Kubectl:
        return Kubectl(self.inputs.kubectl, self.inputs.kubeconfig, self.inputs.context or None)

    @contextlib.contextmanager
    def reach(self, namespace: str, service: str, port: int) -> Iterator[tuple[str, int]]:
        """Host and port at which the controller reaches a Service."""
        if self.inputs.access == "direct":
            yield self._kubectl.cluster_address("the check", f"{namespace}/{service}"), port
            return
        with port_forward(self._kubectl, "the check", f"{namespace}/{service}", port) as local:
            yield "127.0.0.1", local

    @contextlib.contextmanager
    def reach_name(self, host: str, port: int) -> Iterator[tuple[str, int]]:
        """The same for a host name: one below svc is a Service, any other one is reached as it is."""
        name, _dot, rest = host.partition(".")
        namespace, _dot, kind = rest.partition(".")
        if kind.split(".")[0] == "svc":
            with self.reach(namespace, name, port) as address:
                yield address
        else:
            yield host, port

    @contextlib.contextmanager
    def url(self, service: str, port: int = 8080) -> Iterator[str]:
        """The base URL of a DCM service."""
        with self.reach(self.inputs.namespace_services, service, port) as (host, local):
            yield f"http://{host}:{local}"
