# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs on the controller before anything else of a playbook: refuses a run that is not meant for this site, or not now."""

from __future__ import annotations

import os
from typing import Any

import yaml
from ansible.errors import AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.dcm.platform.plugins.module_utils import _guard as rules
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guard_lock import current_run
from ansible_collections.dcm.platform.plugins.module_utils._guard_site import SiteGuard, refuse
from ansible_collections.dcm.platform.plugins.module_utils._guard_software import COLLECTION, software_problems

display = Display()
ARGUMENTS = {"access": {"type": "str", "choices": ["read", "change", "destroy"], "default": "change"}}


class ActionModule(ActionBase):
    """One task, one message."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(ARGUMENTS)
        try:
            site = valid_site(task_vars or {})
            guard = SiteGuard(site, arguments["access"], current_run(os.getppid()), check_mode=bool(self._task.check_mode))
            result.update(changed=False, **guard.check(ask, display.display))
        except PlatformError as error:
            result.update(failed=True, msg=str(error))
        return result


def ask(prompt: str) -> str:
    """What is typed; nothing where nobody can type."""
    try:
        return bytes(display.prompt_until(prompt)).decode(errors="replace").strip()
    except (AnsiblePromptInterrupt, AnsiblePromptNoninteractive, OSError):  # OSError: a terminal that is not ours
        return ""


def valid_site(variables: dict[str, Any]) -> dict[str, Any]:
    """The inputs of the site; or all that is wrong with them, and with the software, at once."""
    hosts = variables["groups"].get("platform", [])
    refuse("", rules.inventory_problems(variables.get("ansible_inventory_sources") or [], hosts))
    host = variables["hostvars"][hosts[0]]
    values, problems = read_inputs(host)
    environment = str(values.get("platform_environment", ""))
    problems += rules.environment_problems(environment, str(host.get("inventory_dir") or ""))
    problems += rules.value_problems(values)
    problems += rules.policy_problems(environment, str(values.get("platform_confirmation", "")))
    refuse(str(values.get("platform_site_id", "")), problems + software_problems())
    return values


def read_inputs(host: Any) -> tuple[dict[str, Any], list[str]]:
    """The inputs as the argument specs of role guard name them, and what does not fit there."""
    text = (COLLECTION / "roles/guard/meta/argument_specs.yml").read_text(encoding="utf-8")
    options = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    specs = {name: spec for name, spec in options.items() if name.startswith("platform_")}
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name in specs:
        try:
            if name in host:
                values[name] = host[name]
        except Exception as error:  # noqa: BLE001 - whatever a template in an inventory may raise
            problems[name] = f"{name} cannot be computed: {error}"
    validated = ArgumentSpecValidator({name: spec for name, spec in specs.items() if name not in problems}).validate(values)
    return {**values, **validated.validated_parameters}, list(problems.values()) + list(validated.error_messages)
