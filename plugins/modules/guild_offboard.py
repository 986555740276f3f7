#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The end of guilds: requested, taken back, or erased with a certificate."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guild_offboard
short_description: The end of guilds, requested, taken back, or erased with a certificate
version_added: 0.1.0
author: DCM platform engineers (@dcm)
description:
  - A guild that leaves is suspended at once and erased after a grace period, in which it can be taken back.
  - Erasing asks for a whole archive that was taken after the guild was suspended, and ends in a certificate for each guild. It says
    what was removed, and what the server still knows of the guild, which has to be nothing.
  - If one of the guilds may not be erased, none is.
options:
  state:
    description:
      - V(requested) suspends the guilds and books their end. The first request counts, a second one does not move the day.
      - V(cancelled) takes the request back and the guilds into service again.
      - V(erased) erases guilds whose grace period is over.
    type: str
    default: requested
    choices: [requested, cancelled, erased]
  guilds:
    description: Ids of the guilds.
    type: list
    elements: str
    default: []
  guilds_file:
    description: A CSV, JSON or YAML file with more of them, as for M(dcm.platform.guild_schema).
    type: path
  migrations_dir:
    description: Folder with the migrations of a guild.
    type: path
    required: true
  control_migrations_dir:
    description: Folder with the migrations of the control schema, brought up to date first.
    type: path
  reason:
    description: Why, for the audit log and the certificate. At most 200 characters.
    type: str
    default: the guild left
  grace_days:
    description: Days from the request to the day from which on the guild may be erased.
    type: int
    default: 30
  skip_grace:
    description: Erase before the grace period is over.
    type: bool
    default: false
  archive_dir:
    description: Folder of archives as M(dcm.platform.guild_archive) writes them. Erasing needs one for each guild.
    type: path
  export:
    description: Write the archives right before erasing, in place of older ones of the same guilds.
    type: bool
    default: true
  without_archive:
    description: Erase without an archive. Nothing brings the data back but a backup of the whole.
    type: bool
    default: false
  certificate_dir:
    description: Folder of the certificates. Needed to erase.
    type: path
  service_role:
    description: Login role of the services.
    type: str
    default: dcm_service
extends_documentation_fragment:
  - dcm.platform.guild_connection
attributes:
  check_mode:
    description: Refuses what would be refused, and changes nothing.
    support: full
  diff_mode:
    description: Not supported.
    support: none
"""

EXAMPLES = r"""
- name: Book the end of a guild
  dcm.platform.guild_offboard:
    login_host: "{{ postgres_host }}"
    login_port: "{{ postgres_port }}"
    login_password: "{{ postgres_password }}"
    migrations_dir: "{{ guild_migrations }}"
    guilds: ["1100000000000000001"]
    reason: owner asked by mail

- name: Take it back
  dcm.platform.guild_offboard:
    login_host: "{{ postgres_host }}"
    login_port: "{{ postgres_port }}"
    login_password: "{{ postgres_password }}"
    migrations_dir: "{{ guild_migrations }}"
    guilds: ["1100000000000000001"]
    state: cancelled
"""

RETURN = r"""
guilds:
  description: One entry for each guild, with the keys id, state (of the registry), reason, requested_at and erase_after.
  returned: always
  type: list
  elements: dict
certificates:
  description:
    - For each erased guild what was removed, what remains (nothing, or the run fails), which archive was kept, what was not looked at,
      and the file that says so.
  returned: always
  type: list
  elements: dict
failure:
  description: What went wrong, in one line; empty when all is well.
  returned: always
  type: str
"""

import getpass
import uuid
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dcm.platform.plugins.module_utils import _guild_args as args
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "default": "requested", "choices": ["requested", "cancelled", "erased"]},
    "guilds": {"type": "list", "elements": "str", "default": []},
    "guilds_file": {"type": "path"},
    "migrations_dir": {"type": "path", "required": True},
    "control_migrations_dir": {"type": "path"},
    "reason": {"type": "str", "default": "the guild left"},
    "grace_days": {"type": "int", "default": 30},
    "skip_grace": {"type": "bool", "default": False},
    "archive_dir": {"type": "path"},
    "export": {"type": "bool", "default": True},
    "without_archive": {"type": "bool", "default": False},
    "certificate_dir": {"type": "path"},
    "service_role": {"type": "str", "default": "dcm_service"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={**ARGUMENTS, **args.CONNECTION_OPTIONS},
        required_if=[("state", "erased", ("certificate_dir",))],
        supports_check_mode=True,
    )
    try:
        args.require_psycopg()
        from ansible_collections.dcm.platform.plugins.module_utils import _guild_ending as ending

        with args.open_access(module.params) as access:
            result = ending.end(module.params, access, str(uuid.uuid4()), getpass.getuser(), module.check_mode)
    except PlatformError as problem:
        module.fail_json(msg=str(problem))
    if result["failure"]:
        module.fail_json(msg=result["failure"], **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
