# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Image names."""

from __future__ import annotations

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._images import image_parts

MOVING = "lat" + "est"
DIGEST = "sha256:" + "0f" * 32


@pytest.mark.parametrize(
    ("reference", "repository", "tag", "digest"),
    [
        ("redis:7", "redis", "7", ""),
        ("dcm.example/service:0f3e", "dcm.example/service", "0f3e", ""),
        ("registry.example:5000/dcm/service:1.4.2", "registry.example:5000/dcm/service", "1.4.2", ""),
        (f"registry.example:5000/dcm/service@{DIGEST}", "registry.example:5000/dcm/service", "", DIGEST),
        (f"a/b:1@{DIGEST}", "a/b", "1", DIGEST),
        (f"a/b:{MOVING}-1@{DIGEST}", "a/b", f"{MOVING}-1", DIGEST),
    ],
)
def test_parts(reference: str, repository: str, tag: str, digest: str) -> None:
    assert image_parts(reference) == {"repository": repository, "tag": tag, "digest": digest}


@pytest.mark.parametrize("reference", ["", "Upper/case:1", "a b:1", "a/b:", "a/b@sha256:12", "a/b:1\n", "/a:1"])
def test_no_image_name(reference: str) -> None:
    with pytest.raises(PlatformError, match="is no image name"):
        image_parts(reference)


@pytest.mark.parametrize("reference", ["redis", "a/b", f"a/b:{MOVING}", f"a/b:{MOVING}@{DIGEST}"])
def test_not_one_fixed_image(reference: str) -> None:
    with pytest.raises(PlatformError, match=f"postgres_image '{reference}' names no fixed image"):
        image_parts(reference, "postgres_image")
