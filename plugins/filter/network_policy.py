# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Flows as a NetworkPolicy."""

from __future__ import annotations

DOCUMENTATION = r"""
name: network_policy
short_description: Turn flows into a NetworkPolicy
version_added: "0.1.0"
description:
  - Returns a NetworkPolicy that allows what is named and nothing else, from flows as the first-party charts take them in C(networkPolicy).
options:
  _input:
    description: C(ingress) and C(egress) as lists of rules with C(from) or C(to), C(ports) and C(protocols), and C(dns) with C(ports).
    type: dict
    required: true
  name:
    description: Name of the component; the policy is called after it.
    type: str
    required: true
  namespace:
    description: Its namespace.
    type: str
    required: true
  pods:
    description: Value of the label C(app.kubernetes.io/name) of its pods; the name when left out.
    type: str
    default: ""
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Show a policy
  ansible.builtin.debug:
    msg: "{{ {'egress': [{'to': [{'cidr': '10.0.0.1/32'}], 'ports': [6443]}]} | dcm.platform.network_policy('traefik', 'traefik') }}"
"""

RETURN = r"""
_value:
  description: The NetworkPolicy.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.dcm.platform.plugins.module_utils import _flows
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError


def network_policy(flows: dict[str, Any], name: str, namespace: str, pods: str = "") -> dict[str, Any]:
    """See DOCUMENTATION."""
    try:
        return _flows.network_policy(flows, name, namespace, pods)
    except PlatformError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"network_policy": network_policy}
