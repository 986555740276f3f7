# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets in Vault's key-value store (version 2): generated where they are missing, or equal to what is given or in a Secret."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._generated_secret import KeySpec
from ansible_collections.dcm.platform.plugins.module_utils._vault_api import Place, Vault, VaultError, missing, session

Json = dict[str, Any]
ATTEMPTS = 5


@dataclass(frozen=True)
class Wanted:
    """One secret: its path below the mount, and how each of its fields comes about."""

    path: str
    generate: Mapping[str, KeySpec] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    required: tuple[str, ...] = ()
    adopt: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Change:
    """What one secret still needs; ``data`` is for Vault alone."""

    path: str
    reasons: Mapping[str, str]
    data: Mapping[str, str] = field(repr=False, default_factory=dict)

    def describe(self) -> Json:
        return {"path": self.path, "written": dict(self.reasons)}


def plan(wanted: Wanted, found: Mapping[str, str] | None) -> Change | None:
    """None where all is as wanted. Fields that nobody speaks of stay."""
    there, reasons, data = found or {}, {}, dict(found or {})
    for name, spec in wanted.generate.items():
        if name not in there and name not in wanted.adopt:
            data[name], reasons[name] = spec.generate().decode(), f"generated ({spec.length} characters, {spec.charset})"
    for name, value in wanted.adopt.items():
        if name not in there:
            data[name], reasons[name] = value, "taken over from its Secret"
    for name, value in wanted.values.items():
        if there.get(name) != value:
            data[name], reasons[name] = value, "set to the given value"
    if missing := [name for name in wanted.required if name not in data]:
        raise PlatformError(f"the secret {wanted.path} has no field {', '.join(missing)}: put it there, it cannot be generated")
    return Change(wanted.path, reasons, data) if reasons else None


def parse(place: Place, entries: Sequence[Mapping[str, Any]], dry: bool) -> list[Wanted]:
    """The module's option, with the values that are in Kubernetes Secrets. Check mode knows of Secrets that earlier tasks would make."""
    found = []
    for entry in entries:
        values = dict(entry.get("values") or {})
        for name, source in (entry.get("from_secrets") or {}).items():
            values[name] = _from_cluster(place, str(source), dry)
        old = {name: _from_cluster(place, str(source), True) for name, source in (entry.get("adopt") or {}).items()}
        generate = {name: KeySpec(**(spec or {})) for name, spec in (entry.get("generate") or {}).items()}
        found.append(
            Wanted(
                entry["path"], generate, values, tuple(entry.get("required") or ()), {name: value for name, value in old.items() if value}
            )
        )
    return found


def _from_cluster(place: Place, source: str, dry: bool) -> str:
    namespace, name, key = [*source.split("/"), "", ""][:3]
    data = ((place.kube().get(f"/api/v1/namespaces/{namespace}/secrets/{name}") or {}).get("data")) or {}
    if key not in data and dry:
        return ""
    if key not in data:
        raise PlatformError(
            f"from_secrets: there is no key {key!r} in Secret {namespace}/{name} (given: {source!r}, as namespace/name/key)"
        )
    return base64.b64decode(data[key]).decode()


def converge(place: Place, mount: str, entries: Sequence[Mapping[str, Any]], dry: bool) -> list[Change]:
    """Write what is missing or differs; somebody who writes at the same time is not overwritten."""
    if dry and missing(place):
        return [Change(entry["path"], {}) for entry in entries]
    wanted = parse(place, entries, dry)
    with session(place) as vault:
        return [change for entry in wanted if (change := _converge_one(vault, mount, entry, dry))]


def _converge_one(vault: Vault, mount: str, wanted: Wanted, dry: bool) -> Change | None:
    for _attempt in range(ATTEMPTS):
        found = vault.read(f"{mount}/data/{wanted.path}") or {}
        change = plan(wanted, found.get("data"))
        if change is None or dry:
            return change
        version = int((found.get("metadata") or {}).get("version") or 0)
        try:
            vault.write(f"{mount}/data/{wanted.path}", {"options": {"cas": version}, "data": dict(change.data)})
        except VaultError as error:
            if "check-and-set" not in str(error):
                raise
            continue
        return change
    raise PlatformError(f"the secret {mount}/{wanted.path} is written by somebody else all the time; find out by whom, then run again")


def read_field(place: Place, mount: str, path: str, name: str) -> str:
    """One field of one secret."""
    with session(place) as vault:
        data = (vault.read(f"{mount}/data/{path}") or {}).get("data") or {}
    if name not in data:
        raise PlatformError(f"Vault has no field {name} in {mount}/{path}")
    return str(data[name])
