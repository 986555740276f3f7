# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compares a chart lock with the chart repositories on the controller, and fills it in."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.dcm.platform.plugins.module_utils._chart_lock import (
    ChartSource,
    changed_lock,
    chosen,
    lock_change,
    read_lock,
)
from ansible_collections.dcm.platform.plugins.module_utils._chart_packages import fetch
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._helm_cli import Helm

ARGUMENTS = {
    "lock_file": {"type": "path", "required": True},
    "names": {"type": "list", "elements": "str"},
    "accept": {"type": "list", "elements": "str", "default": []},
    "verify_only": {"type": "bool", "default": False},
    "binary_path": {"type": "path", "default": "helm"},
}


class ActionModule(ActionBase):
    """See plugins/modules/chart_lock.py for the documentation."""

    _supports_check_mode = True
    _supports_diff = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _checked, options = self.validate_argument_spec(argument_spec=ARGUMENTS)
        try:
            return self._converge(options)
        except (PlatformError, OSError) as error:
            raise AnsibleActionFail(f"chart_lock: {error}") from error

    def _converge(self, options: dict[str, Any]) -> dict[str, Any]:
        path = Path(options["lock_file"])
        before = path.read_text(encoding="utf-8")
        charts = chosen(read_lock(before, str(path)), options["names"])
        helm = Helm(options["binary_path"], "", "")
        self._display.display(f"chart_lock: pulling {len(charts)} charts")
        with tempfile.TemporaryDirectory(prefix="chart-lock-") as fresh:
            packages, problems = fetch(helm, charts, ChartSource(), Path(fresh), check=False)
        changes: dict[str, dict[str, str]] = {}
        verified = []
        for package in packages:
            try:
                change = lock_change(package.chart, package.found, package.chart.name in options["accept"])
                changes |= {package.chart.name: change} if change else {}
                verified += [package.chart.name] if package.found.sha256 == package.chart.sha256 else []
            except PlatformError as error:
                problems.append(str(error))
        after = before if options["verify_only"] else changed_lock(before, changes)
        if after != before and not self._task.check_mode:
            read_lock(after, str(path))
            path.write_text(after, encoding="utf-8")
        unlocked = [chart.name for chart in charts if not chart.sha256 and (options["verify_only"] or chart.name not in changes)]
        result = {"changed": after != before, "changes": changes, "unlocked": unlocked, "verified": verified, "problems": problems}
        if self._task.diff:
            result["diff"] = {"before": before, "after": after, "before_header": str(path), "after_header": str(path)}
        if problems:
            result |= {"failed": True, "msg": "\n".join(problems)}
        return result
