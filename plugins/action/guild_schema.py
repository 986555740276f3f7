# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a module that works on many guilds and shows its progress: one line a second, while it works on this machine."""

from __future__ import annotations

import json
import tempfile
import threading
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.dcm.platform.plugins.module_utils._guild_progress import EVERY_SECONDS, event_lines

display = Display()


class Follower:
    """Shows each new line of a progress file until told to stop."""

    def __init__(self, file: Path, module: str) -> None:
        self._file = file
        self._module = module
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        with self._file.open(encoding="utf-8") as lines:
            last = False
            while not last:
                last = self._stop.wait(EVERY_SECONDS / 4)
                for line in lines:
                    for text in event_lines(json.loads(line), self._module):
                        display.display(f"  {text}")


class ActionModule(ActionBase):
    """The module does the work; a remote one works without the display."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if arguments.get("progress_file") or self._connection.transport != "local":
            return {**result, **self._execute_module(module_args=arguments, task_vars=task_vars)}
        module = str(self._task.action).rpartition(".")[2]
        with tempfile.TemporaryDirectory(prefix=f"{module}-") as folder:
            file = Path(folder) / "progress"
            file.touch()
            arguments["progress_file"] = str(file)
            with Follower(file, module):
                return {**result, **self._execute_module(module_args=arguments, task_vars=task_vars)}
