# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waits for a restore, with progress, and says why one failed."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_kube import Kubectl
from ansible_collections.dcm.platform.plugins.module_utils._pgbackrest_pod import Restored

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "release": {"type": "str", "required": True},
    "restore_id": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "timeout": {"type": "float", "default": 3600.0},
    "kubectl": {"type": "path", "default": "kubectl"},
    "kubeconfig": {"type": "path"},
    "context": {"type": "str", "default": ""},
}


class ActionModule(ActionBase):
    """See plugins/modules/restored_server.py for the documentation."""

    _supports_check_mode = True
    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        if self._task.check_mode:
            return {"changed": False, "seconds": 0.0}
        kubectl = Kubectl(args["kubectl"], args["kubeconfig"], args["context"] or None)
        restored = Restored(
            kubectl, args["namespace"], args["release"], args["restore_id"], lambda line: self._display.display(f"  {line}")
        )
        try:
            return {"changed": False, "seconds": round(restored.wait(args["timeout"]), 1)}
        except PlatformError as error:
            raise AnsibleActionFail(str(error)) from error
