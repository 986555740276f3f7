# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The configuration of Vault or OpenBao: what is wanted, what is there, and the requests that lead from one to the other. Pure.

Everything is a resource: a path with fields. A table says where each kind of engine keeps what; mounts, policies and audit devices
are read and written at places of their own. Secrets cannot be read back, so they are compared by fingerprints, and never shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._vault_compare import HIDDEN, Fingerprints, difference, fingerprint, matches

Json = dict[str, Any]
Request = tuple[str, str, Json]

PRUNABLE = ("audit", "auth", "entities", "mounts", "policies", "roles")
OWN_POLICIES = ("default", "root", "response-wrapping", "dcm-admin")
SYSTEM_MOUNTS = ("cubbyhole", "identity", "system", "ns_cubbyhole", "ns_identity", "ns_system")
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_./-]*[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True)
class Kind:
    """Where an engine keeps one sort of thing. Without {name} in its path there is one such thing per mount."""

    section: str
    path: str
    secret: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()  # decided when it is made
    unread: frozenset[str] = frozenset()  # taken, but not told again
    tuned: str = ""  # where fields that are not fixed are changed, when that is another place

    @property
    def single(self) -> bool:
        return "{name}" not in self.path


def _kind(section: str, path: str, tuned: str = "", **fields: list[str]) -> Kind:
    return Kind(section, path, tuned=tuned, **{name: frozenset(value) for name, value in fields.items()})


_LOGIN = (
    _kind("config", "auth/{mount}/config", secret=["oidc_client_secret", "token_reviewer_jwt"]),
    _kind("roles", "auth/{mount}/role/{name}"),
)
ENGINES: Mapping[str, Mapping[str, tuple[Kind, ...]]] = {
    "mounts": {
        "kv": (_kind("settings", "{mount}/config"),),
        "transit": (
            _kind("keys", "{mount}/keys/{name}", tuned="{mount}/keys/{name}/config", fixed=["type", "derived", "convergent_encryption"]),
        ),
        "pki": (
            _kind("urls", "{mount}/config/urls"),
            _kind("crl", "{mount}/config/crl"),
            _kind("roles", "{mount}/roles/{name}"),
        ),
        "database": (
            _kind("connections", "{mount}/config/{name}", secret=["password"], unread=["verify_connection"]),
            _kind("roles", "{mount}/roles/{name}"),
            _kind("static_roles", "{mount}/static-roles/{name}", fixed=["username", "db_name"], unread=["skip_import_rotation"]),
        ),
        "ssh": (_kind("roles", "{mount}/roles/{name}"),),
    },
    "auth": {
        "jwt": _LOGIN,
        "oidc": _LOGIN,
        "kubernetes": _LOGIN,
        "approle": (_kind("roles", "auth/{mount}/role/{name}"),),
        "userpass": (_kind("users", "auth/{mount}/users/{name}", secret=["password"]),),
    },
}
MOUNT_FIELDS = ("type", "description", "options", "tune", "local", "seal_wrap")
ENTITY = _kind("entities", "identity/entity/name/{name}")


@dataclass(frozen=True)
class Resource:
    """One thing as it should be."""

    label: str
    kind: Kind
    path: str
    wanted: Json = field(repr=False)
    tuned: str = ""


@dataclass(frozen=True)
class Step:
    """One change: its requests are for Vault alone, the rest may be shown."""

    label: str
    action: str
    requests: tuple[Request, ...] = field(repr=False, default=())
    before: Json = field(default_factory=dict)
    after: Json = field(default_factory=dict)
    fingerprints: Json = field(repr=False, default_factory=dict)
    issuer: Json = field(default_factory=dict)  # a certificate authority is made in several steps; see _vault_config

    def describe(self) -> Json:
        return {"what": self.label, "action": self.action, "fields": sorted({*self.before, *self.after})}


