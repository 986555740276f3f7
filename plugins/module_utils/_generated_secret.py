# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kubernetes Secrets with generated keys: what is wanted, what is there, and what has to be written. Pure; no value ever leaves a plan."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

CHARSETS = {
    "alphanumeric": string.ascii_letters + string.digits,
    "hex": string.digits + "abcdef",
    "urlsafe": string.ascii_letters + string.digits + "-_",
}
SHORTEST, LONGEST = 16, 1024
LABELS = {"app.kubernetes.io/managed-by": "dcm-platform", "app.kubernetes.io/part-of": "dcm"}


class Ref(NamedTuple):
    """Where a Secret is."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class KeySpec:
    """How a value is generated."""

    length: int = 32
    charset: str = "alphanumeric"

    def generate(self) -> bytes:
        letters = CHARSETS[self.charset]
        return "".join(secrets.choice(letters) for _ in range(self.length)).encode()


@dataclass(frozen=True)
class Copy:
    """Keys of a Secret that another one must have too, under names of its own."""

    target: Ref
    keys: Mapping[str, str]


@dataclass(frozen=True)
class Wanted:
    """One Secret as it should be: keys to generate where they are missing, values to hold, copies to keep equal."""

    ref: Ref
    keys: Mapping[str, KeySpec] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    copies: tuple[Copy, ...] = ()
    required: tuple[str, ...] = ()
    adopt: Ref | None = None


@dataclass
class Change:
    """What one Secret still needs; `values` are for the API server alone."""

    ref: Ref
    exists: bool
    values: dict[str, bytes] = field(default_factory=dict, repr=False)
    reasons: dict[str, str] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)

    def describe(self) -> dict[str, Any]:
        return {"namespace": self.ref.namespace, "name": self.ref.name, "created": not self.exists, "written": dict(self.reasons)}


Found = Mapping[Ref, Mapping[str, bytes] | None]


def parse(entries: list[dict[str, Any]]) -> list[Wanted]:
    """The module's option as wanted Secrets; an error names the entry."""
    found = [_parse_one(entry) for entry in entries]
    claims: dict[tuple[Ref, str], str] = {}
    for wanted in found:
        own = [(wanted.ref, key, f"secret {wanted.ref}") for key in (*wanted.keys, *wanted.values)]
        copied = [(copy.target, key, f"a copy of {wanted.ref}") for copy in wanted.copies for key in copy.keys]
        for ref, key, claim in own + copied:
            if (ref, key) in claims:
                raise PlatformError(f"key {key} of Secret {ref} is set twice, by {claims[ref, key]} and by {claim}: leave one of them")
            claims[ref, key] = claim
    return found


def _parse_one(entry: dict[str, Any]) -> Wanted:
    ref = Ref(entry["namespace"], entry["name"])
    keys = {name: _key_spec(ref, name, spec) for name, spec in (entry.get("keys") or {}).items()}
    values = {**(entry.get("public_values") or {}), **(entry.get("secret_values") or {})}
    for name, value in values.items():
        if not isinstance(value, str) or not value:
            raise PlatformError(f"key {name} of Secret {ref} is given a value that is no text, or empty: quote it, or leave the key out")
    copies = tuple(Copy(Ref(copy["namespace"], copy["name"]), dict(copy["keys"])) for copy in entry.get("copies") or [])
    return Wanted(ref, keys, values, copies, tuple(entry.get("required_keys") or ()), _adopted(ref, entry.get("adopt") or ""))


def _adopted(ref: Ref, text: str) -> Ref | None:
    namespace, _slash, name = text.partition("/")
    if text and not (namespace and name):
        raise PlatformError(f"Secret {ref} adopts keys of {text!r}, which is not of the form namespace/name")
    old = Ref(namespace, name)
    return old if text and old != ref else None


def _key_spec(ref: Ref, name: str, spec: Any) -> KeySpec:
    where = f"key {name} of Secret {ref}"
    if not isinstance(spec, dict) or set(spec) - {"length", "charset"}:
        raise PlatformError(f"{where} is described by {spec!r}; it takes length and charset, as in {{length: 32, charset: alphanumeric}}")
    made = KeySpec(**spec)
    if made.charset not in CHARSETS:
        raise PlatformError(f"{where}: there is no charset {made.charset!r}; use one of {', '.join(CHARSETS)}")
    if not isinstance(made.length, int) or isinstance(made.length, bool) or not SHORTEST <= made.length <= LONGEST:
        raise PlatformError(f"{where}: length {made.length!r} is not a number from {SHORTEST} to {LONGEST}")
    return made


