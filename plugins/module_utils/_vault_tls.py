# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The certificate of Vault from an authority of its own, in Secrets; and the authority, which is no secret, where its clients are."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._generated_secret import LABELS
from ansible_collections.dcm.platform.plugins.module_utils._kube_api import KubeApi
from ansible_collections.dcm.platform.plugins.module_utils._kube_login import read_kubeconfig
from ansible_collections.dcm.platform.plugins.module_utils._pki import Pair, Wanted, issue, new_authority, why_issue

MANAGER = "dcm-platform"
Json = dict[str, Any]


@dataclass(frozen=True)
class Certificate:
    """What is wanted: a certificate for a Service, and its authority as ca.crt in a ConfigMap of each namespace."""

    namespace: str
    service: str
    secret: str
    bundle: str
    bundle_namespaces: Sequence[str] = ()
    renew_days: int = 30

    def wanted(self) -> Wanted:
        names = [
            f"{self.service}{end}" for end in ("", f".{self.namespace}", f".{self.namespace}.svc", f".{self.namespace}.svc.cluster.local")
        ]
        # Members of a cluster are reached by the names that the Service without an address gives them.
        names += [f"*.{self.service}-internal", f"*.{self.service}-internal.{self.namespace}.svc", "localhost"]
        return Wanted(self.service, "vault-ca", self.service, names=tuple(names), addresses=("127.0.0.1",), usages=("server", "client"))


def converge(kubeconfig: str, context: str, certificate: Certificate, issued_elsewhere: bool, dry: bool) -> tuple[list[str], str]:
    """What was written, or would be, and a digest that changes with the certificate."""
    if dry and not Path(kubeconfig).exists():
        return [f"Secret {certificate.namespace}/{certificate.secret}: issued"], ""
    api = KubeApi(read_kubeconfig(kubeconfig, context))
    there: Mapping[str, bytes] = _read(api, "secrets", certificate.namespace, certificate.secret) or {}
    done: list[str] = []
    if not issued_elsewhere:
        there = _issue(api, certificate, there, done, dry)
    bundle = there.get("ca.crt", b"").decode()
    for namespace in certificate.bundle_namespaces if bundle else ():
        found = api.get(f"/api/v1/namespaces/{namespace}/configmaps/{certificate.bundle}")
        if ((found or {}).get("data") or {}).get("ca.crt") != bundle:
            done.append(f"ConfigMap {namespace}/{certificate.bundle}: the authority")
            _write(api, "ConfigMap", namespace, certificate.bundle, {"data": {"ca.crt": bundle}}, dry)
    return done, hashlib.sha256(there.get("tls.crt", b"")).hexdigest()[:16]


def _issue(api: KubeApi, certificate: Certificate, there: Mapping[str, bytes], done: list[str], dry: bool) -> Mapping[str, bytes]:
    now, namespace = dt.datetime.now(dt.UTC), certificate.namespace
    kept = _read(api, "secrets", namespace, f"{certificate.secret}-ca")
    if kept:
        authority = Pair(kept["ca.key"], kept["ca.crt"])
    else:
        authority = new_authority(f"DCM {certificate.service} CA", now)
        done.append(f"Secret {namespace}/{certificate.secret}-ca: a new authority")
        _write(api, "Secret", namespace, f"{certificate.secret}-ca", _data({"ca.crt": authority.certificate, "ca.key": authority.key}), dry)
    current = Pair(there["tls.key"], there["tls.crt"]) if {"tls.key", "tls.crt"} <= set(there) else None
    wanted = certificate.wanted()
    reason = why_issue(wanted, current, authority, now, certificate.renew_days)
    if not reason:
        return there
    done.append(f"Secret {namespace}/{certificate.secret}: issued ({reason})")
    pair = issue(wanted, authority, now)
    data = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.certificate}
    _write(api, "Secret", namespace, certificate.secret, _data(data), dry)
    return data


def _data(values: Mapping[str, bytes]) -> Json:
    return {"type": "Opaque", "data": {key: base64.b64encode(value).decode() for key, value in values.items()}}


def _read(api: KubeApi, plural: str, namespace: str, name: str) -> dict[str, bytes] | None:
    found = api.get(f"/api/v1/namespaces/{namespace}/{plural}/{name}")
    return None if found is None else {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}


def _write(api: KubeApi, kind: str, namespace: str, name: str, body: Json, dry: bool) -> None:
    if dry:
        return
    document = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace, "labels": LABELS}, **body}
    api.apply(f"/api/v1/namespaces/{namespace}/{kind.lower()}s/{name}", document, MANAGER, dry_run=False)
