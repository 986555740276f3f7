# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Issuers of certificates as objects."""

from __future__ import annotations

DOCUMENTATION = r"""
name: issuer_objects
short_description: Turn issuers of certificates into objects of cert-manager
version_added: "0.1.0"
description:
  - Returns a ClusterIssuer for each entry, and what belongs to it - the certificate of a private authority, or the service account that
    logs in to Vault.
options:
  _input:
    description:
      - Issuers by name, each with C(kind).
      - C(private_ca) takes C(common_name), C(duration) and C(renew_before).
      - C(acme) takes C(server), C(email), C(solvers) and C(eab). A solver is C(http01) without
        content for the platform's own ingress, or has
        C(http01) or C(dns01) as cert-manager takes it, and may have a C(selector).
      - C(vault) takes C(server), C(path) (of the PKI engine's sign endpoint), C(role), C(auth_path), C(service_account), C(audiences)
        and C(ca_secret) (C(name) and C(key) of a Secret with the authority of Vault).
    type: dict
    required: true
  namespace:
    description: Namespace of cert-manager.
    type: str
    required: true
  controller:
    description: Service account of its controller.
    type: str
    default: cert-manager
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Show the objects of a private authority
  ansible.builtin.debug:
    msg: "{{ {'dcm-ca': {'kind': 'private_ca'}} | dcm.platform.issuer_objects('cert-manager') }}"
"""

RETURN = r"""
_value:
  description: The objects.
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.dcm.platform.plugins.module_utils import _issuers
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError


def issuer_objects(issuers: dict[str, Any], namespace: str, controller: str = "cert-manager") -> list[dict[str, Any]]:
    """See DOCUMENTATION."""
    try:
        return _issuers.issuer_objects(issuers, namespace, controller)
    except PlatformError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, Any]]]]:
        return {"issuer_objects": issuer_objects}
