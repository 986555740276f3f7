# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Values and manifests as data: layers merged like Helm does, objects compared, secrets masked. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

Values = dict[str, Any]

_SECRET_NAME = re.compile(
    r"(pass(word|wd|phrase)?|secret|token|credential|api_?-?key|access_?-?key|private_?-?key|encryption_?-?key|signing_?-?key|dsn)s?$",
    re.IGNORECASE,
)
_ASSIGNMENT = re.compile(r"^(\s*[\"']?([\w.-]+)[\"']?\s*[:=]\s*)(\S.*)$")
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)
_URL_PASSWORD = re.compile(r"(\w+://[^\s:/@]*:)([^\s@/]+)(@)")
_BOOKKEEPING = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink")


class _ManifestLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as Kubernetes reads it: no dates and no base-60 numbers, which would be sent back changed; a lone `=` is text."""


_ManifestLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rsplit(":", 1)[1] not in ("timestamp", "int", "float", "value")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_ManifestLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$"), list("-+0123456789")
)
_ManifestLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+][0-9]+)?$|^[-+]?\.(inf|Inf|INF)$"),
    list("-+0123456789."),
)


def load_yaml(text: str | bytes) -> list[Any]:
    """Every document of a YAML text."""
    return [document for document in yaml.load_all(text, Loader=_ManifestLoader) if document is not None]


def plain(value: Any, where: str = "values") -> Any:
    """The same data in the types of JSON alone, so that a digest of it does not depend on where it came from."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def merge_layers(layers: Iterable[Mapping[str, Any]]) -> Values:
    """Merge layers deep, once: a later layer wins, lists are replaced, a null stays so that Helm removes the chart's default."""
    merged: Values = {}
    for layer in layers:
        merged = _merge(merged, layer)
    return merged


def _merge(base: Values, over: Mapping[str, Any]) -> Values:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below if isinstance(below, dict) else {}, value) if isinstance(value, Mapping) else value
    return merged


def value_layers(values: Any, where: str) -> list[Values]:
    """The ``values`` option: one mapping, or a list of mappings."""
    layers = [values] if isinstance(values, Mapping) else values
    if isinstance(layers, str) or not isinstance(layers, Sequence):
        raise PlatformError(f"{where}: expected a dictionary or a list of dictionaries, found {type(plain(values)).__name__}.")
    for index, layer in enumerate(layers):
        if layer is not None and not isinstance(layer, Mapping):
            raise PlatformError(f"{where}[{index}]: expected a dictionary, found {type(plain(layer)).__name__}.")
    return [plain(layer, where) for layer in layers if layer]


def is_secret_name(name: str) -> bool:
    """Whether a value of this name is to be masked."""
    return bool(_SECRET_NAME.search(name))


# Below a secret's name these tell where it is kept, not what it is.
_REFERENCES = frozenset({"name", "namespace", "secretName", "existingSecret"})


class Masker:
    """Replaces secrets by a short keyed hash: a change is visible, the value is not, not even by guessing (the key is thrown away)."""

    def __init__(self, values: Iterable[Mapping[str, Any]] = (), key: bytes = b"") -> None:
        self._key = key or secrets.token_bytes(32)
        self._known: set[str] = set()
        for layer in values:
            self.learn(layer)

    def learn(self, values: Mapping[str, Any]) -> None:
        """Note the secrets of further values."""
        self._collect(values, secret=False)

    def _collect(self, value: Any, secret: bool) -> None:
        if isinstance(value, Mapping):
            for name, item in value.items():
                self._collect(item, (secret or is_secret_name(str(name))) and str(name) not in _REFERENCES)
        elif isinstance(value, (list, tuple)):
            for item in value:
                self._collect(item, secret)
        elif secret and isinstance(value, str) and len(value) >= 6:
            self._known.add(value)

    def token(self, value: Any) -> str:
        """What stands for a secret."""
        return f"(masked {hmac.new(self._key, str(value).encode(), hashlib.sha256).hexdigest()[:8]})"

    def text(self, text: str) -> str:
        """Mask a text: known secrets, private keys, passwords in URLs, and lines that assign to a secret's name."""
        for known in sorted(self._known, key=len, reverse=True):
            text = text.replace(known, self.token(known))
        text = _PEM.sub(lambda match: self.token(match.group(0)), text)
        text = _URL_PASSWORD.sub(lambda match: match.group(1) + self.token(match.group(2)) + match.group(3), text)
        return "\n".join(map(self._line, text.split("\n")))

    def _line(self, line: str) -> str:
        match = _ASSIGNMENT.match(line)
        if not match or not is_secret_name(match.group(2)) or match.group(3).startswith("(masked "):
            return line
        return match.group(1) + self.token(match.group(3))

    def object(self, document: Any) -> Any:
        """Mask a Kubernetes object."""
        if isinstance(document, Mapping) and document.get("kind") == "Secret":
            hidden = {
                part: {k: self.token(v) for k, v in (document.get(part) or {}).items()}
                for part in ("data", "stringData")
                if part in document
            }
            rest = {key: value for key, value in document.items() if key not in hidden}
            return {**self._walk(rest), **hidden}
        return self._walk(document)

    def _walk(self, value: Any, name: str = "") -> Any:
        if isinstance(value, Mapping):
            named = str(value.get("name", "")) if "value" in value else ""
            return {key: self._walk(item, named if key == "value" else str(key)) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._walk(item, name) for item in value]
        if isinstance(value, str):
            return self.token(value) if value and is_secret_name(name) else self.text(value)
        return value


def object_name(document: Mapping[str, Any], namespace: str = "") -> str:
    """Kind, namespace (where it is not the release's) and name of an object, for people."""
    metadata = document.get("metadata") or {}
    place = metadata.get("namespace", namespace)
    name = metadata.get("name", "?") if place == namespace or not place else f"{place}/{metadata.get('name', '?')}"
    return f"{document.get('kind', '?')} {name}"


def manifest_objects(manifest: str) -> list[dict[str, Any]]:
    """The objects of a manifest; lists are taken apart."""
    objects: list[dict[str, Any]] = []
    for document in load_yaml(manifest):
        if isinstance(document, dict) and document.get("kind"):
            items = document.get("items") if str(document["kind"]).endswith("List") else None
            objects += [item for item in items if isinstance(item, dict)] if isinstance(items, list) else [document]
    return objects


def comparable(document: Mapping[str, Any]) -> dict[str, Any]:
    """A live object without what only the server writes."""
    metadata = {key: value for key, value in (document.get("metadata") or {}).items() if key not in _BOOKKEEPING}
    return {**{key: value for key, value in document.items() if key != "status"}, "metadata": metadata}


def object_changes(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], namespace: str, masker: Masker
) -> list[dict[str, str]]:
    """What differs between two sets of objects: name, kind of change, and both masked texts, as Ansible's ``diff`` wants them."""
    old = {object_name(document, namespace): document for document in before}
    new = {object_name(document, namespace): document for document in after}
    changes = []
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) == new.get(name):
            continue
        kind = "add" if name not in old else "remove" if name not in new else "change"
        texts = [_dump(masker.object(side[name])) if name in side else "" for side in (old, new)]
        changes.append({"object": name, "change": kind, "before": texts[0], "after": texts[1]})
    return changes


def _dump(document: Any) -> str:
    return yaml.safe_dump(document, sort_keys=True, default_flow_style=False, width=200)
