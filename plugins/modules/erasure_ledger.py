#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ledger of erased guilds, over a restore."""

from __future__ import annotations

DOCUMENTATION = r"""
module: erasure_ledger
short_description: Keep the ledger of erased guilds over a restore, and erase again who came back with it
version_added: 0.1.0
author: DCM platform engineers (@dcm)
description:
  - A database that was restored to an earlier point has forgotten who was erased since, and holds their data again.
  - Keeps a copy of the ledger in the folder of the certificates, which only ever grows, and erases again after a restore.
  - What is replayed is the union of that copy and the certificates, less what the restored database knows by itself.
options:
  state:
    description:
      - V(saved) brings the copy up to date with the server.
      - V(replayed) erases again, and puts the forgotten rows into the ledger of the server.
    type: str
    default: saved
    choices: [saved, replayed]
  directory:
    description: Folder of the certificates and of the copy, on the host where the module runs.
    type: path
    required: true
  migrations_dir:
    description: Folder with the migrations of a guild.
    type: path
    required: true
  control_migrations_dir:
    description: Folder with the migrations of the control schema, for O(state=replayed) brought up to date first.
    type: path
  service_role:
    description: Login role of the services.
    type: str
    default: dcm_service
extends_documentation_fragment:
  - dcm.platform.guild_connection
attributes:
  check_mode:
    description: Tells what would be saved or erased.
    support: full
  diff_mode:
    description: Not supported.
    support: none
"""

EXAMPLES = r"""
- name: Keep what the server knows of erased guilds
  dcm.platform.erasure_ledger:
    login_host: "{{ postgres_host }}"
    login_port: "{{ postgres_port }}"
    login_password: "{{ postgres_password }}"
    migrations_dir: "{{ guild_migrations }}"
    directory: "{{ reports }}/erasures"
"""

RETURN = r"""
erasures:
  description: How many erasures are known.
  returned: success
  type: int
erased_guilds:
  description: Ids of the guilds that were erased, each once.
  returned: success
  type: list
  elements: str
replayed:
  description: Guilds that were erased again.
  returned: success
  type: list
  elements: str
forgotten:
  description: Erasures that the server did not know any more.
  returned: success
  type: int
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
    "state": {"type": "str", "default": "saved", "choices": ["saved", "replayed"]},
    "directory": {"type": "path", "required": True},
    "migrations_dir": {"type": "path", "required": True},
    "control_migrations_dir": {"type": "path"},
    "service_role": {"type": "str", "default": "dcm_service"},
}


def main() -> None:
    module = AnsibleModule(argument_spec={**ARGUMENTS, **args.CONNECTION_OPTIONS}, supports_check_mode=True)
    try:
        args.require_psycopg()
        from ansible_collections.dcm.platform.plugins.module_utils import _erasure_runs as runs

        with args.open_access(module.params) as access:
            result = runs.run(module.params, access, str(uuid.uuid4()), getpass.getuser(), module.check_mode)
    except PlatformError as problem:
        module.fail_json(msg=str(problem), failure=str(problem))
    if result["failure"]:
        module.fail_json(msg=result["failure"], **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
