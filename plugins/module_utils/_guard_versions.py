# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Is the software on the controller new enough? Pure."""

from __future__ import annotations

from collections.abc import Mapping

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version


def version_problems(kind: str, wanted: Mapping[str, str], found: Mapping[str, str | None], remedy: str) -> list[str]:
    """One problem for each thing that is missing, or outside of the wanted range."""
    return [
        f"{kind} {name} {found.get(name) or 'is missing'}, wanted {spec}: {remedy}".lstrip()
        for name, spec in wanted.items()
        if not fits(found.get(name), spec)
    ]


def fits(version: str | None, spec: str) -> bool:
    """Is the version inside the range? Development versions count by their number."""
    if version is None:
        return False
    try:
        return SpecifierSet("" if spec == "*" else spec).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def requirements(text: str) -> dict[str, str]:
    """The ranges of a requirements.txt that hold for this Python, by package name."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    found = (Requirement(line) for line in lines if line)
    return {wanted.name: str(wanted.specifier) for wanted in found if wanted.marker is None or wanted.marker.evaluate()}
