# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a Postgres server for a number of guilds is given."""

from __future__ import annotations

DOCUMENTATION = r"""
name: postgres_sizing
short_description: Settings, memory and disk of a Postgres server for a number of guilds
version_added: "0.1.0"
description:
  - Returns what M(dcm.platform.guild_server_info) measures a server by, as values for a server that is yet to be made.
options:
  _input:
    description: Number of guilds that the site is planned for.
    type: int
    required: true
  max_connections:
    description: The setting of that name.
    type: int
    default: 100
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Show what ten thousand guilds need
  ansible.builtin.debug:
    msg: "{{ 10000 | dcm.platform.postgres_sizing }}"
"""

RETURN = r"""
_value:
  description: C(settings) (texts, as C(postgresql.conf) takes them), C(memory_mb) and C(disk_gb).
  type: dict
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.dcm.platform.plugins.module_utils._guild_capacity import MAX_CONNECTIONS, sizing


def postgres_sizing(guilds: Any, max_connections: Any = MAX_CONNECTIONS) -> dict[str, Any]:
    """See DOCUMENTATION."""
    try:
        number, connections = int(guilds), int(max_connections)
    except (ValueError, TypeError) as error:
        raise AnsibleFilterError(f"postgres_sizing: {guilds!r} guilds and {max_connections!r} connections have to be numbers") from error
    if number < 0 or connections < 1:
        raise AnsibleFilterError(f"postgres_sizing: {number} guilds and {connections} connections: neither may be below 0")
    return asdict(sizing(number, connections))


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"postgres_sizing": postgres_sizing}
