# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs on the controller: brings Vault to initialised, unsealed and open for the administrator."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._vault_args import CONNECTION, place_arguments
from ansible_collections.dcm.platform.plugins.module_utils._vault_seal import Handing

ARGUMENT_SPEC = {
    **CONNECTION,
    "environment": {"type": "str", "required": True},
    "selector": {"type": "str", "default": "app.kubernetes.io/name=vault"},
    "servers": {"type": "int", "default": 1},
    "operators": {"type": "dict", "default": {}},
    "threshold": {"type": "int", "default": 1},
    "key_file": {"type": "path", "default": "", "no_log": False},
    "shares_file": {"type": "path", "required": True},
    "unseal_keys": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "timeout": {"type": "float", "default": 120.0},
}


class ActionModule(ActionBase):
    """See plugins/modules/vault_server.py for the documentation."""

    _supports_check_mode = True
    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        try:
            handing = Handing(args["operators"], args["threshold"], args["key_file"] or "")
            handing.check(args["environment"])
            return self._converge(args, handing)
        except PlatformError as error:
            raise AnsibleActionFail(str(error)) from error

    def _converge(self, args: dict[str, Any], handing: Handing) -> dict[str, Any]:
        # hvac and requests take a while to load: only in the tasks that need them.
        from ansible_collections.dcm.platform.plugins.module_utils._vault_api import Place
        from ansible_collections.dcm.platform.plugins.module_utils._vault_server import Server

        place, dry = Place(**place_arguments(args)), bool(self._task.check_mode)
        server = Server(place, args["selector"], args["servers"], handing, args["shares_file"], args["timeout"], dry)
        done = server.converge(args["unseal_keys"])
        told = {"initialized": done.initialized, "sealed": done.sealed, "shares_file": done.shares_file}
        return {"changed": bool(done.actions), "actions": done.actions, **told}
