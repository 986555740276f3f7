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
from ansible_collections.dcm.platform.plugins.module_utils._artifact_plan import Binary, Catalog, Definitions, Image, read_catalog
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

Entry = Binary | Definitions | Image


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
                "definitions": {"type": "list", "elements": "str"},
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
        binaries, definitions, images = _selection(catalog, args)
        wanted: list[Entry] = [*binaries, *definitions, *images]
        missing = [entry for entry in wanted if not builder.place(entry).exists()]
        if missing and not self._task.check_mode:
            self._build(builder, missing)
        return {
            "changed": bool(missing),
            "built": [entry.name for entry in missing],
            "binaries": {b.name: str(builder.binary_path(b)) for b in binaries},
            "definitions": {d.name: str(builder.definitions_path(d)) for d in definitions},
            "images": [
                {"name": i.name, "ref": i.ref, "key": i.key, "archive": str(builder.image_path(i) / "image.tar")} for i in images if i.ref
            ],
        }

    def _build(self, builder: Builder, missing: list[Entry]) -> None:
        """Two lanes: what is made by Go one after another (each uses all cores), and images, which mostly wait for files."""
        programs = [entry for entry in missing if not isinstance(entry, Image)]
        images = [entry for entry in missing if isinstance(entry, Image)]
        late = [image for image in images if any(layer.recipe.get("go") for layer in builder.catalog.lineage(image.name))]
        early = [image for image in images if image not in late]
        with builder.lock(), ThreadPoolExecutor(2) as lanes:
            done = [lanes.submit(self._lane, builder, programs), lanes.submit(self._lane, builder, early)]
            for lane in done:
                lane.result()
            self._lane(builder, late)

    def _lane(self, builder: Builder, entries: list[Any]) -> None:
        for number, entry in enumerate(entries, 1):
            if builder.place(entry).exists():
                continue
            kind = {Binary: "program", Definitions: "definitions", Image: "image"}[type(entry)]
            with _Ticker(self._display.display, f"artifacts: {kind} {entry.name} ({number} of {len(entries)})"):
                builder.build(entry)


def _named(kind: str, known: dict[str, Any], names: list[str], path: str) -> list[str]:
    """The names that are asked for, in the order of the catalogue; one that it does not have is an error."""
    if unknown := sorted(set(names) - set(known)):
        raise PlatformError(f"no {kind} named {', '.join(unknown)} in {path}; it has {', '.join(known)}")
    return [name for name in known if name in names]


def _selection(catalog: Catalog, args: dict[str, Any]) -> tuple[list[Binary], list[Definitions], list[Image]]:
    """The named entries, or all that are not on demand; with the bases and programs that the images need."""
    path = args["catalog"]
    usual = [name for name, image in catalog.images.items() if not image.recipe.get("on_demand")]
    names = [*(usual if args["images"] is None else args["images"]), *args["on_demand"]]
    images = {image.name: image for name in _named("image", catalog.images, names, path) for image in catalog.lineage(name)}
    programs = [name for name, binary in catalog.binaries.items() if not binary.on_demand]
    needed = {*_named("program", catalog.binaries, programs if args["binaries"] is None else args["binaries"], path)}
    needed |= {name for image in images.values() for name in image.recipe.get("go", [])}
    sets = [*catalog.definitions] if args["definitions"] is None else args["definitions"]
    definitions = [catalog.definitions[name] for name in _named("definitions", catalog.definitions, sets, path)]
    return [binary for name, binary in catalog.binaries.items() if name in needed], definitions, list(images.values())


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
