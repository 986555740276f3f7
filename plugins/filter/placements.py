# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The database servers of a site, with all that follows from what the inventory says."""

from __future__ import annotations

DOCUMENTATION = r"""
name: placements
short_description: Complete the database servers of a site
version_added: "0.1.0"
description:
  - Returns a list with one dictionary for each placement, in the order of the inventory, with the keys name, host, port, database,
    admin_secret (namespace/name), access, ssl_mode, login (options of the guild modules), named_login (the same, with the name), peers
    (for network policies), server (host, port and dbname) and pooled_as (the name of its database at the pooler).
  - A placement that names no host is the server of the site itself.
options:
  _input:
    description: What the inventory says of each placement, by its name.
    type: dict
    required: true
  site:
    description: Values for keys that a placement does not name.
    type: dict
    required: true
  default:
    description: A name that has to be among the placements.
    type: str
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Show the servers
  ansible.builtin.debug:
    msg: "{{ {'default': {}, 'second': {'host': 'pg2.example'}} | dcm.platform.placements({'host': 'pg1.example', 'port': 5432}) }}"
"""

RETURN = r"""
_value:
  description: The placements.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._placements import complete


def placements(given: Mapping[str, Any], site: Mapping[str, Any], default: str | None = None) -> list[dict[str, Any]]:
    """See DOCUMENTATION."""
    try:
        return complete(given, site, default)
    except (PlatformError, AttributeError) as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, Any]]]]:
        return {"placements": placements}
