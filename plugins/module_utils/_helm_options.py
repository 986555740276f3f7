# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of ``helm_release`` and how they become releases. Names are those of kubernetes.core.helm where it has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._helm_plan import WAIT_STRATEGIES, Release, parse_digest, parse_duration
from ansible_collections.dcm.platform.plugins.module_utils._helm_values import load_yaml, merge_layers, plain, value_layers

Spec = dict[str, dict[str, Any]]

# What one release is. Defaults stand in Release alone; an entry of `releases` takes the task's own option where it names none.
RELEASE_OPTIONS: Spec = {
    "release_name": {"type": "str", "aliases": ["name"]},
    "release_namespace": {"type": "str", "aliases": ["namespace"]},
    "release_state": {"type": "str", "choices": ["present", "absent"], "aliases": ["state"]},
    "chart_ref": {"type": "str"},
    "chart_version": {"type": "str"},
    "chart_repo_url": {"type": "str"},
    "chart_digest": {"type": "str"},
    "release_values": {"type": "raw", "aliases": ["values"]},
    "values_files": {"type": "list", "elements": "str"},
    "create_namespace": {"type": "bool"},
    "wait": {"type": "bool"},
    "wait_strategy": {"type": "str", "choices": list(WAIT_STRATEGIES)},
    "wait_for_jobs": {"type": "bool"},
    "timeout": {"type": "str"},
    "atomic": {"type": "bool"},
    "cleanup_on_fail": {"type": "bool"},
    "crds": {"type": "str", "choices": ["apply", "helm", "skip"]},
    "skip_crds": {"type": "bool"},
    "disable_hook": {"type": "bool"},
    "drift": {"type": "bool"},
    "force": {"type": "bool"},
    "force_conflicts": {"type": "bool"},
    "server_side": {"type": "str", "choices": ["auto", "true", "false"]},
    "history_max": {"type": "int"},
    "insecure_skip_tls_verify": {"type": "bool", "aliases": ["skip_tls_certs_check"]},
    "keep_crds": {"type": "bool"},
    "keep_pvcs": {"type": "bool"},
    "lock_timeout": {"type": "str"},
    "plain_http": {"type": "bool"},
    "post_renderer": {"type": "str"},
    "retries": {"type": "int"},
    "skip_schema_validation": {"type": "bool"},
    "take_ownership": {"type": "bool"},
    "depends_on": {"type": "list", "elements": "str"},
}

RUN_OPTIONS: Spec = {
    "releases": {"type": "list", "elements": "dict", "options": RELEASE_OPTIONS},
    "parallel": {"type": "int", "default": 4},
    "binary_path": {"type": "path", "default": "helm"},
    "kubeconfig": {"type": "path", "aliases": ["kubeconfig_path"]},
    "context": {"type": "str", "aliases": ["kube_context"]},
    "chart_cache": {"type": "path", "default": "~/.cache/dcm-platform/charts"},
}

ARGUMENT_SPEC: Spec = {**RELEASE_OPTIONS, **RUN_OPTIONS}
_OF_ONE = ("release_name", "release_values", "values_files", "chart_ref", "chart_digest", "chart_version", "depends_on")
_RENAMED = {"release_name": "name", "release_namespace": "namespace", "release_state": "state"}

ReadFile = Callable[[str], bytes]


def build_releases(options: Mapping[str, Any], read_file: ReadFile, find_chart: Callable[[str, bool], str]) -> list[Release]:
    """The releases that validated options ask for."""
    if int(options.get("parallel") or 0) < 1 and "parallel" in options:
        raise PlatformError(f"parallel: {options['parallel']} is not a number of releases to work on at once. Write 1 or more.")
    entries: list[Mapping[str, Any]] | None = options.get("releases")
    if entries is None:
        return [_build(_given(options), "", read_file, find_chart)]
    single = [name for name in _OF_ONE if options.get(name) is not None]
    if single:
        raise PlatformError(f"{', '.join(single)} and releases exclude each other. Move {single[0]} into the entries of releases.")
    shared = _given(options)
    return [_build({**shared, **_given(entry)}, f"releases[{index}].", read_file, find_chart) for index, entry in enumerate(entries)]


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in RELEASE_OPTIONS if options.get(name) is not None}


def _build(given: dict[str, Any], where: str, read_file: ReadFile, find_chart: Callable[[str, bool], str]) -> Release:
    for name in ("release_name", "release_namespace"):
        if not given.get(name):
            raise PlatformError(f"{where}{name} is required.")
    layers = [_read_values(path, f"{where}values_files", read_file) for path in given.pop("values_files", [])]
    layers += value_layers(given.pop("release_values", []), f"{where}release_values")
    fields: dict[str, Any] = {_RENAMED.get(name, name): plain(value) for name, value in given.items()}
    if fields.pop("skip_crds", False):
        fields["crds"] = "skip"
    for name in ("timeout", "lock_timeout"):
        if name in fields:
            fields[name] = parse_duration(fields[name], f"{where}{name}")
    fields["chart_digest"] = parse_digest(fields.get("chart_digest", ""), f"{where}chart_digest")
    fields["depends_on"] = tuple(fields.get("depends_on", ()))
    if fields.get("state", "present") == "present" and fields.get("chart_ref"):
        fields["chart_ref"] = find_chart(fields["chart_ref"], bool(fields.get("chart_repo_url")))
    return Release(**fields, values=merge_layers(layers))


def _read_values(path: str, where: str, read_file: ReadFile) -> dict[str, Any]:
    documents = load_yaml(read_file(path)) or [{}]
    if len(documents) > 1 or not isinstance(documents[0], dict):
        raise PlatformError(f"{where}: {path} does not hold one YAML mapping.")
    values: dict[str, Any] = plain(documents[0])
    return values


def release_defaults() -> dict[str, Any]:
    """The defaults of the release options, for the documentation and its test."""
    names = {new: old for old, new in _RENAMED.items()}
    return {
        names.get(item.name, item.name): item.default for item in dataclasses.fields(Release) if item.default is not dataclasses.MISSING
    }
