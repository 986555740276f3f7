# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Helm's own records of releases: the Secrets that it keeps in the cluster."""

from __future__ import annotations

import base64
import gzip
import json
import urllib.parse
from collections.abc import Iterable

from ansible_collections.dcm.platform.plugins.module_utils._helm_plan import Record
from ansible_collections.dcm.platform.plugins.module_utils._kube_api import MERGE, Json, KubeApi, KubeError

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
RELEASE_TYPE = "helm.sh/release.v1"


class ReleaseApi(KubeApi):
    """The API server, with what Helm keeps there."""

    def release_history(self, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[Record]]:
        """Every stored revision of these (namespace, name), oldest first: metadata alone, in one request where the user may."""
        pairs = set(wanted)
        history: dict[tuple[str, str], list[Record]] = {pair: [] for pair in pairs}
        names = ",".join(sorted({name for _namespace, name in pairs}))
        query = urllib.parse.urlencode({"labelSelector": f"owner=helm,name in ({names})", "fieldSelector": f"type={RELEASE_TYPE}"})
        try:
            items = self._list(f"/api/v1/secrets?{query}")
        except KubeError as error:
            if error.status != 403:
                raise
            items = [
                item for space in sorted({pair[0] for pair in pairs}) for item in self._list(f"/api/v1/namespaces/{space}/secrets?{query}")
            ]
        for item in items:
            metadata = item["metadata"]
            pair = (metadata["namespace"], metadata["labels"]["name"])
            if pair in history:
                history[pair].append(_record(metadata))
        return {pair: sorted(records, key=lambda record: record.revision) for pair, records in history.items()}

    def _list(self, path: str) -> list[Json]:
        items: list[Json] = self.request("GET", path, accept=METADATA_ONLY).get("items") or []
        return items

    def release_document(self, namespace: str, record: Record) -> Json:
        """What Helm stored for a revision: manifest, values, chart, hooks."""
        secret = self.get(f"/api/v1/namespaces/{namespace}/secrets/{record.secret}") or {}
        data = (secret.get("data") or {}).get("release")
        if not data:
            return {}
        packed = base64.b64decode(base64.b64decode(data))
        document: Json = json.loads(gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed)
        return document

    def store_release_document(self, namespace: str, record: Record, document: Json) -> None:
        """Write a stored revision back."""
        packed = base64.b64encode(gzip.compress(json.dumps(document).encode(), 9))
        data = {"data": {"release": base64.b64encode(packed).decode()}}
        self.request("PATCH", f"/api/v1/namespaces/{namespace}/secrets/{record.secret}", data, MERGE)

    def discard_record(self, namespace: str, record: Record) -> None:
        """Remove one stored revision."""
        self.request("DELETE", f"/api/v1/namespaces/{namespace}/secrets/{record.secret}")


def _record(metadata: Json) -> Record:
    labels: dict[str, str] = metadata["labels"]
    modified = labels.get("modifiedAt") or labels.get("createdAt") or "0"
    return Record(int(labels["version"]), labels.get("status", "unknown"), metadata["name"], float(modified), labels)