@dataclass
class State:
    """What was found: mounts and auth methods by path, the text of policies, audit devices, fields by path, names by collection."""

    mounts: Mapping[str, Json] = field(default_factory=dict)
    auth: Mapping[str, Json] = field(default_factory=dict)
    audit: Mapping[str, Json] = field(default_factory=dict)
    policies: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Json | None] = field(default_factory=dict)
    names: Mapping[str, list[str]] = field(default_factory=dict)
    issuers: Mapping[str, list[str]] = field(default_factory=dict)
    fingerprints: Fingerprints = field(default_factory=dict)


# -- what is wanted ---------------------------------------------------------------------------------------------------------


def check(tree: Mapping[str, Any]) -> None:
    """Mistakes in the wanted tree, with the place where they are."""
    known = {"mounts", "auth", "policies", "audit", "entities"}
    if unknown := sorted(set(tree) - known):
        raise PlatformError(f"config has {', '.join(unknown)}; it may have {', '.join(sorted(known))}")
    for group, entries in tree.items():
        for name, entry in (entries or {}).items():
            if not NAME.fullmatch(name):
                raise PlatformError(f"config.{group}: {name!r} is no name that a path can have; no slash at its ends")
            if group in ENGINES:
                _check_mount(group, name, entry)


def _check_mount(group: str, name: str, entry: Any) -> None:
    place = f"config.{group}.{name}"
    if not isinstance(entry, Mapping) or not entry.get("type"):
        raise PlatformError(f"{place} names no type, as in {{type: kv}}")
    sections = {kind.section: kind for kind in ENGINES[group].get(entry["type"], ())}
    known = {*MOUNT_FIELDS, *sections, *(("issuer",) if entry["type"] == "pki" else ())}
    if unknown := sorted(set(entry) - known):
        raise PlatformError(f"{place} has {', '.join(unknown)}; with type {entry['type']} it may have {', '.join(sorted(known))}")
    for section in set(entry) & set(sections):
        values = [entry[section]] if sections[section].single else list((entry[section] or {}).values())
        if not all(isinstance(value, Mapping) for value in values):
            raise PlatformError(f"{place}.{section} holds something that is no set of fields, as in {{field: value}}")


def resources(tree: Mapping[str, Any]) -> list[Resource]:
    """Everything inside of mounts and auth methods, and the entities."""
    found: list[Resource] = []
    for group, engines in ENGINES.items():
        for mount, entry in (tree.get(group) or {}).items():
            for kind in engines.get(entry["type"], ()):
                section = entry.get(kind.section) or {}
                named = {"": section} if kind.single and section else section
                found += [_resource(kind, mount, name, wanted) for name, wanted in named.items()]
    return found + [_resource(ENTITY, "identity", name, wanted) for name, wanted in (tree.get("entities") or {}).items()]


def _resource(kind: Kind, mount: str, name: str, wanted: Mapping[str, Any]) -> Resource:
    path = kind.path.format(mount=mount, name=name)
    return Resource(
        path, kind, path, {key: value for key, value in wanted.items() if value is not None}, kind.tuned.format(mount=mount, name=name)
    )


def collections(tree: Mapping[str, Any], prune: list[str]) -> list[tuple[Kind, str, set[str]]]:
    """What to list for pruning: kind, mount, and the names that stay."""
    found: list[tuple[Kind, str, set[str]]] = []
    if "roles" in prune:
        for group, engines in ENGINES.items():
            for mount, entry in (tree.get(group) or {}).items():
                found += [(kind, mount, set(entry.get(kind.section) or ())) for kind in engines.get(entry["type"], ()) if not kind.single]
    return found + ([(ENTITY, "identity", set(tree.get("entities") or ()))] if "entities" in prune else [])


def collection_path(kind: Kind, mount: str) -> str:
    return kind.path.format(mount=mount, name="").rstrip("/")


