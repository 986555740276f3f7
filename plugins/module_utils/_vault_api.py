# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The I/O with Vault or OpenBao: how a server is reached, how one logs in, and plain reads and writes of paths. On hvac."""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hvac
import requests
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_kube import Kubectl, port_forward
from ansible_collections.dcm.platform.plugins.module_utils._kube_api import KubeApi
from ansible_collections.dcm.platform.plugins.module_utils._kube_login import read_kubeconfig
from requests.adapters import HTTPAdapter

SECONDS = 60
TOKEN_SECONDS = 600  # the shortest that Kubernetes gives
Json = dict[str, Any]


class VaultError(PlatformError):
    """An answer of Vault that is not a success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _NamedHost(HTTPAdapter):
    """Checks the certificate for the server's own name, whatever address or tunnel leads to it."""

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, assert_hostname=self._name, server_hostname=self._name)


class Vault:
    """One server and a token. Errors name the path; what is sent or answered is in no message."""

    def __init__(self, url: str, ca_file: str = "", tls_name: str = "", token: str = "") -> None:
        session = requests.Session()
        session.trust_env = False  # neither a proxy nor another bundle of authorities is meant for the site's own Vault
        if tls_name and url.startswith("https:"):
            session.mount("https://", _NamedHost(tls_name))
        session.verify = ca_file or True
        self.url = url
        self._client = hvac.Client(url=url, token=token, verify=ca_file or True, timeout=SECONDS, session=session, allow_redirects=True)

    @property
    def token(self) -> str:
        return str(self._client.token or "")

    @token.setter
    def token(self, value: str) -> None:
        self._client.token = value

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None, seconds: float = SECONDS) -> Json | None:
        """The answer, or None where there is nothing to read, or to say."""
        try:
            answer = self._ask(method, path, body, seconds)
        except hvac.exceptions.InvalidPath as error:
            if method in ("get", "list"):
                return None
            raise VaultError(404, f"{method} {path} at {self.url}: {'; '.join(error.errors or []) or 'there is no such path'}") from None
        except hvac.exceptions.VaultError as error:
            status = {hvac.exceptions.Forbidden: 403, hvac.exceptions.InvalidRequest: 400, hvac.exceptions.VaultDown: 503}
            reasons = "; ".join(str(reason).strip() for reason in error.errors or []) or type(error).__name__
            raise VaultError(status.get(type(error), 500), f"{method} {path} at {self.url}: {reasons}") from None
        except requests.RequestException as error:
            raise VaultError(
                0, f"{self.url} does not answer: {_reason(error)}. Is the server up, and its certificate from our CA?"
            ) from None
        return answer if isinstance(answer, dict) else None

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None, seconds: float) -> Any:
        """A key-value store that was just made asks for a moment."""
        for pause in (0.2, 0.5, 1.0, 2.0):
            try:
                return self._client.adapter.request(method, f"/v1/{path}", json=body, raise_exception=True, timeout=seconds)
            except hvac.exceptions.InvalidRequest as error:
                if "Upgrading from non-versioned" not in str(error):
                    raise
                time.sleep(pause)
        return self._client.adapter.request(method, f"/v1/{path}", json=body, raise_exception=True, timeout=seconds)

    def read(self, path: str) -> Json | None:
        """The data at a path; None where there is none."""
        answer = self.request("get", path)
        return None if answer is None else answer.get("data", answer)

    def list(self, path: str) -> list[str]:
        """The names below a path."""
        return list((self.request("list", path) or {}).get("data", {}).get("keys") or [])

    def write(self, path: str, body: Mapping[str, Any] | None = None) -> Json:
        """Write, and the answer."""
        return self.request("post", path, body or {}) or {}

    def delete(self, path: str) -> None:
        self.request("delete", path)


def _reason(error: Exception) -> str:
    return str(getattr(error, "args", [error])[0]).rsplit("Caused by ", 1)[-1][:300]


