# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is unsafe about the settings of a pooler."""

from __future__ import annotations

DOCUMENTATION = r"""
name: pooler_problems
short_description: Name the settings of PgBouncer that could leak or run out of connections
version_added: "0.1.0"
description:
  - Returns one sentence for each setting that could serve one guild's rows to another, and for each sum of connections that does not fit.
  - An empty list means that nothing was found.
options:
  _input:
    description: Settings of C(pgbouncer.ini), section C([pgbouncer]), as text.
    type: dict
    required: true
  databases:
    description: Section C([databases]), each with its options.
    type: dict
    required: true
  max_connections:
    description: The setting of Postgres.
    type: int
    required: true
  replicas:
    description: Pods of the pooler.
    type: int
    default: 1
  clients:
    description: Connections that the pools of all services may open together.
    type: int
    default: 0
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Show what is unsafe
  ansible.builtin.debug:
    msg: "{{ {'pool_mode': 'session'} | dcm.platform.pooler_problems({'dcm': {'host': 'postgres'}}, max_connections=100) }}"
"""

RETURN = r"""
_value:
  description: The problems.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.dcm.platform.plugins.module_utils._pooler import Budget, problems


def pooler_problems(
    settings: Mapping[str, Any], databases: Mapping[str, Any], max_connections: Any, replicas: Any = 1, clients: Any = 0
) -> list[str]:
    """See DOCUMENTATION."""
    try:
        budget = Budget(int(max_connections), int(replicas), len(databases), int(clients))
        return problems({name: str(value) for name, value in settings.items()}, databases, budget)
    except (ValueError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"pooler_problems: a value is not what it should be: {error}") from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"pooler_problems": pooler_problems}
