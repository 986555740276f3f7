# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is installed on the controller, against what the collection says about itself."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.dcm.platform.plugins.module_utils._guard_versions import requirements, version_problems

COLLECTION = Path(__file__).parents[2]


def software_problems(root: Path = COLLECTION) -> list[str]:
    """Everything that is missing or too old, each with what to do about it."""
    core = {"ansible-core": yaml.safe_load((root / "meta/runtime.yml").read_text(encoding="utf-8"))["requires_ansible"]}
    packages = requirements((root / "requirements.txt").read_text(encoding="utf-8"))
    collections = collection_dependencies(root)
    here = f"install it for {sys.executable}, or use the toolchain of this project"
    return (
        version_problems("", {"Python": ">=3.11"}, {"Python": ".".join(map(str, sys.version_info[:3]))}, f"{sys.executable} is too old")
        + version_problems("", core, {"ansible-core": package_version("ansible-core")}, here)
        + version_problems("Python package", packages, {name: package_version(name) for name in packages}, here)
        + version_problems(
            "collection",
            collections,
            {name: collection_version(name) for name in collections},
            "ansible-galaxy collection install -r collections/requirements.yml --force; a stale copy in ~/.ansible/collections goes first",
        )
    )


def collection_dependencies(root: Path) -> dict[str, str]:
    """From the manifest of the installed collection, or from galaxy.yml of the clone."""
    manifest = root / "MANIFEST.json"
    if manifest.exists():
        return dict(_manifest(manifest)["dependencies"])
    return dict(yaml.safe_load((root / "galaxy.yml").read_text(encoding="utf-8")).get("dependencies") or {})


def collection_version(name: str) -> str | None:
    """The version of the copy that Ansible would use."""
    try:
        package = importlib.import_module(f"ansible_collections.{name}")
    except ImportError:
        return None
    manifest = Path(next(iter(package.__path__))) / "MANIFEST.json"
    return str(_manifest(manifest)["version"]) if manifest.exists() else None


def _manifest(path: Path) -> dict[str, Any]:
    info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["collection_info"]
    return info


def package_version(name: str) -> str | None:
    """The version of a Python package, without importing it."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
