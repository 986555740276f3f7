# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs on the controller: the certificate of Vault."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._vault_tls import Certificate, converge

ARGUMENT_SPEC = {
    "kubeconfig": {"type": "path", "required": True},
    "context": {"type": "str", "default": ""},
    "namespace": {"type": "str", "required": True},
    "service": {"type": "str", "default": "vault"},
    "secret": {"type": "str", "default": "vault-tls", "no_log": False},
    "issued_elsewhere": {"type": "bool", "default": False},
    "bundle": {"type": "str", "default": "vault-ca"},
    "bundle_namespaces": {"type": "list", "elements": "str", "default": []},
    "renew_days": {"type": "int", "default": 30},
}
OF_THE_CERTIFICATE = ("namespace", "service", "secret", "bundle", "bundle_namespaces", "renew_days")


class ActionModule(ActionBase):
    """See plugins/modules/vault_tls.py for the documentation."""

    _supports_check_mode = True
    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        certificate = Certificate(**{name: args[name] for name in OF_THE_CERTIFICATE})
        try:
            written, revision = converge(
                args["kubeconfig"], args["context"], certificate, args["issued_elsewhere"], bool(self._task.check_mode)
            )
        except PlatformError as error:
            raise AnsibleActionFail(str(error)) from error
        return {"changed": bool(written), "written": written, "revision": revision}
