# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which images objects name, and what they are called elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._chart_images import archive_name, full_name, images_of, mirrored_name

DIGEST = "sha256:" + "a" * 64
NO_TAG = "latest"


@pytest.mark.parametrize(
    ("image", "full", "mirrored"),
    [
        ("web", f"docker.io/library/web:{NO_TAG}", f"m.example/c/docker.io/library/web:{NO_TAG}"),
        ("web:1", "docker.io/library/web:1", "m.example/c/docker.io/library/web:1"),
        ("docker.io/web:1", "docker.io/library/web:1", "m.example/c/docker.io/library/web:1"),
        ("team/web:1", "docker.io/team/web:1", "m.example/c/docker.io/team/web:1"),
        ("reg.example/a/web:1", "reg.example/a/web:1", "m.example/c/reg.example/a/web:1"),
        ("localhost/web:1", "localhost/web:1", "m.example/c/localhost/web:1"),
        ("reg.example:5000/web", f"reg.example:5000/web:{NO_TAG}", f"m.example/c/reg.example_5000/web:{NO_TAG}"),
        (f"reg.example/web@{DIGEST}", f"reg.example/web@{DIGEST}", f"m.example/c/reg.example/web@{DIGEST}"),
        (f"reg.example/web:1@{DIGEST}", f"reg.example/web:1@{DIGEST}", "m.example/c/reg.example/web:1"),
    ],
)
def test_names(image: str, full: str, mirrored: str) -> None:
    assert full_name(image) == full
    assert mirrored_name(image, "oci://m.example/c/") == mirrored
    assert "/" not in archive_name(image)


@pytest.mark.parametrize(
    ("document", "images"),
    [
        ({"spec": {"containers": [{"image": "a:1"}], "initContainers": [{"image": "b:1"}]}}, ["a:1", "b:1"]),
        ({"containers": [{"image": "a:1", "args": ["--reload=reg.example/b:2", "--at=reg.example/path"]}]}, ["a:1", "reg.example/b:2"]),
        ({"containers": [{"image": "a:1", "env": [{"value": "reg.example/b:2"}, {"valueFrom": {}}]}]}, ["a:1", "reg.example/b:2"]),
        ({"containers": [{"image": "a:1"}, {"image": "a:1"}], "items": [None, 1, "text"]}, ["a:1"]),
        ({"kind": "Prometheus", "spec": {"image": "reg.example/prometheus:v3"}}, ["reg.example/prometheus:v3"]),
        ({"spec": {"image": "just a word"}}, []),
        ({"openAPIV3Schema": {"properties": {"containers": [{"image": "a:1"}]}}}, []),
        ("text", []),
    ],
)
def test_images_of(document: Any, images: list[str]) -> None:
    assert images_of([document]) == images
