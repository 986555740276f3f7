# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plain requests to an API server. Loading the typed models of the client library takes longer than a few requests."""

from __future__ import annotations

import json
from typing import Any

import urllib3
import yaml
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from kubernetes.client import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.config import ConfigException, load_kube_config

TIMEOUT = urllib3.Timeout(connect=2, read=10)


class Unreachable(PlatformError):
    """No API server, or one that does not let us in."""


class KubeRest:
    """The API server behind a kubeconfig."""

    def __init__(self, kubeconfig: str, context: str) -> None:
        self._configuration: Any = Configuration()
        try:
            load_kube_config(kubeconfig, context or None, self._configuration)
        except (ConfigException, yaml.YAMLError, OSError, TypeError) as error:
            raise PlatformError(f"kubeconfig {kubeconfig} cannot be used: {error}") from error
        self._pool: Any = RESTClientObject(self._configuration).pool_manager

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """The status and the object of the answer."""
        url = self._configuration.host + path
        headers = {item["key"]: item["value"] for item in self._configuration.auth_settings().values() if item["value"]}
        headers["Content-Type"] = "application/json"
        data = json.dumps(body) if body else None
        try:
            answer = self._pool.request(method, url, headers=headers, body=data, timeout=TIMEOUT, retries=False)
            return int(answer.status), json.loads(answer.data)
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"the API server does not answer: {error}") from error
        except ValueError as error:
            raise Unreachable(f"what answers at {self._configuration.host} is no API server") from error

    def get(self, path: str) -> dict[str, Any]:
        """An object, or an error that says why there is none."""
        status, found = self.ask("GET", path)
        if status != 200:
            raise Unreachable(f"the API server answers {status} {found.get('reason', '')}".rstrip())
        return found
