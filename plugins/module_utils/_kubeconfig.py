# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A kubeconfig that stands alone: one context, nothing that lies in another file. Pure, but for reading the files that it names."""

from __future__ import annotations

import base64
import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

KINDS = ("clusters", "contexts", "users")
FILES = ("certificate-authority", "client-certificate", "client-key")


def merge(files: Mapping[str, Any]) -> dict[str, Any]:
    """Several kubeconfigs, by their paths, as kubectl merges them: what a name first stood for holds. Paths in them become absolute."""
    merged: dict[str, Any] = {kind: [] for kind in KINDS}
    for path, config in files.items():
        if not isinstance(config, Mapping):
            raise PlatformError(f"{path} is not a kubeconfig")
        merged["current-context"] = merged.get("current-context") or config.get("current-context") or ""
        for kind in KINDS:
            known = {entry["name"] for entry in merged[kind]}
            new = [entry for entry in config.get(kind) or [] if isinstance(entry, Mapping) and entry.get("name") not in known]
            merged[kind] += [_absolute(entry, kind[:-1], Path(path).parent) for entry in new]
    return merged


def _absolute(entry: Mapping[str, Any], part: str, folder: Path) -> dict[str, Any]:
    inner = entry.get(part) or {}
    return {**entry, part: {key: str(folder / value) if key in FILES and value else value for key, value in inner.items()}}


def minify(config: Mapping[str, Any], context: str, source: str) -> dict[str, Any]:
    """The context (the current one when empty) with its cluster and user alone, certificates inside."""
    chosen = _entry(config, "contexts", context or config["current-context"], source)
    name, found = chosen["name"], chosen["context"]
    cluster = _entry(config, "clusters", found.get("cluster", ""), source)
    user = _entry(config, "users", found.get("user", ""), source)
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{"name": name, "context": dict(found)}],
        "clusters": [{"name": cluster["name"], "cluster": _inline(cluster["cluster"])}],
        "users": [{"name": user["name"], "user": _inline(user["user"])}],
    }


def _entry(config: Mapping[str, Any], kind: str, name: str, source: str) -> Mapping[str, Any]:
    entries: list[Mapping[str, Any]] = config[kind]
    for entry in entries:
        if entry.get("name") == name:
            return entry
    there = ", ".join(str(entry.get("name")) for entry in entries) or "none"
    wanted = f"'{name}'" if name else "that is current"
    raise PlatformError(f"kubeconfig {source} has no {kind[:-1]} {wanted}; there are: {there}. Choose one with existing_cluster_context")


def _inline(part: Mapping[str, Any]) -> dict[str, Any]:
    """Files become data. A token file stays: it is renewed by somebody."""
    alone = copy.deepcopy(dict(part))
    for key in FILES:
        if key in alone:
            path = alone.pop(key)
            alone.setdefault(f"{key}-data", base64.b64encode(_read(path)).decode())
    return alone


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise PlatformError(f"the kubeconfig names the file {path}, which cannot be read: {error.strerror}") from error
