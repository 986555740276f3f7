# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs on the controller: compares the wanted configuration of Vault with what is there, and makes it so."""

from __future__ import annotations

import json
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._vault_args import CONNECTION, place_arguments
from ansible_collections.dcm.platform.plugins.module_utils._vault_plan import PRUNABLE, Step

ARGUMENT_SPEC = {
    **CONNECTION,
    "config": {"type": "dict", "required": True, "no_log": False},
    "prune": {"type": "list", "elements": "str", "choices": list(PRUNABLE), "default": []},
    "fingerprints": {"type": "str", "default": "dcm/platform/fingerprints"},
}


class ActionModule(ActionBase):
    """See plugins/modules/vault_config.py for the documentation."""

    _supports_check_mode = True
    _supports_diff = True
    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        try:
            steps = self._converge(args)
        except PlatformError as error:
            raise AnsibleActionFail(str(error)) from error
        result = {"changed": bool(steps), "steps": [step.describe() for step in steps]}
        return {**result, "diff": [show(step) for step in steps]} if self._task.diff else result

    def _converge(self, args: dict[str, Any]) -> list[Step]:
        # hvac and requests take a while to load: only in the tasks that need them.
        from ansible_collections.dcm.platform.plugins.module_utils._vault_api import Place
        from ansible_collections.dcm.platform.plugins.module_utils._vault_config import converge

        place, dry = Place(**place_arguments(args)), bool(self._task.check_mode)
        return converge(place, args["config"], args["prune"], args["fingerprints"], dry)


def show(step: Step) -> dict[str, str]:
    """Fields before and after. Secrets were replaced when the step was planned."""
    # Through JSON: Ansible's own kinds of text have no form in YAML.
    sides = {"before": json.loads(json.dumps(step.before)), "after": json.loads(json.dumps(step.after))}
    return {side: yaml.safe_dump(fields) if fields else "" for side, fields in sides.items()} | {
        f"{side}_header": step.label for side in sides
    }
