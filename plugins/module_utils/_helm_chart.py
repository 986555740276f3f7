# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A chart on disk: its digest, its name and version, and the custom resource definitions that it brings."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._helm_values import load_yaml, merge_layers

Files = dict[str, bytes]
_MANIFEST = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Chart:
    """A chart folder or package."""

    path: str
    digest: str
    name: str
    version: str
    app_version: str

    @property
    def label(self) -> str:
        return f"{self.name}-{self.version}" if self.name else ""


# Stands where no chart is needed: a release that is to be removed.
NO_CHART = Chart("", "", "", "", "")


def read_chart(path: str, expected_digest: str = "") -> Chart:
    """Read a chart's identity; a package whose sha256 is not the expected one is refused."""
    is_folder = Path(path).is_dir()
    try:
        digest = _tree_digest(path) if is_folder else _file_digest(path)
        if expected_digest and digest != expected_digest:
            kind = "the folder's tree digest" if is_folder else "its sha256"
            raise PlatformError(
                f"chart {path}: {kind} is {digest}, but chart_digest says {expected_digest}. Nothing was changed. "
                "Fetch the chart again, or check what changed in it and write the new digest into the inventory."
            )
        meta = _chart_yaml(path, is_folder)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise PlatformError(f"chart {path} cannot be read: {error}. Give a chart folder or a .tgz package.") from error
    return Chart(path, digest, str(meta.get("name", "")), str(meta.get("version", "")), str(meta.get("appVersion", "")))


def _file_digest(path: str) -> str:
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _tree_digest(folder: str) -> str:
    total = hashlib.sha256()
    for name, content in sorted(_folder_files(folder).items()):
        total.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


def _chart_yaml(path: str, is_folder: bool) -> dict[str, Any]:
    if is_folder:
        return _mapping(Path(path, "Chart.yaml").read_bytes())
    with tarfile.open(path, "r:gz") as package:
        for member in package:
            if member.name.count("/") == 1 and member.name.endswith("/Chart.yaml"):
                content = package.extractfile(member)
                return _mapping(content.read() if content else b"")
    raise PlatformError(f"chart {path} has no Chart.yaml.")


def _mapping(content: bytes) -> dict[str, Any]:
    documents = load_yaml(content)
    return documents[0] if documents and isinstance(documents[0], dict) else {}


def _folder_files(folder: str) -> Files:
    files: Files = {}
    for base, _folders, names in os.walk(folder, followlinks=True):
        for name in names:
            path = Path(base, name)
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
    return files


def _package_files(content: bytes) -> Files:
    files: Files = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as package:
        for member in package:
            stream = package.extractfile(member) if member.isfile() else None
            if stream and "/" in member.name:
                files[member.name.split("/", 1)[1]] = stream.read()
    return files


def chart_files(path: str) -> Files:
    """Every file of a chart, by its path inside it."""
    return _folder_files(path) if Path(path).is_dir() else _package_files(Path(path).read_bytes())


def crd_objects(files: Files, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of crds/, of the chart and of the sub-charts that these values leave enabled."""
    chart_values = merge_layers([_mapping(files.get("values.yaml", b"")), values])
    found = [
        document
        for name in sorted(files)
        if name.startswith("crds/") and name.endswith(_MANIFEST)
        for document in load_yaml(files[name])
        if isinstance(document, dict)
    ]
    dependencies = _dependencies(files)
    for name, sub_files in sorted(_sub_charts(files).items()):
        entries = [entry for entry in dependencies if entry.get("name") == name]
        aliases = [str(entry.get("alias") or name) for entry in entries if _enabled(entry, chart_values)]
        for alias in aliases if entries else [name]:
            below = chart_values.get(alias)
            found += crd_objects(sub_files, below if isinstance(below, dict) else {})
    return [*{(item.get("kind"), (item.get("metadata") or {}).get("name")): item for item in found}.values()]


def _dependencies(files: Files) -> list[dict[str, Any]]:
    listed = _mapping(files.get("Chart.yaml", b"")).get("dependencies") or _mapping(files.get("requirements.yaml", b"")).get("dependencies")
    return [entry for entry in listed or [] if isinstance(entry, dict)]


def _sub_charts(files: Files) -> dict[str, Files]:
    folders: dict[str, Files] = {}
    for path, content in files.items():
        parts = path.split("/", 2)
        if parts[0] == "charts" and len(parts) == 3:
            folders.setdefault(parts[1], {})[parts[2]] = content
        elif parts[0] == "charts" and path.endswith(".tgz"):
            folders[parts[1]] = _package_files(content)
    return {str(_mapping(sub["Chart.yaml"]).get("name")): sub for sub in folders.values() if "Chart.yaml" in sub}


def _enabled(dependency: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Helm's rule: the first condition that names a boolean decides; otherwise tags do, one true tag is enough."""
    for condition in str(dependency.get("condition") or "").split(","):
        answer = _lookup(values, condition.strip())
        if isinstance(answer, bool):
            return answer
    chosen = [_lookup(values, f"tags.{tag}") for tag in dependency.get("tags") or []]
    answers = [answer for answer in chosen if isinstance(answer, bool)]
    return any(answers) or not answers


def _lookup(values: Mapping[str, Any], path: str) -> Any:
    found: Any = values
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