def policy_text(policy: Any, auth: Mapping[str, Json]) -> str:
    """A policy as text: given so, or as {path: capabilities}. $(x) stands for a template, [mount] in it for that auth method's accessor."""
    if isinstance(policy, Mapping):
        rules = []
        for path, capabilities in policy.items():
            listed = ", ".join(f'"{capability}"' for capability in capabilities)
            rules.append(f'path "{path}" {{\n  capabilities = [{listed}]\n}}')
        policy = "\n".join(rules)

    def accessor(found: re.Match[str]) -> str:
        return str((auth.get(found[1]) or {}).get("accessor") or f"accessor_of_{found[1]}")

    return re.sub(r"\$\(([^)]*)\)", lambda found: "{{" + re.sub(r"\[([\w/-]+)\]", accessor, found[1]) + "}}", str(policy)).strip()


# -- what has to be done ----------------------------------------------------------------------------------------------------


def plan(tree: Mapping[str, Any], state: State, prune: list[str]) -> list[Step]:
    """The steps in their order: engines, then what is in them, then policies and audit devices, then what is not wanted any more."""
    return [
        *_mounts("sys/mounts", tree.get("mounts") or {}, state.mounts),
        *_mounts("sys/auth", tree.get("auth") or {}, state.auth),
        *_issuers(tree.get("mounts") or {}, state),
        *_policies(tree.get("policies") or {}, state),
        *(step for resource in resources(tree) for step in _resource_steps(resource, state)),
        *_audit(tree.get("audit") or {}, state),
        *_prune(tree, state, prune),
    ]


def _mounts(place: str, wanted: Mapping[str, Json], found: Mapping[str, Json]) -> Iterator[Step]:
    for name, entry in wanted.items():
        fields = {"config" if key == "tune" else key: entry[key] for key in MOUNT_FIELDS if entry.get(key) is not None}
        label, there = f"{place}/{name}", found.get(name)
        if there is None:
            yield Step(label, "created", (("post", label, fields),), {}, fields)
            continue
        for key in {"type", "local", "seal_wrap"} & set(fields):
            if (there.get(key) or False) != (fields[key] or False):
                raise PlatformError(f"{label} has {key} {there.get(key)}, not {fields[key]}: that cannot be changed. Use another path")
        config = fields.get("config") or {}
        texts = {key: fields[key] for key in {"description", "options"} & set(fields)}
        changes = difference(texts, there) | difference(config, there.get("config"))
        if changes:
            yield Step(label, "updated", (("post", f"{label}/tune", {**config, **texts}),), *_sides(changes))


def _sides(changes: Mapping[str, tuple[Any, Any]]) -> tuple[Json, Json]:
    return {key: before for key, (before, _after) in changes.items()}, {key: after for key, (_before, after) in changes.items()}


def _issuers(mounts: Mapping[str, Json], state: State) -> Iterator[Step]:
    # A root goes before the authorities that it signs.
    for name, entry in sorted(mounts.items(), key=lambda item: bool((item[1].get("issuer") or {}).get("signed_by"))):
        issuer = entry.get("issuer")
        if not issuer:
            continue
        if not issuer.get("issuer_name") or not issuer.get("common_name"):
            raise PlatformError(f"config.mounts.{name}.issuer needs issuer_name and common_name")
        if issuer.get("signed_by") and issuer["signed_by"] not in {*mounts, *state.mounts}:
            raise PlatformError(f"config.mounts.{name}.issuer is signed_by {issuer['signed_by']}, which is no mount")
        if issuer["issuer_name"] not in state.issuers.get(name, []):
            yield Step(f"{name}/issuer/{issuer['issuer_name']}", "created", (), {}, dict(issuer), issuer={"mount": name, **issuer})


