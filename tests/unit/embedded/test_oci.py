# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images: the same tree gives the same bytes, and the archive is one that the OCI specification describes."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path

from ansible_collections.dcm.platform.plugins.module_utils._oci import ImageConfig, write_image, write_layer


def tree(root: Path) -> Path:
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/tool").write_text("#!/bin/sh\n")
    (root / "usr/bin/tool").chmod(0o4755)
    (root / "bin").symlink_to("usr/bin")
    (root / "var/lib/data").mkdir(parents=True)
    (root / "var/lib/data/seed").write_text("1")
    return root


def test_the_same_tree_gives_the_same_layer(tmp_path: Path) -> None:
    first = write_layer(tree(tmp_path / "a"), tmp_path / "a.tar", {})
    second_tree = tree(tmp_path / "b")
    os.utime(second_tree / "usr/bin/tool", (1, 1))
    second = write_layer(second_tree, tmp_path / "b.tar", {})
    assert first.digest == second.digest
    assert first.digest == "sha256:" + hashlib.sha256((tmp_path / "a.tar").read_bytes()).hexdigest()
    assert first.size == (tmp_path / "a.tar").stat().st_size


def test_owners_modes_and_links(tmp_path: Path) -> None:
    write_layer(tree(tmp_path / "a"), tmp_path / "a.tar", {"/var/lib/data": 999})
    with tarfile.open(tmp_path / "a.tar") as archive:
        entries = {entry.name: entry for entry in archive}
    assert entries["usr/bin/tool"].mode == 0o755, "set-id bits are taken off"
    assert entries["bin"].linkname == "usr/bin"
    assert {name: entry.uid for name, entry in entries.items() if entry.uid} == {"var/lib/data": 999, "var/lib/data/seed": 999}


def test_devices_stay_outside(tmp_path: Path) -> None:
    root = tree(tmp_path / "a")
    os.mkfifo(root / "pipe")
    write_layer(root, tmp_path / "a.tar", {})
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert "pipe" not in archive.getnames()


def test_every_blob_is_what_its_name_says(tmp_path: Path) -> None:
    layers = [write_layer(tree(tmp_path / "a"), tmp_path / "a.tar", {})]
    config = ImageConfig("amd64", ("/tool",), {"LANG": "C"}, "999:999")
    digest = write_image(tmp_path / "image.tar", "example.org/tool:1", layers, config)
    with tarfile.open(tmp_path / "image.tar") as archive:
        files = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    for name, data in files.items():
        if name.startswith("blobs/"):
            assert hashlib.sha256(data).hexdigest() == name.rsplit("/", 1)[1]
    (described,) = json.loads(files["index.json"])["manifests"]
    assert described["digest"] == digest
    assert described["annotations"]["io.containerd.image.name"] == "example.org/tool:1"
    manifest = json.loads(files["blobs/" + digest.replace(":", "/")])
    written = json.loads(files["blobs/" + manifest["config"]["digest"].replace(":", "/")])
    assert written["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]] == [layers[0].digest]
    assert written["config"]["User"] == "999:999"
    assert "LANG=C" in written["config"]["Env"]
