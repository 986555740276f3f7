# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The packages of locked charts: fetched, looked into, and put where a site without the internet finds them."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.dcm.platform.plugins.module_utils._chart_images import archive_name, images_of, mirrored_name
from ansible_collections.dcm.platform.plugins.module_utils._chart_lock import ChartSource, FoundPackage, LockedChart, release_of
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._helm_chart import read_chart
from ansible_collections.dcm.platform.plugins.module_utils._helm_cli import Helm, last_lines, pull_chart
from ansible_collections.dcm.platform.plugins.module_utils._helm_plan import Release
from ansible_collections.dcm.platform.plugins.module_utils._helm_values import load_yaml, plain

_PARALLEL = 4


@dataclass(frozen=True)
class Package:
    """A fetched package. ``note`` says why its images are not known."""

    chart: LockedChart
    path: Path
    found: FoundPackage
    images: list[str] = field(default_factory=list)
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For reports and results."""
        return {
            "name": self.chart.name,
            "chart": self.chart.chart,
            "version": self.chart.version,
            "app_version": self.found.app_version,
            "licence": self.chart.licence,
            "sha256": self.found.sha256,
            "locked": bool(self.chart.sha256),
            "size": self.path.stat().st_size,
            "package": self.chart.package,
            "images": self.images,
            "note": self.note,
        }


def fetch(
    helm: Helm, charts: Sequence[LockedChart], source: ChartSource, cache: Path, check: bool = True
) -> tuple[list[Package], list[str]]:
    """The packages of these charts, side by side, and what went wrong with the others. Only ``check`` compares digests."""

    def one(chart: LockedChart) -> Package | str:
        try:
            options = {name: value for name, value in release_of(chart, source).items() if check or name != "chart_digest"}
            local = Path(options["chart_ref"]) if source.kind == "folder" else None
            path = Path(local or pull_chart(helm, Release(**options), cache))
            found = read_chart(str(path), options.get("chart_digest", ""))
            return Package(chart, path, FoundPackage(found.name, found.version, found.digest, found.app_version))
        except PlatformError as error:
            return str(error)

    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ThreadPoolExecutor(_PARALLEL) as pool:
        results = list(pool.map(one, charts))
    return [item for item in results if isinstance(item, Package)], [item for item in results if isinstance(item, str)]


def with_images(helm: Helm, packages: Sequence[Package], values: Mapping[str, Any]) -> list[Package]:
    """The packages with the images that their charts render with these values, hooks and definitions included."""

    def one(package: Package) -> Package:
        chart = package.chart
        arguments = ["template", chart.name, str(package.path), f"--namespace={chart.namespace}", "--include-crds", "--values=-"]
        try:
            rendered = helm.run(arguments, yaml.safe_dump(plain(values.get(chart.name, {}))))
            return Package(chart, package.path, package.found, images_of(load_yaml(rendered)))
        except (PlatformError, yaml.YAMLError) as error:
            return Package(chart, package.path, package.found, note=f"it does not render with these values: {error}")

    with ThreadPoolExecutor(_PARALLEL) as pool:
        return list(pool.map(one, packages))


def into_folder(packages: Sequence[Package], folder: Path, check_mode: bool) -> list[str]:
    """Packages in a folder, as `platform_chart_source` of type folder wants it. Returns the names of those that were not there."""
    missing = [package for package in packages if not _same(folder / package.chart.package, package.found.sha256)]
    if not check_mode:
        folder.mkdir(parents=True, exist_ok=True)
        for package in missing:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".part-", delete=False) as part:
                part.write(package.path.read_bytes())
            Path(part.name).chmod(0o644)
            Path(part.name).replace(folder / package.chart.package)
    return [package.chart.name for package in missing]


def _same(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def into_registry(helm: Helm, packages: Sequence[Package], target: ChartSource, check_mode: bool, cache: Path) -> list[str]:
    """Packages in an OCI registry. Returns the names of those that it did not have with this content."""
    missing = []
    for package in packages:
        with tempfile.TemporaryDirectory(dir=cache, prefix=".there-") as fresh:
            there, _problems = fetch(helm, [package.chart], target, Path(fresh), check=False)
            if there and there[0].found.sha256 == package.found.sha256:
                continue
        missing.append(package.chart.name)
        if not check_mode:
            helm.run(["push", str(package.path), target.url, *(["--plain-http"] if target.plain_http else [])])
    return missing


def find_crane(binary: str) -> str:
    """The program that copies images."""
    found = shutil.which(binary)
    if not found:
        raise PlatformError(
            f"copy_images needs crane, which is not at {binary!r}. Install it or set crane_path, or copy the listed images."
        )
    return found


def copy_images(
    images: Sequence[str], copy: Callable[[str, bool], bool], check_mode: bool, report: Callable[[str], None]
) -> tuple[list[str], list[str]]:
    """Copy images one by one. Returns those that were not there, and for each that cannot be had the reason."""
    copied, problems = [], []
    for image in images:
        report(f"image {image}")
        try:
            copied += [image] if copy(image, check_mode) else []
        except PlatformError as error:
            problems.append(f"image {image} cannot be copied: {error}")
    return copied, problems


def image_into_folder(crane: str, folder: Path, image: str, check_mode: bool) -> bool:
    """An archive of the image; one that is there stays as it is."""
    target = folder / archive_name(image)
    if target.exists():
        return False
    if not check_mode:
        folder.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        try:
            _run(crane, "pull", "--format=tarball", image, str(part))
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    return True


def image_into_registry(crane: str, registry: str, image: str, check_mode: bool) -> bool:
    """The image for all its platforms below the mirror's address, unless it is there with the same digest."""
    target = mirrored_name(image, registry)
    wanted = _run(crane, "digest", image)
    with contextlib.suppress(PlatformError):
        if _run(crane, "digest", target) == wanted:
            return False
    if not check_mode:
        _run(crane, "copy", image, target)
    return True


def _run(crane: str, *arguments: str) -> str:
    done = subprocess.run([crane, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PlatformError(last_lines(done.stderr, 2) or f"crane ended with status {done.returncode}")
    return done.stdout.strip()
