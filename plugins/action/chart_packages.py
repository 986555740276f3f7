# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fetches the packages of locked charts on the controller, and copies them with their images."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.dcm.platform.plugins.module_utils._chart_lock import chosen, read_lock, read_source
from ansible_collections.dcm.platform.plugins.module_utils._chart_packages import (
    Package,
    copy_images,
    fetch,
    find_crane,
    image_into_folder,
    image_into_registry,
    into_folder,
    into_registry,
    with_images,
)
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._helm_cli import Helm

ARGUMENTS = {
    "lock_file": {"type": "path", "required": True},
    "names": {"type": "list", "elements": "str"},
    "source": {"type": "dict", "default": {"type": "upstream"}},
    "values": {"type": "dict", "default": {}},
    "folder": {"type": "path"},
    "registry": {"type": "str"},
    "plain_http": {"type": "bool", "default": False},
    "copy_images": {"type": "bool", "default": False},
    "crane_path": {"type": "path", "default": "crane"},
    "binary_path": {"type": "path", "default": "helm"},
    "chart_cache": {"type": "path", "default": "~/.cache/dcm-platform/charts"},
}


class ActionModule(ActionBase):
    """See plugins/modules/chart_packages.py for the documentation."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _checked, options = self.validate_argument_spec(argument_spec=ARGUMENTS, mutually_exclusive=[("folder", "registry")])
        try:
            return self._converge(options)
        except (PlatformError, OSError) as error:
            raise AnsibleActionFail(f"chart_packages: {error}") from error

    def _converge(self, options: dict[str, Any]) -> dict[str, Any]:
        lock = Path(options["lock_file"])
        charts = chosen(read_lock(lock.read_text(encoding="utf-8"), str(lock)), options["names"])
        crane = self._crane(options)
        helm = Helm(options["binary_path"], "", "")
        cache = Path(options["chart_cache"]).expanduser()
        self._say(f"fetching {len(charts)} charts")
        packages, problems = fetch(helm, charts, read_source(options["source"]), cache)
        packages = with_images(helm, packages, options["values"])
        copied = self._copy(helm, packages, options, cache)
        copied_images: list[str] = []
        if crane:
            copied_images, failed = self._copy_images(crane, packages, options)
            problems += failed
        result = {
            "changed": bool(copied or copied_images),
            "packages": [package.as_dict() for package in packages],
            "copied": copied,
            "copied_images": copied_images,
            "problems": problems,
        }
        return result | ({"failed": True, "msg": "\n".join(problems)} if problems else {})

    def _crane(self, options: dict[str, Any]) -> str:
        if not options["copy_images"]:
            return ""
        if not options["folder"] and not options["registry"]:
            raise PlatformError("copy_images needs a folder or a registry to copy to.")
        return find_crane(options["crane_path"])

    def _copy(self, helm: Helm, packages: Sequence[Package], options: dict[str, Any], cache: Path) -> list[str]:
        check = bool(self._task.check_mode)
        if options["folder"]:
            return into_folder(packages, Path(options["folder"]), check)
        if options["registry"]:
            target = read_source({"type": "mirror", "url": options["registry"], "plain_http": options["plain_http"]})
            if not target.url.startswith("oci://"):
                raise PlatformError(f"registry = {options['registry']!r} has to begin with oci://")
            return into_registry(helm, packages, target, check, cache)
        return []

    def _copy_images(self, crane: str, packages: Sequence[Package], options: dict[str, Any]) -> tuple[list[str], list[str]]:
        """A chart whose images are not known is a problem here: the mirror would not be whole."""
        images = sorted({image for package in packages for image in package.images})
        if options["folder"]:
            copy = functools.partial(image_into_folder, crane, Path(options["folder"]) / "images")
        else:
            copy = functools.partial(image_into_registry, crane, options["registry"])
        unknown = [f"the images of chart {package.chart.name} are not known: {package.note}" for package in packages if package.note]
        copied, problems = copy_images(images, copy, bool(self._task.check_mode), self._say)
        return copied, [*unknown, *problems]

    def _say(self, text: str) -> None:
        self._display.display(f"chart_packages: {text}")
