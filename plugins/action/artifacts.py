# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builds missing artifacts on the controller; an action plugin, because only those can print progress while they work."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.dcm.platform.plugins.module_utils._artifact_build import Builder, find_go, host_suite
from ansible_collections.dcm.platform.plugins.module_utils._artifact_plan import Binary, Catalog, Image, read_catalog
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError


class ActionModule(ActionBase):
    """See plugins/modules/artifacts.py for the documentation."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            argument_spec={
                "catalog": {"type": "path", "required": True},
                "source": {"type": "path", "required": True},
                "cache": {"type": "path", "required": True},
                "images": {"type": "list", "elements": "str"},
                "on_demand": {"type": "list", "elements": "str", "default": []},
                "binaries": {"type": "list", "elements": "str"},
            }
        )
        try:
            return self._converge(args)
        except PlatformError as error:
            raise AnsibleActionFail(str(error)) from error

    def _converge(self, args: dict[str, Any]) -> dict[str, Any]:
        venv = Path(sys.executable).parent
        go, go_version = find_go(["go", str(venv / "go")])
        catalog = read_catalog(
            yaml.safe_load(Path(args["catalog"]).read_text()),
            Path(args["source"]),
            go_version,
            host_suite(Path("/etc/os-release").read_text()),
        )
        tools = {"go": go, "uv": str(venv / "uv")}
        builder = Builder(
            catalog, Path(args["source"]), Path(args["cache"]), tools, lambda text: self._display.display(f"artifacts: {text}")
        )
        binaries, images = _selection(catalog, args)
        missing: list[Binary | Image] = [b for b in binaries if not builder.binary_path(b).exists()]
        missing += [i for i in images if not builder.image_path(i).exists()]
        if missing and not self._task.check_mode:
            self._build(builder, missing)
        return {
            "changed": bool(missing),
            "built": [entry.name for entry in missing],
            "binaries": {b.name: str(builder.binary_path(b)) for b in binaries},
            "images": [
                {"name": i.name, "ref": i.ref, "key": i.key, "archive": str(builder.image_path(i) / "image.tar")} for i in images if i.ref
            ],
        }

    def _build(self, builder: Builder, missing: list[Binary | Image]) -> None:
        """Two lanes: Go programs one after another (each uses all cores), and images, which mostly wait for files."""
        programs = [entry for entry in missing if isinstance(entry, Binary)]
        images = [entry for entry in missing if isinstance(entry, Image)]
        late = [image for image in images if image.recipe.get("go")]
        early = [image for image in images if image not in late]
        with builder.lock(), ThreadPoolExecutor(2) as lanes:
            done = [lanes.submit(self._lane, builder, programs), lanes.submit(self._lane, builder, early)]
            for lane in done:
                lane.result()
            self._lane(builder, late)

    def _lane(self, builder: Builder, entries: list[Any]) -> None:
        for number, entry in enumerate(entries, 1):
            place = builder.binary_path(entry) if isinstance(entry, Binary) else builder.image_path(entry)
            if place.exists():
                continue
            kind = "program" if isinstance(entry, Binary) else "image"
            with _Ticker(self._display.display, f"artifacts: {kind} {entry.name} ({number} of {len(entries)})"):
                (builder.build_binary if isinstance(entry, Binary) else builder.build_image)(entry)


def _selection(catalog: Catalog, args: dict[str, Any]) -> tuple[list[Binary], list[Image]]:
    """The named entries, or all that are not on demand; with the bases and programs that the images need."""
    usual = [name for name, image in catalog.images.items() if not image.recipe.get("on_demand")]
    names = [*(usual if args["images"] is None else args["images"]), *args["on_demand"]]
    if unknown := sorted(set(names) - set(catalog.images)):
        raise PlatformError(f"no image named {', '.join(unknown)} in {args['catalog']}; it has {', '.join(catalog.images)}")
    images = {image.name: image for name in names for image in catalog.lineage(name)}
    programs = [name for name, binary in catalog.binaries.items() if not binary.on_demand]
    wanted = programs if args["binaries"] is None else args["binaries"]
    if unknown := sorted(set(wanted) - set(catalog.binaries)):
        raise PlatformError(f"no program named {', '.join(unknown)} in {args['catalog']}; it has {', '.join(catalog.binaries)}")
    needed = {*wanted, *(name for image in images.values() for name in image.recipe.get("go", []))}
    return [b for name, b in catalog.binaries.items() if name in needed], list(images.values())


class _Ticker:
    """Says that something is under way every 15 seconds, and how long it took when it is done."""

    def __init__(self, say: Any, what: str) -> None:
        self._say, self._what = say, what
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> None:
        self._start = time.monotonic()
        self._say(f"{self._what} is being built")
        self._thread.start()

    def __exit__(self, kind: object, *_: object) -> None:
        self._end.set()
        self._thread.join()
        if kind is None:
            self._say(f"{self._what} built in {time.monotonic() - self._start:.0f} s")

    def _tick(self) -> None:
        while not self._end.wait(15):
            self._say(f"{self._what}: {time.monotonic() - self._start:.0f} s")
