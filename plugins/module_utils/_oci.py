# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes container images in the layout of the OCI Image Specification v1.1 (image-layout, manifest, config).

Layers are plain tar files: the images go from a local disk into a local node, where compressing and expanding
them would be the larger part of the time. The same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import stat
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class Layer:
    """A tar file on disk and its digest (for a plain tar also its diff id)."""

    path: Path
    digest: str
    size: int


@dataclass(frozen=True)
class ImageConfig:
    """How a container of the image starts, and on what."""

    architecture: str
    entrypoint: tuple[str, ...] = ()
    env: Mapping[str, str] | None = None
    user: str = ""


class _HashingWriter:
    """Passes bytes on to a file and hashes them on the way."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        return self._target.write(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def write_layer(root: Path, target: Path, owners: Mapping[str, int]) -> Layer:
    """Write the tree below `root` as a layer: sorted, without times, set-id bits or devices.

    `owners` names folders (absolute paths in the image) that belong, with all in them, to a user id; the rest is root's.
    """
    with target.open("wb") as raw:
        writer = _HashingWriter(raw)
        with tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
            for path in sorted(root.rglob("*")):
                _add(archive, path, f"/{path.relative_to(root)}", owners)
    return Layer(target, writer.digest, writer.size)


def _add(archive: tarfile.TarFile, path: Path, name: str, owners: Mapping[str, int]) -> None:
    status = path.lstat()
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        return
    info = tarfile.TarInfo(name.lstrip("/"))
    info.mode = stat.S_IMODE(status.st_mode) & ~(stat.S_ISUID | stat.S_ISGID)
    info.uid = info.gid = next((uid for folder, uid in owners.items() if name == folder or name.startswith(folder.rstrip("/") + "/")), 0)
    if stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, str(path.readlink())
        archive.addfile(info)
    elif stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    else:
        info.size = status.st_size
        with path.open("rb") as content:
            archive.addfile(info, content)


def write_image(target: Path, ref: str, layers: list[Layer], config: ImageConfig) -> str:
    """Write an OCI archive that imports as `ref`; returns the digest of its manifest."""
    blobs: dict[str, bytes] = {}
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _blob(blobs, _image_config(layers, config), _CONFIG),
        "layers": [{"mediaType": _LAYER, "digest": layer.digest, "size": layer.size} for layer in layers],
    }
    described = _blob(blobs, manifest, _MANIFEST)
    # containerd takes the whole reference from its own annotation, other tools the tag from OCI's.
    described["annotations"] = {"io.containerd.image.name": ref, "org.opencontainers.image.ref.name": ref.rsplit(":", 1)[-1]}
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        _put(archive, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        _put(archive, "index.json", json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [described]}).encode())
        for digest, data in blobs.items():
            _put(archive, f"blobs/sha256/{digest}", data)
        for layer in layers:
            info = tarfile.TarInfo(f"blobs/{layer.digest.replace(':', '/')}")
            info.size, info.mode = layer.size, 0o644
            with layer.path.open("rb") as content:
                archive.addfile(info, content)
    return str(described["digest"])


def _image_config(layers: list[Layer], config: ImageConfig) -> dict[str, Any]:
    env = [f"{name}={value}" for name, value in {"PATH": "/usr/local/bin:/usr/bin:/bin", **(config.env or {})}.items()]
    return {
        "architecture": config.architecture,
        "os": "linux",
        "config": {"Entrypoint": list(config.entrypoint), "Env": env, "User": config.user, "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
    }


def _blob(blobs: dict[str, bytes], content: Any, media_type: str) -> dict[str, Any]:
    """Add JSON to the blobs; returns its descriptor."""
    data = json.dumps(content, sort_keys=True).encode()
    digest = hashlib.sha256(data).hexdigest()
    blobs[digest] = data
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def _put(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    archive.addfile(info, io.BytesIO(data))
