#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Example data for guilds of developers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guild_seed
short_description: Example data for guilds of developers
version_added: 0.1.0
author: DCM platform engineers (@dcm)
description:
  - Applies seeds to the named guilds, each seed once per guild, as the guild's owner role and inside its schema.
  - A seed is a file as a migration is one. It is booked in C(dcm.guild_seed) and in the audit log.
  - Each guild is a transaction of its own; one that fails gets nothing, and the others go on.
options:
  guilds:
    description: Ids of the guilds. There is no way to name all of them.
    type: list
    elements: str
    default: []
  guilds_file:
    description: A CSV, JSON or YAML file with more of them, as for M(dcm.platform.guild_schema).
    type: path
  seeds_dir:
    description: Folder with the seeds, in dbmate's format.
    type: path
    required: true
  environment:
    description: The site's environment. In V(production) seeds are refused.
    type: str
    required: true
    choices: [local, dev, staging, production]
extends_documentation_fragment:
  - dcm.platform.guild_connection
attributes:
  check_mode:
    description: Says which seeds would be applied.
    support: full
  diff_mode:
    description: Not supported.
    support: none
"""

EXAMPLES = r"""
- name: Give a guild something to look at
  dcm.platform.guild_seed:
    login_host: "{{ postgres_host }}"
    login_port: "{{ postgres_port }}"
    login_password: "{{ postgres_password }}"
    guilds: ["1100000000000000001"]
    seeds_dir: "{{ guild_seeds }}"
    environment: local
"""

RETURN = r"""
guilds:
  description: One entry for each guild, with the keys id, seeds (versions that were applied now) and error.
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
from ansible_collections.dcm.platform.plugins.module_utils import _guild_input as source
from ansible_collections.dcm.platform.plugins.module_utils import _guild_migrations as migrations
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

ARGUMENTS: dict[str, dict[str, Any]] = {
    "guilds": {"type": "list", "elements": "str", "default": []},
    "guilds_file": {"type": "path"},
    "seeds_dir": {"type": "path", "required": True},
    "environment": {"type": "str", "required": True, "choices": ["local", "dev", "staging", "production"]},
}


def work(options: dict[str, Any], check: bool) -> dict[str, Any]:
    args.require_psycopg()
    from ansible_collections.dcm.platform.plugins.module_utils import _guild_seed as seed

    seeds = migrations.read_migrations(options["seeds_dir"])
    seed.refuse(options["environment"], seeds)
    ids = source.read_ids(options["guilds"], options["guilds_file"])
    with args.open_access(options) as access:
        return seed.run(access, ids, seeds, str(uuid.uuid4()), getpass.getuser(), check)


def main() -> None:
    module = AnsibleModule(argument_spec={**ARGUMENTS, **args.CONNECTION_OPTIONS}, supports_check_mode=True)
    try:
        result = work(module.params, module.check_mode)
    except PlatformError as problem:
        module.fail_json(msg=str(problem))
    if result["failure"]:
        module.fail_json(msg=result["failure"], **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
