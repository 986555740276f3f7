#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: dns_owners
short_description: Refuse host names whose DNS records belong to another cluster
version_added: 0.1.0
description:
  - Asks the DNS for the TXT records in which external-dns writes who owns a name, and fails when it is somebody else.
  - Two clusters that look after the same names would take them from each other for ever.
options:
  hosts:
    description: Host names.
    type: list
    elements: str
    required: true
  owner:
    description: Who may own them.
    type: str
    required: true
  nameservers:
    description: Addresses of the name servers to ask; those of the machine when left out.
    type: list
    elements: str
    default: []
  port:
    description: Their port.
    type: int
    default: 53
attributes:
  check_mode:
    description: Only asks.
    support: full
  diff_mode:
    description: Nothing to show.
    support: none
requirements:
  - dnspython
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Refuse names that belong to another cluster
  dcm.platform.dns_owners:
    hosts: [api.example.org, app.example.org]
    owner: production
"""

RETURN = r"""
owners:
  description: The owner of each name that has one.
  returned: always
  type: dict
  sample: {api.example.org: production}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError


def main() -> None:
    """Ask, and compare."""
    module = AnsibleModule(
        argument_spec={
            "hosts": {"type": "list", "elements": "str", "required": True},
            "owner": {"type": "str", "required": True},
            "nameservers": {"type": "list", "elements": "str", "default": []},
            "port": {"type": "int", "default": 53},
        },
        supports_check_mode=True,
    )
    # The client library is loaded in this task alone.
    from ansible_collections.dcm.platform.plugins.module_utils._dns_owners import owners, resolver

    options = module.params
    try:
        found = owners(options["hosts"], resolver(options["nameservers"], options["port"]))
    except PlatformError as error:
        module.fail_json(msg=str(error))
    if foreign := {host: owner for host, owner in found.items() if owner != options["owner"]}:
        names = ", ".join(f"{host} (owner {owner})" for host, owner in foreign.items())
        module.fail_json(
            msg=f"DNS names of this site belong to somebody else: {names}; this site is {options['owner']}. Give the site another domain, "
            "or end the other cluster's claim: remove its external-dns and then these TXT records",
            owners=found,
        )
    module.exit_json(changed=False, owners=found)


if __name__ == "__main__":
    main()