def for_an_empty_cluster(wanted: list[Wanted]) -> list[Wanted]:
    """What can be foretold where there is no cluster yet: nothing about keys that somebody else will put there."""
    found = []
    for entry in wanted:
        own = {*entry.keys, *entry.values}
        copies = [replace(copy, keys={key: source for key, source in copy.keys.items() if source in own}) for copy in entry.copies]
        found.append(replace(entry, required=(), copies=tuple(copies)))
    return found


def references(wanted: list[Wanted]) -> list[Ref]:
    """Every Secret that has to be looked at."""
    others = [copy.target for entry in wanted for copy in entry.copies] + [entry.adopt for entry in wanted if entry.adopt]
    return list(dict.fromkeys([entry.ref for entry in wanted] + others))


def plan(wanted: list[Wanted], found: Found, rotate: list[str], generate: Callable[[KeySpec], bytes] = KeySpec.generate) -> list[Change]:
    """What has to be written so that all is as wanted. `rotate` names Secrets (namespace/name) or keys of them (namespace/name/key)."""
    changes: dict[Ref, Change] = {}

    def write(ref: Ref, key: str, value: bytes, reason: str) -> None:
        change = changes.setdefault(ref, Change(ref, found[ref] is not None))
        change.values[key], change.reasons[key] = value, reason
        change.replaced |= {key} & set(found[ref] or {})

    _check_rotation(wanted, rotate)
    for entry in wanted:
        there = found[entry.ref] or {}
        for key in entry.keys:
            again = bool({str(entry.ref), f"{entry.ref}/{key}"} & set(rotate))
            if key not in there or again:
                write(entry.ref, key, *_value(entry, key, found, generate, there=key in there))
        for key, value in entry.values.items():
            if there.get(key) != value.encode():
                write(entry.ref, key, value.encode(), "set to the given value")
    for entry in wanted:
        future = {**(found[entry.ref] or {}), **(changes[entry.ref].values if entry.ref in changes else {})}
        if missing := [key for key in entry.required if key not in future]:
            raise PlatformError(f"Secret {entry.ref} has no key {', '.join(missing)}: put it there, it cannot be generated")
        for copy in entry.copies:
            _copy(entry, copy, future, found, write)
    return list(changes.values())


def _value(entry: Wanted, key: str, found: Found, generate: Callable[[KeySpec], bytes], *, there: bool) -> tuple[bytes, str]:
    """A value for a key, and where it comes from: the Secret that this one takes the place of, or chance."""
    old = (found[entry.adopt] or {}) if entry.adopt and not there else {}
    if key in old:
        return old[key], f"taken over from {entry.adopt}"
    spec = entry.keys[key]
    return generate(spec), "rotated" if there else f"generated ({spec.length} characters, {spec.charset})"


def _copy(entry: Wanted, copy: Copy, future: Mapping[str, bytes], found: Found, write: Callable[[Ref, str, bytes, str], None]) -> None:
    there = found[copy.target] or {}
    for key, source in copy.keys.items():
        if source not in future:
            raise PlatformError(
                f"Secret {entry.ref} has no key {source}, which {copy.target} is to have as {key}: create it, or let it be generated (keys)"
            )
        if there.get(key) != future[source]:
            write(copy.target, key, future[source], f"copied from {entry.ref}, key {source}")


def _check_rotation(wanted: list[Wanted], rotate: list[str]) -> None:
    known = {str(entry.ref) for entry in wanted if entry.keys} | {f"{entry.ref}/{key}" for entry in wanted for key in entry.keys}
    if unknown := sorted(set(rotate) - known):
        known_names = ", ".join(sorted(known)) or "there are none"
        raise PlatformError(f"rotate names {', '.join(unknown)}, but only generated keys can be rotated: {known_names}")


def still_to_rotate(rotate: list[str], done: list[Change]) -> list[str]:
    """What is left of `rotate` after these changes were written."""
    written = tuple(f"{change.ref}/" for change in done)
    return [name for name in rotate if not f"{name}/".startswith(written)]


def describe_diff(changes: list[Change]) -> dict[str, str]:
    """Before and after for --diff: keys and what happens to them, no values."""
    lines = [(change, key) for change in sorted(changes, key=lambda change: change.ref) for key in sorted(change.reasons)]
    return {
        "before": "".join(f"{change.ref} {key}: {'present' if key in change.replaced else 'absent'}\n" for change, key in lines),
        "after": "".join(f"{change.ref} {key}: {change.reasons[key]}\n" for change, key in lines),
    }
