# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Starts and stops the embedded node; an action plugin, because only those can print progress while they work."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.dcm.platform.plugins.module_utils._embedded_node import Node, NodeImage, Places, follow
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

_PATHS = ("config", "run", "bin", "logs", "kubeconfig")


class ActionModule(ActionBase):
    """See plugins/modules/embedded_node.py for the documentation."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            argument_spec={
                "state": {"type": "str", "choices": ["started", "stopped", "absent"], "required": True},
                "name": {"type": "str", "required": True},
                **{name: {"type": "path", "required": True} for name in _PATHS},
                "images": {"type": "list", "elements": "dict", "default": []},
                "timeout": {"type": "int", "default": 180},
                "link": {"type": "str"},
                "remove": {"type": "list", "elements": "path", "default": []},
            },
            required_if=[("state", "stopped", ["link"]), ("state", "absent", ["link"])],
        )
        places = Places(args["name"], **{name: Path(args[name]) for name in _PATHS})
        node = Node(places, lambda text: self._display.display(f"embedded cluster {args['name']}: {text}"))
        try:
            return self._started(node, args) if args["state"] == "started" else self._stopped(node, args)
        except PlatformError as error:
            raise AnsibleActionFail(str(error)) from error

    def _started(self, node: Node, args: dict[str, Any]) -> dict[str, Any]:
        running = node.running()
        images = [NodeImage(**image) for image in args["images"]]
        if self._task.check_mode:
            missing = [image.name for image in node.missing_images(images)] if running else [image.name for image in images]
            return {"changed": not running or bool(missing), "running": running, "restarted": [], "imported": missing}
        restarted = node.update() if running else []
        if not running:
            node.start()
        imported = list(follow(node, images, args["timeout"]))
        return {"changed": bool(not running or restarted or imported), "running": True, "restarted": restarted, "imported": imported}

    def _stopped(self, node: Node, args: dict[str, Any]) -> dict[str, Any]:
        running = node.running()
        doomed = [path for path in map(Path, args["remove"]) if path.exists()] if args["state"] == "absent" else []
        if not self._task.check_mode:
            if running:
                node.stop()
            node.clean(args["link"])
            for path in doomed:
                shutil.rmtree(path)
            if args["state"] == "absent" and node.places.kubeconfig.exists():
                node.places.kubeconfig.unlink()
        return {"changed": running or bool(doomed), "running": False, "restarted": [], "imported": []}
