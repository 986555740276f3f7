# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The images that rendered objects name. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

# An image inside an argument or a variable of an operator: registry, repository, and a tag or digest.
_INSIDE = re.compile(r"(?:^|=)((?:[a-z0-9-]+\.)+[a-z]{2,}(?::\d+)?(?:/[a-z0-9._-]+)+(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?)$")


def images_of(documents: Iterable[Any]) -> list[str]:
    """Every image that containers run, and those that operators are told to run by argument or variable; each once, sorted."""
    return sorted({image for document in documents for image in _images(document)})


def _images(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _images(item)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key in ("containers", "initContainers", "ephemeralContainers") and isinstance(value, list):
            yield from (name for container in value if isinstance(container, dict) for name in _of_container(container))
        elif key != "openAPIV3Schema":
            yield from _images(value)
    if "image" in node and "apiVersion" not in node and isinstance(node["image"], str) and _INSIDE.fullmatch(node["image"]):
        yield node["image"]


def _of_container(container: dict[str, Any]) -> Iterator[str]:
    if isinstance(container.get("image"), str):
        yield container["image"]
    texts = [*(container.get("args") or []), *(container.get("command") or [])]
    texts += [variable.get("value") for variable in container.get("env") or [] if isinstance(variable, dict)]
    for text in texts:
        match = _INSIDE.search(text) if isinstance(text, str) else None
        if match and re.search(r":[\w.-]+$|@", match[1].partition("/")[2]):
            yield match[1]


def full_name(image: str) -> str:
    """The name that a container runtime asks for: with its registry, `library/` on Docker Hub, and a tag or digest."""
    registry, slash, rest = image.partition("/")
    if not slash or (registry != "localhost" and not re.search(r"[.:]", registry)):
        registry, rest = "docker.io", image
    if registry == "docker.io" and "/" not in rest:
        rest = f"library/{rest}"
    return f"{registry}/{rest}" + ("" if re.search(r"[:@]", rest) else ":latest")


def archive_name(image: str) -> str:
    """The file name of an image in a folder."""
    return re.sub(r"[/:@]", "_", full_name(image)) + ".tar"


def mirrored_name(image: str, registry: str) -> str:
    """Its name in a mirror: the full name below the mirror's address. A tag makes a digest beside it superfluous; a port follows `_`."""
    host, _slash, rest = full_name(image).partition("/")
    plain, _at, _digest = rest.partition("@")
    return f"{registry.removeprefix('oci://').rstrip('/')}/{host.replace(':', '_')}/{plain if ':' in plain else rest}"
