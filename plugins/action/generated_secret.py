# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets with generated keys, many in one call; an action plugin, because a module would take ten times as long to start."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._generated_secret import describe_diff
from ansible_collections.dcm.platform.plugins.module_utils._secret_store import converge

COPY = {
    "namespace": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "keys": {"type": "dict", "required": True, "no_log": False},
}
SECRET = {
    "namespace": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "keys": {"type": "dict", "default": {}, "no_log": False},
    "public_values": {"type": "dict", "default": {}},
    "secret_values": {"type": "dict", "default": {}, "no_log": True},
    "required_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "adopt": {"type": "str", "default": ""},
    "copies": {"type": "list", "elements": "dict", "default": [], "options": COPY},
}
ARGUMENT_SPEC = {
    "kubeconfig": {"type": "path", "required": True},
    "context": {"type": "str", "default": ""},
    "secrets": {"type": "list", "elements": "dict", "required": True, "options": SECRET, "no_log": False},
    "rotate": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ActionBase):
    """See plugins/modules/generated_secret.py for the documentation."""

    _supports_check_mode = True
    _supports_diff = True
    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        try:
            changes = converge(args["kubeconfig"], args["context"], args["secrets"], args["rotate"], bool(self._task.check_mode))
        except PlatformError as error:
            raise AnsibleActionFail(str(error)) from error
        result = {"changed": bool(changes), "secrets": [change.describe() for change in changes]}
        return {**result, "diff": describe_diff(changes)} if self._task.diff else result
