# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs on the controller: secrets in Vault's key-value store."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._vault_args import CONNECTION, place_arguments

SECRET = {
    "path": {"type": "str", "required": True},
    "generate": {"type": "dict", "default": {}},
    "adopt": {"type": "dict", "default": {}, "no_log": False},
    "from_secrets": {"type": "dict", "default": {}, "no_log": False},
    "values": {"type": "dict", "default": {}, "no_log": True},
    "required": {"type": "list", "elements": "str", "default": []},
}
ARGUMENT_SPEC = {
    **CONNECTION,
    "mount": {"type": "str", "default": "dcm"},
    "secrets": {"type": "list", "elements": "dict", "required": True, "options": SECRET, "no_log": False},
}


class ActionModule(ActionBase):
    """See plugins/modules/vault_secrets.py for the documentation."""

    _supports_check_mode = True
    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        # hvac and requests take a while to load: only in the tasks that need them.
        from ansible_collections.dcm.platform.plugins.module_utils._vault_api import Place
        from ansible_collections.dcm.platform.plugins.module_utils._vault_secrets import converge

        try:
            changes = converge(Place(**place_arguments(args)), args["mount"], args["secrets"], bool(self._task.check_mode))
        except PlatformError as error:
            raise AnsibleActionFail(str(error)) from error
        return {"changed": bool(changes), "secrets": [change.describe() for change in changes]}
