# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads what a Vault is configured like, and does the steps of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._cluster_issuer import cluster_issuer
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._vault_api import Json, Place, Vault, missing, session
from ansible_collections.dcm.platform.plugins.module_utils._vault_plan import (
    State,
    Step,
    check,
    collection_path,
    collections,
    plan,
    resources,
)

ROOT = "root"  # how a mount calls its own authority


def converge(place: Place, tree: Mapping[str, Any], prune: list[str], fingerprints: str, dry: bool) -> list[Step]:
    """Make the configuration as wanted; returns what was done, or would be. ``fingerprints`` is mount/path in a key-value store."""
    check(tree)
    if dry and missing(place):
        return plan(tree, State(), [])
    tree = _with_cluster_keys(place, tree)
    with session(place) as vault:
        steps = plan(tree, read_state(vault, tree, prune, fingerprints), prune)
        # Policies may name the accessor of an auth method, which is known when the method is there.
        methods = [step for step in steps if step.label.startswith("sys/auth/") and step.action == "created"]
        if methods and not dry:
            for step in methods:
                apply(vault, step)
            steps = plan(tree, read_state(vault, tree, prune, fingerprints), prune)
        if not dry:
            for step in steps:
                apply(vault, step)
            remember(vault, fingerprints, {key: mark for step in steps for key, mark in step.fingerprints.items()})
    return [*(step for step in methods if not dry), *steps]


def _with_cluster_keys(place: Place, tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """A JWT method with from_cluster checks tokens with what the API server publishes now."""
    methods = dict(tree.get("auth") or {})
    for name, entry in methods.items():
        if (entry.get("config") or {}).get("from_cluster"):
            issuer = cluster_issuer(place.kube())
            config = {key: value for key, value in entry["config"].items() if key != "from_cluster"}
            methods[name] = {**entry, "config": {**config, "jwt_validation_pubkeys": issuer.keys, "bound_issuer": issuer.url}}
    return {**tree, "auth": methods}


def read_state(vault: Vault, tree: Mapping[str, Any], prune: list[str], fingerprints: str) -> State:
    """All that the plan asks about."""
    mounts, auth = _table(vault, "sys/mounts"), _table(vault, "sys/auth")
    names = list(tree.get("policies") or ())
    if "policies" in prune:
        names = sorted({*names, *vault.list("sys/policies/acl")})
    policies = {name: vault.read(f"sys/policies/acl/{name}") for name in names}
    wanted = resources(tree)
    lists = [collection_path(kind, mount) for kind, mount, _names in collections(tree, prune)]
    return State(
        mounts=mounts,
        auth=auth,
        audit=_table(vault, "sys/audit"),
        policies={name: str(found.get("policy")) for name, found in policies.items() if found},
        fields={resource.path: vault.read(resource.path) for resource in wanted if _mounted(resource.path, mounts, auth)},
        names={path: [name for name in vault.list(path) if not name.endswith("/")] for path in lists if _mounted(path, mounts, auth)},
        issuers={
            name: _issuers(vault, name) for name, entry in (tree.get("mounts") or {}).items() if entry["type"] == "pki" and name in mounts
        },
        fingerprints=_recall(vault, fingerprints, mounts),
    )


def _table(vault: Vault, path: str) -> dict[str, Json]:
    return {name.rstrip("/"): entry for name, entry in (vault.read(path) or {}).items() if isinstance(entry, dict)}


def _mounted(path: str, mounts: Mapping[str, Json], auth: Mapping[str, Json]) -> bool:
    """Asking below a mount that is not there is refused, not answered with nothing."""
    place, there = (path.removeprefix("auth/"), auth) if path.startswith("auth/") else (path, mounts)
    return any(place.startswith(f"{name}/") for name in there)


def _issuers(vault: Vault, mount: str) -> list[str]:
    answer = (vault.request("list", f"{mount}/issuers") or {}).get("data") or {}
    return [str(entry.get("issuer_name") or "") for entry in (answer.get("key_info") or {}).values()]


def _recall(vault: Vault, place: str, mounts: Mapping[str, Json]) -> dict[str, str]:
    mount, _slash, path = place.partition("/")
    found = vault.read(f"{mount}/data/{path}") if mount in mounts else None
    return dict((found or {}).get("data") or {})


def remember(vault: Vault, place: str, marks: Mapping[str, str]) -> None:
    """Add fingerprints to those that are kept."""
    if not marks:
        return
    mount, _slash, path = place.partition("/")
    mounts = _table(vault, "sys/mounts")
    if mount not in mounts or not path:
        raise PlatformError(
            f"fingerprints is {place!r}, but there is no mount {mount!r} (kv, version 2) to keep them in; name one of config.mounts"
        )
    vault.write(f"{mount}/data/{path}", {"data": {**_recall(vault, place, mounts), **marks}})


def apply(vault: Vault, step: Step) -> None:
    """Do one step."""
    for method, path, body in step.requests:
        vault.request(method, path, body or None)
    if step.issuer:
        _make_issuer(vault, step.issuer)


def _make_issuer(vault: Vault, issuer: Json) -> None:
    """A root, or an authority that another mount signs; its key never leaves Vault. It becomes the one that signs from now on."""
    mount, signer, name = issuer["mount"], issuer.get("signed_by"), issuer["issuer_name"]
    request = {key: value for key, value in issuer.items() if key not in ("mount", "signed_by")}
    if not signer:
        made = vault.write(f"{mount}/{ROOT}/generate/internal", request)["data"]["issuer_id"]
    else:
        request.pop("issuer_name")
        csr = vault.write(f"{mount}/intermediate/generate/internal", request)["data"]["csr"]
        wish = {"csr": csr, "common_name": issuer["common_name"], "ttl": issuer.get("ttl", ""), "format": "pem", "use_csr_values": False}
        signed = vault.write(f"{signer}/{ROOT}/sign-intermediate", wish)["data"]
        chain = "\n".join([signed["certificate"], *(signed.get("ca_chain") or [signed["issuing_ca"]])])
        imported = vault.write(f"{mount}/intermediate/set-signed", {"certificate": chain})["data"]
        made = next(entry for entry in imported["imported_issuers"] if imported["mapping"].get(entry))
        vault.write(f"{mount}/issuer/{made}", {"issuer_name": name, "leaf_not_after_behavior": "truncate"})
    vault.write(f"{mount}/config/issuers", {"default": made})