def _policies(wanted: Mapping[str, Any], state: State) -> Iterator[Step]:
    for name, policy in wanted.items():
        text, found = policy_text(policy, state.auth), state.policies.get(name)
        if found is None or found.strip() != text:
            request = ("post", f"sys/policies/acl/{name}", {"policy": text})
            yield Step(
                f"policy {name}",
                "created" if found is None else "updated",
                (request,),
                {"policy": found} if found else {},
                {"policy": text},
            )


def _resource_steps(resource: Resource, state: State) -> Iterator[Step]:
    kind, found = resource.kind, state.fields.get(resource.path)
    flat = None if found is None else {**found, **(found.get("connection_details") or {})}
    secret = {key: str(resource.wanted[key]) for key in sorted(kind.secret & set(resource.wanted))}
    plain = {key: value for key, value in resource.wanted.items() if key not in secret}
    new = {
        f"{resource.path}#{key}": value
        for key, value in secret.items()
        if not matches(value, state.fingerprints.get(f"{resource.path}#{key}"))
    }
    marks = {
        key: fingerprint(value)
        for key, value in (new if flat is not None else {f"{resource.path}#{k}": v for k, v in secret.items()}).items()
    }
    hidden = {key: HIDDEN for key in secret if flat is None or f"{resource.path}#{key}" in new}
    if flat is None:
        yield Step(resource.label, "created", tuple(_requests(resource, resource.wanted, True)), {}, plain | hidden, marks)
        return
    changes = difference({key: value for key, value in plain.items() if key not in kind.unread}, flat)
    if fixed := sorted(set(changes) & kind.fixed):
        before, after = changes[fixed[0]]
        raise PlatformError(f"{resource.label} has {fixed[0]} {before!r}, not {after!r}: that cannot be changed. Make a new one beside it")
    if changes or hidden:
        before, after = _sides(changes)
        yield Step(resource.label, "updated", tuple(_requests(resource, resource.wanted, False)), before, after | hidden, marks)


def _requests(resource: Resource, fields: Json, create: bool) -> Iterator[Request]:
    if not resource.tuned:
        yield "post", resource.path, fields
        return
    # Fields that the first request does not know are ignored there, and set by the second one.
    if create:
        yield "post", resource.path, fields
    if tuned := {key: value for key, value in fields.items() if key not in resource.kind.fixed}:
        yield "post", resource.tuned, tuned


def _audit(wanted: Mapping[str, Json], state: State) -> Iterator[Step]:
    for name, entry in wanted.items():
        path, found = f"sys/audit/{name}", state.audit.get(name)
        changes = (
            {} if found is None else difference({key: entry[key] for key in ("type", "description", "options") if key in entry}, found)
        )
        if found is None:
            yield Step(path, "created", (("post", path, entry),), {}, entry)
        elif changes:
            yield Step(path, "replaced", (("delete", path, {}), ("post", path, entry)), *_sides(changes))


def _prune(tree: Mapping[str, Any], state: State, prune: list[str]) -> Iterator[Step]:
    def removed(path: str, label: str = "") -> Step:
        return Step(label or path, "removed", (("delete", path, {}),), {"present": True}, {})

    for kind, mount, names in collections(tree, prune):
        here = collection_path(kind, mount)
        yield from (
            removed(kind.path.format(mount=mount, name=name))
            for name in state.names.get(here, [])
            if name not in names and name not in OWN_POLICIES
        )
    if "policies" in prune:
        unwanted = [name for name in state.policies if name not in (tree.get("policies") or {}) and name not in OWN_POLICIES]
        yield from (removed(f"sys/policies/acl/{name}", f"policy {name}") for name in unwanted)
    for group, place in (("audit", "sys/audit"), ("auth", "sys/auth"), ("mounts", "sys/mounts")):
        there: Mapping[str, Json] = getattr(state, group)
        if group in prune:
            unwanted = [
                name
                for name, entry in there.items()
                if name not in (tree.get(group) or {}) and entry.get("type") not in (*SYSTEM_MOUNTS, "token")
            ]
            yield from (removed(f"{place}/{name}") for name in unwanted)