@dataclass(frozen=True)
class Place:
    """Where a Vault is: a URL, or a Service of a cluster (namespace/name) whose name its certificate bears."""

    url: str = ""
    kubeconfig: str = ""
    context: str = ""
    kubectl: str = "kubectl"
    service: str = ""
    port: int = 8200
    access: str = "direct"
    ca_file: str = ""
    ca_secret: str = ""
    login_mount: str = "jwt"
    login_role: str = "dcm-admin"
    login_account: str = "vault/dcm-vault-admin"

    @property
    def namespace(self) -> str:
        return self.service.partition("/")[0]

    @property
    def tls_name(self) -> str:
        return "" if self.url else f"{self.service.partition('/')[2]}.{self.namespace}.svc"

    def tools(self) -> Kubectl:
        return Kubectl(self.kubectl, self.kubeconfig, self.context or None)

    def kube(self) -> KubeApi:
        return KubeApi(read_kubeconfig(self.kubeconfig, self.context))


def missing(place: Place) -> bool:
    """Whether there is no Vault yet, which only check mode may find."""
    if place.url:
        return False
    namespace, _slash, name = place.service.partition("/")
    return not Path(place.kubeconfig).exists() or place.kube().get(f"/api/v1/namespaces/{namespace}/services/{name}") is None


@contextlib.contextmanager
def trusted(place: Place) -> Iterator[str]:
    """The file with the authority of Vault's certificate: given, or read from its Secret for as long as the block lasts."""
    if place.ca_file or place.url:
        yield place.ca_file
        return
    namespace, _slash, name = place.ca_secret.partition("/")
    secret = place.kube().get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
    encoded = ((secret or {}).get("data") or {}).get("ca.crt")
    if not encoded:
        raise PlatformError(
            f"Secret {place.ca_secret} with the authority of Vault's certificate (ca.crt) is not there: run playbooks/components.yml"
        )
    descriptor, path = tempfile.mkstemp(prefix="vault-ca-")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(base64.b64decode(encoded))
        yield path
    finally:
        Path(path).unlink()


@contextlib.contextmanager
def reach(place: Place, target: str = "", address: str = "") -> Iterator[Vault]:
    """A Vault without a token: the one behind the Service, or one pod of it by its name and address."""
    with trusted(place) as ca_file, contextlib.ExitStack() as stack:
        if place.url:
            yield Vault(place.url, ca_file)
            return
        if place.access == "port_forward":
            host = "127.0.0.1"
            port = stack.enter_context(
                port_forward(place.tools(), "service", target or place.service, place.port, "pod" if target else "service")
            )
        else:
            host, port = address or place.tools().cluster_address("service", place.service), place.port
        yield Vault(f"https://{host}:{port}", ca_file, place.tls_name)


def account_token(place: Place) -> str:
    """A token of the administrator's service account, for Vault alone and for ten minutes."""
    namespace, _slash, name = place.login_account.partition("/")
    body = {"spec": {"audiences": ["vault"], "expirationSeconds": TOKEN_SECONDS}}
    answer = place.kube().request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", body)
    return str(answer["status"]["token"])


def log_in(place: Place, vault: Vault) -> None:
    """By the administrator's service account."""
    body = {"role": place.login_role, "jwt": account_token(place)}
    vault.token = ""
    vault.token = str(vault.write(f"auth/{place.login_mount}/login", body)["auth"]["client_token"])


@contextlib.contextmanager
def session(place: Place) -> Iterator[Vault]:
    """A Vault with the administrator's rights for as long as the block lasts. With VAULT_TOKEN that token is used, and left alone."""
    with reach(place) as vault:
        if os.environ.get("VAULT_TOKEN"):
            vault.token = os.environ["VAULT_TOKEN"]
            yield vault
            return
        log_in(place, vault)
        try:
            yield vault
        finally:
            with contextlib.suppress(VaultError):
                vault.write("auth/token/revoke-self")
