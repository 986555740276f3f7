# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets in a Kubernetes API: read them, write them only if nobody else did in between."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._generated_secret import (
    LABELS,
    Change,
    Ref,
    for_an_empty_cluster,
    parse,
    plan,
    references,
    still_to_rotate,
)
from ansible_collections.dcm.platform.plugins.module_utils._kube_api import MERGE, KubeApi, KubeError
from ansible_collections.dcm.platform.plugins.module_utils._kube_login import read_kubeconfig

ATTEMPTS = 5


class LostRace(PlatformError):
    """Somebody else wrote the Secret after we had read it."""


class SecretStore:
    """The Secrets behind a kubeconfig."""

    def __init__(self, kubeconfig: str, context: str) -> None:
        self._api = KubeApi(read_kubeconfig(kubeconfig, context))
        self._versions: dict[Ref, str] = {}

    def read(self, refs: list[Ref]) -> dict[Ref, Mapping[str, bytes] | None]:
        """The decoded data of each Secret, None where there is none."""
        return {ref: self._read_one(ref) for ref in refs}

    def _read_one(self, ref: Ref) -> Mapping[str, bytes] | None:
        document = self._api.get(f"{_path(ref)}/{ref.name}")
        if document is None:
            self._versions.pop(ref, None)
            return None
        self._versions[ref] = document["metadata"]["resourceVersion"]
        return {key: base64.b64decode(value) for key, value in (document.get("data") or {}).items()}

    def write(self, change: Change) -> None:
        """Create the Secret, or add the changed keys to the version that was read."""
        metadata: dict[str, Any] = {"name": change.ref.name, "labels": LABELS}
        body = {"data": {key: base64.b64encode(value).decode() for key, value in change.values.items()}, "metadata": metadata}
        try:
            if change.exists:
                metadata["resourceVersion"] = self._versions[change.ref]
                self._api.request("PATCH", f"{_path(change.ref)}/{change.ref.name}", body, MERGE)
            else:
                self._api.request("POST", _path(change.ref), {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", **body})
        except KubeError as error:
            if error.status == 409:
                raise LostRace(f"Secret {change.ref} is written by somebody else all the time; find out by whom, then run again") from error
            if error.status == 404:
                raise PlatformError(f"Secret {change.ref}: its namespace does not exist; run playbooks/baseline.yml first") from error
            raise


def _path(ref: Ref) -> str:
    return f"/api/v1/namespaces/{ref.namespace}/secrets"


def converge(kubeconfig: str, context: str, entries: list[dict[str, Any]], rotate: list[str], check: bool) -> list[Change]:
    """Plan, write, and plan again when somebody else was faster. Returns what was written, or would be."""
    wanted = parse(entries)
    if check and not Path(kubeconfig).exists():
        wanted = for_an_empty_cluster(wanted)
        return plan(wanted, dict.fromkeys(references(wanted)), rotate)
    store = SecretStore(kubeconfig, context)
    done: list[Change] = []
    for attempt in range(1, ATTEMPTS + 1):
        changes = plan(wanted, store.read(references(wanted)), still_to_rotate(rotate, done))
        if check:
            return changes
        try:
            for change in changes:
                store.write(change)
                done.append(change)
            break
        except LostRace:
            if attempt == ATTEMPTS:
                raise
    return done
