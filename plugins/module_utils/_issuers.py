# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Issuers of certificates as data, as the objects that cert-manager knows them by. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

Json = dict[str, Any]
API = "cert-manager.io/v1"
# What each kind takes, and which of it has to be given.
_OPTIONS: dict[str, tuple[set[str], set[str]]] = {
    "private_ca": ({"common_name", "duration", "renew_before"}, set()),
    "acme": ({"server", "email", "solvers", "eab"}, {"server", "email", "solvers"}),
    "vault": ({"server", "path", "auth_path", "role", "service_account", "audiences", "ca_secret"}, {"server", "path", "role"}),
}
_SOLVERS = ("http01", "dns01")
_LABELS = {"app.kubernetes.io/part-of": "dcm", "app.kubernetes.io/managed-by": "dcm-platform"}


def issuer_objects(issuers: Mapping[str, Mapping[str, Any]], namespace: str, controller: str = "cert-manager") -> list[Json]:
    """The objects of all issuers. `namespace` is cert-manager's, `controller` the service account of its controller there."""
    makers: dict[str, Callable[[str, Mapping[str, Any]], list[Json]]] = {
        "private_ca": lambda name, given: _private_ca(name, given, namespace),
        "acme": _acme,
        "vault": lambda name, given: _vault(name, given, namespace, controller),
    }
    found: list[Json] = []
    for name, given in issuers.items():
        _check(name, given)
        found += makers[given["kind"]](name, given)
    return found


def _check(name: str, given: Mapping[str, Any]) -> None:
    where = f"issuer {name}"
    kind = given.get("kind")
    if kind not in _OPTIONS:
        raise PlatformError(f"{where} has kind {kind!r}; it can be {', '.join(_OPTIONS)}")
    known, required = _OPTIONS[kind]
    if unknown := sorted(set(given) - known - {"kind"}):
        raise PlatformError(f"{where}: {', '.join(unknown)} is not known; kind {kind} takes {', '.join(sorted(known))}")
    if missing := sorted(option for option in required if not given.get(option)):
        raise PlatformError(f"{where}: kind {kind} needs {', '.join(missing)}; fill in cert_manager_issuers")
    for solver in given.get("solvers", []):
        if sum(option in solver for option in _SOLVERS) != 1:
            raise PlatformError(f"{where}: each solver has either {' or '.join(_SOLVERS)}; this one has {', '.join(solver) or 'nothing'}")


def _object(kind: str, name: str, spec: Json, namespace: str = "") -> Json:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name, "labels": dict(_LABELS), **place}, "spec": spec}


def _private_ca(name: str, given: Mapping[str, Any], namespace: str) -> list[Json]:
    """An authority that signs itself, and the issuer with its key. The key never leaves its Secret."""
    certificate = {
        "isCA": True,
        "commonName": given.get("common_name") or "DCM private CA",
        "secretName": name,
        "duration": given.get("duration") or "87600h0m0s",
        "renewBefore": given.get("renew_before") or "8760h0m0s",
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Never"},
        "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": f"{name}-root"},
    }
    return [
        _object("ClusterIssuer", f"{name}-root", {"selfSigned": {}}),
        _object("Certificate", name, certificate, namespace),
        _object("ClusterIssuer", name, {"ca": {"secretName": name}}),
    ]


def _acme(name: str, given: Mapping[str, Any]) -> list[Json]:
    # By classic Ingress where nothing else is said: cert-manager then needs nothing of the Gateway API.
    ours = {"ingress": {"ingressClassName": "traefik"}}
    solvers = [{**solver, "http01": solver["http01"] or ours} if "http01" in solver else dict(solver) for solver in given["solvers"]]
    spec: Json = {
        "server": given["server"],
        "email": given["email"],
        "privateKeySecretRef": {"name": f"{name}-account"},
        "solvers": solvers,
    }
    if given.get("eab"):
        spec["externalAccountBinding"] = dict(given["eab"])
    return [_object("ClusterIssuer", name, {"acme": spec})]


def _vault(name: str, given: Mapping[str, Any], namespace: str, controller: str) -> list[Json]:
    """Logged in as a service account, with a token that cert-manager asks for when it needs one."""
    account = given.get("service_account") or f"{name}-issuer"
    mount = given.get("auth_path") or "/v1/auth/kubernetes"
    login: Json = {"name": account}
    if given.get("audiences"):
        login["audiences"] = list(given["audiences"])
    spec: Json = {
        "server": given["server"],
        "path": given["path"],
        "auth": {"kubernetes": {"mountPath": mount, "role": given["role"], "serviceAccountRef": login}},
    }
    if given.get("ca_secret"):
        spec["caBundleSecretRef"] = dict(given["ca_secret"])
    metadata = {"name": account, "namespace": namespace, "labels": dict(_LABELS)}
    rules = [{"apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": [account], "verbs": ["create"]}]
    subject = {"kind": "ServiceAccount", "name": controller, "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": dict(metadata), "automountServiceAccountToken": False},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": dict(metadata), "rules": rules},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": dict(metadata),
            "roleRef": role,
            "subjects": [subject],
        },
        _object("ClusterIssuer", name, {"vault": spec}),
    ]
