# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Kubernetes API: plain HTTPS from a kubeconfig.

The Kubernetes client library takes 0.7 s to import, which is most of what a run without changes may take. What plugins on
the controller need (read, list, server-side apply, delete) is small, so it uses the standard library.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._kube_login import Login, authenticate

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"

Json = dict[str, Any]


class KubeError(PlatformError):
    """An answer of the API server that is not a success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class KubeApi:
    """The API server of one kubeconfig context; one connection per thread, kept open."""

    def __init__(self, login: Login, timeout: float = 30.0) -> None:
        self.login = login
        self._timeout = timeout
        self._lock = threading.Lock()
        self._paths: dict[str, dict[str, tuple[str, bool]]] = {}
        url = urllib.parse.urlsplit(login.server)
        if url.scheme not in ("https", "http") or not url.hostname:
            raise PlatformError(f"kubeconfig {login.path}: server {login.server!r} is not a URL.")
        self._url = url
        self._context: ssl.SSLContext | None = None
        self._token = ""
        self._log_in()

    def _log_in(self) -> None:
        if self._url.scheme == "https":
            self._context, self._token = authenticate(self.login)
        self._local = threading.local()

    # -- requests -------------------------------------------------------------------------------------------------------

    def _connect(self) -> http.client.HTTPConnection:
        host, port = str(self._url.hostname), self._url.port or (443 if self._context else 80)
        proxy = urllib.parse.urlsplit(str(self.login.cluster.get("proxy-url") or ""))
        where = (str(proxy.hostname), proxy.port or 80) if proxy.hostname else (host, port)
        if not self._context:
            return http.client.HTTPConnection(*where, timeout=self._timeout)
        connection = http.client.HTTPSConnection(*where, timeout=self._timeout, context=self._context)
        if proxy.hostname:
            connection.set_tunnel(host, port)
        return connection

    def request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", accept: str = "application/json"
    ) -> Json:
        """One request; errors name what was asked for."""
        headers = {"Accept": accept, "User-Agent": "dcm-platform"}
        data = None if body is None else json.dumps(body).encode()
        headers |= {"Content-Type": content_type} if data is not None else {}
        status, content = self._exchange(method, path, data, headers)
        if status == 401 and "exec" in self.login.user:  # such a credential may run out while something is being waited for
            self._log_in()
            status, content = self._exchange(method, path, data, headers)
        return self._read(method, path, status, content)

    def _exchange(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Ask on this thread's connection; one that the server has closed meanwhile is opened again."""
        kept: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        self._local.connection = None
        token = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        for connection in [kept, self._connect()] if kept else [self._connect()]:
            try:
                connection.request(method, self._url.path.rstrip("/") + path, body=data, headers={**headers, **token})
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                problem = error
                continue
            self._local.connection = connection
            return answer.status, content
        raise KubeError(0, f"{self.login.server} does not answer: {problem}. Is the cluster up, and {self.login.path} its kubeconfig?")

    def _read(self, method: str, path: str, status: int, content: bytes) -> Json:
        try:
            document = json.loads(content) if content else {}
        except ValueError:
            document = {"message": content[:300].decode(errors="replace")}
        if status >= 400:
            hint = " Check the user of the kubeconfig and its rights." if status in (401, 403) else ""
            raise KubeError(status, f"{method} {path}: {document.get('message', 'no message')} (HTTP {status}).{hint}")
        return document if isinstance(document, dict) else {}

    def get(self, path: str) -> Json | None:
        """An object, or None where there is none."""
        try:
            return self.request("GET", path)
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    # -- objects --------------------------------------------------------------------------------------------------------

    def path_of(self, document: Mapping[str, Any], namespace: str) -> str | None:
        """The API path of an object, or None where its kind is not known to the server."""
        version = str(document.get("apiVersion", ""))
        with self._lock:
            if version not in self._paths:
                self._paths[version] = self._discover(version)
            resource = self._paths[version].get(str(document.get("kind", "")))
        if not resource:
            return None
        base = "/api/v1" if version == "v1" else f"/apis/{version}"
        metadata = document.get("metadata") or {}
        place = f"/namespaces/{metadata.get('namespace') or namespace}" if resource[1] else ""
        return f"{base}{place}/{resource[0]}/{urllib.parse.quote(str(metadata.get('name', '')))}"

    def _discover(self, version: str) -> dict[str, tuple[str, bool]]:
        document = self.get("/api/v1" if version == "v1" else f"/apis/{version}") or {}
        resources: list[Json] = document.get("resources") or []
        return {item["kind"]: (item["name"], bool(item["namespaced"])) for item in resources if "/" not in item["name"]}

    def forget_kinds(self) -> None:
        """Ask for the known kinds again: new definitions were made."""
        with self._lock:
            self._paths.clear()

    def apply(self, path: str, document: Mapping[str, Any], manager: str, dry_run: bool) -> Json:
        """Server-side apply; conflicts are taken over."""
        query = {"fieldManager": manager, "force": "true", **({"dryRun": "All"} if dry_run else {})}
        return self.request("PATCH", f"{path}?{urllib.parse.urlencode(query)}", document, APPLY)

    def items(self, path: str, **query: str) -> Sequence[Json]:
        """The items of a list."""
        suffix = f"?{urllib.parse.urlencode(query)}" if query else ""
        found: list[Json] = (self.get(path + suffix) or {}).get("items") or []
        return found
