# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names of container images, taken apart."""

from __future__ import annotations

import re

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

_REFERENCE = re.compile(
    r"(?P<repository>(?:[a-z0-9][a-z0-9.-]*(?::[0-9]+)?/)?[a-z0-9][a-z0-9._-]*(?:/[a-z0-9][a-z0-9._-]*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)


def image_parts(reference: str, name: str = "image") -> dict[str, str]:
    """Repository, tag and digest of a reference that names one fixed image."""
    found = _REFERENCE.fullmatch(reference)
    if not found:
        raise PlatformError(f"{name} {reference!r} is no image name; write it as registry/repository:tag or registry/repository@sha256:…")
    parts = {name: value or "" for name, value in found.groupdict().items()}
    if parts["tag"] == "latest" or not (parts["tag"] or parts["digest"]):
        raise PlatformError(f"{name} {reference!r} names no fixed image; give it a tag other than latest, or a digest")
    return parts
