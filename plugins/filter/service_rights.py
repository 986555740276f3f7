# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a catalogue of services may read in Vault."""

from __future__ import annotations

DOCUMENTATION = r"""
name: service_rights
short_description: Turn a catalogue of services into policies and logins of Vault
version_added: "0.1.0"
description:
  - Returns a tree for M(dcm.platform.vault_config). Each service that names C(secrets) gets a policy that reads exactly these, and a role
    that takes tokens of its service account, and of its canary's.
options:
  _input:
    description: Services by name, as P(dcm.platform.service_releases#filter) takes them.
    type: dict
    required: true
  site:
    description: What the releases have in common, as P(dcm.platform.service_releases#filter) takes it, with C(vault).
    type: dict
    required: true
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Show who may read what
  ansible.builtin.debug:
    msg: "{{ catalog | dcm.platform.service_rights(site) }}"
  vars:
    catalog:
      gateway: {http: true, secrets: [postgres-password]}
    site:
      namespace: dcm-services
      chart: charts/dcm-service
      image: {repository: dcm.example/service, tag: 1.4.2}
      secret: dcm-service
      replicas: 2
      timeout: 5m
      env: {}
      vault: {path: dcm/data/credentials, authMount: jwt, audience: vault}
"""

RETURN = r"""
_value:
  description: The tree, with C(auth) and C(policies).
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.dcm.platform.plugins.filter.service_releases import with_site
from ansible_collections.dcm.platform.plugins.module_utils._service_releases import rights


def service_rights(catalog: dict[str, Any], site: dict[str, Any]) -> dict[str, Any]:
    """See DOCUMENTATION."""
    found: dict[str, Any] = with_site(rights, catalog, site)
    return found


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"service_rights": service_rights}
