# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of the Vault plugins for reaching a server; their documentation is in doc_fragments/vault_connection.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_kube import REFERENCE

CONNECTION: dict[str, Any] = {
    "url": {"type": "str", "default": ""},
    "kubeconfig": {"type": "path", "default": ""},
    "context": {"type": "str", "default": ""},
    "kubectl": {"type": "path", "default": "kubectl"},
    "service": {"type": "str", "default": "vault/vault"},
    "port": {"type": "int", "default": 8200},
    "access": {"type": "str", "choices": ["direct", "port_forward"], "default": "direct"},
    "ca_file": {"type": "path", "default": ""},
    "ca_secret": {"type": "str", "default": "vault/vault-tls", "no_log": False},
    "login_mount": {"type": "str", "default": "jwt"},
    "login_role": {"type": "str", "default": "dcm-admin"},
    "login_account": {"type": "str", "default": "vault/dcm-vault-admin"},
}


def place_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of Place, checked."""
    for name in ("service", "ca_secret", "login_account"):
        if not REFERENCE.fullmatch(options[name]):
            raise PlatformError(f"{name}: {options[name]!r} is not of the form namespace/name")
    return {name: options[name] or "" for name in CONNECTION} | {"port": options["port"]}
