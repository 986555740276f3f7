# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Times the phases of a run."""

from __future__ import annotations

DOCUMENTATION = r"""
name: run_report
type: aggregate
short_description: Time the phases of a run
version_added: "0.1.0"
description:
  - Prints at the end how long each play took and how much it changed, and writes the same as JSON where a file is named.
requirements:
  - Enable it in C(callbacks_enabled).
options:
  file:
    description: File that the report of the run is written to, mode 0600. None when it is not set.
    type: path
    env:
      - name: DCM_RUN_REPORT
    ini:
      - section: callback_run_report
        key: file
author:
  - DCM platform engineers (@dcm)
"""

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible_collections.dcm.platform.plugins.module_utils._run_report import Phases, table


class CallbackModule(CallbackBase):
    """Counts and measures."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "dcm.platform.run_report"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._phases = Phases()
        self._playbook = ""

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._playbook = Path(playbook._file_name).name  # noqa: SLF001 - there is no other way to its name

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._phases.begin(play.get_name(), time.monotonic())

    def v2_runner_on_ok(self, result: Any) -> None:
        self._phases.task(changed=result.is_changed())

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        del result
        self._phases.task(failed=not ignore_errors)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        del stats
        self._phases.end(time.monotonic())
        report = self._phases.report()
        if report:
            self._display.display(f"\n{table(report)}\n")
        if path := self.get_option("file"):
            self._write(Path(path), report)

    def _write(self, path: Path, report: list[dict[str, Any]]) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}-{os.getpid()}")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump({"playbook": self._playbook, "phases": report}, file, indent=1)
        new.replace(path)
