# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Base backups from the controller, with progress while they are made."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.dcm.platform.plugins.module_utils import _pgbackrest_pod as pods
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_kube import Kubectl
from ansible_collections.dcm.platform.plugins.module_utils._pgbackrest import some

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "default": "described", "choices": ["described", "made", "verified"]},
    "type": {"type": "str", "default": "incr", "choices": ["full", "diff", "incr"]},
    "backup": {"type": "str", "default": ""},
    "last_wal": {"type": "str", "default": ""},
    "read_all": {"type": "bool", "default": True},
    "namespace": {"type": "str", "required": True},
    "pod": {"type": "str", "default": "postgres-0"},
    "container": {"type": "str", "default": "backup"},
    "kubectl": {"type": "path", "default": "kubectl"},
    "kubeconfig": {"type": "path"},
    "context": {"type": "str", "default": ""},
}


class ActionModule(ActionBase):
    """See plugins/modules/pgbackrest.py for the documentation."""

    _supports_check_mode = True
    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        check = bool(self._task.check_mode)
        if check and args["kubeconfig"] and not Path(args["kubeconfig"]).exists():
            return {"changed": args["state"] == "made", "backups": [], "newest": {}, "problems": [], "seconds": 0.0}
        kubectl = Kubectl(args["kubectl"], args["kubeconfig"], args["context"] or None)
        pod = pods.Pod(kubectl, args["namespace"], args["pod"], args["container"])
        try:
            return work(pods.PgBackRest(pod.command, lambda line: self._display.display(f"  {line}")), args, check)
        except PlatformError as error:
            raise AnsibleActionFail(str(error)) from error


def work(tool: pods.PgBackRest, args: dict[str, Any], check: bool) -> dict[str, Any]:
    """What is asked, then which backups there are."""
    start = time.monotonic()
    made = args["state"] == "made"
    if made and not check:
        tool.back_up(args["type"])
    repository = tool.repository()
    backups = pods.describe(repository.backups)
    result = {"changed": made, "backups": backups, "newest": backups[-1] if backups else {}, "problems": []}
    if args["state"] == "verified":
        backup = repository.labelled(args["backup"]) if args["backup"] else repository.newest
        result["problems"] = tool.verify(backup, args["last_wal"], args["read_all"])
        if result["problems"]:
            result.update(failed=True, msg="the repository would not serve a restore: " + some(result["problems"]))
    return {**result, "seconds": round(time.monotonic() - start, 1)}
