#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Mends schemas of guilds that drifted from their migrations."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guild_repair
short_description: Mends schemas of guilds that drifted from their migrations
version_added: 0.1.0
author: DCM platform engineers (@dcm)
description:
  - Finds the guilds that M(dcm.platform.guild_info) calls differing, and makes of each difference a statement, or advice.
  - Done is what loses no data. Rights, default rights, owners, attributes and memberships of roles, defaults and NOT NULL of columns,
    indexes, constraints, views, functions, triggers, policies, settings of tables and sequences.
  - Only told is what could. Tables and columns that are missing, extra or of another type, types, the ledger, and what Postgres refuses.
  - Each guild is mended in a transaction of its own, which is rolled back where the schema then is not what its migrations make.
    Statements and the definitions of what was dropped are kept in the audit log.
options:
  guilds:
    description: Ids of the guilds to look at; not set means all.
    type: list
    elements: str
  guilds_file:
    description: A CSV, JSON or YAML file with more of them, as for M(dcm.platform.guild_schema).
    type: path
  migrations_dir:
    description: Folder with the migrations of a guild.
    type: path
    required: true
  service_role:
    description: Login role of the services; its membership in application roles is no drift.
    type: str
    default: dcm_service
  connections:
    description: Connections to work with.
    type: int
    default: 2
extends_documentation_fragment:
  - dcm.platform.guild_connection
attributes:
  check_mode:
    description:
      - Shows the statements and changes nothing. Rights on views and functions that are made again come to light only once they are there.
    support: full
"""

EXAMPLES = r"""
- name: Mend every guild that drifted
  dcm.platform.guild_repair:
    login_host: "{{ postgres_host }}"
    login_port: "{{ postgres_port }}"
    login_password: "{{ postgres_password }}"
    migrations_dir: "{{ guild_migrations }}"
"""

RETURN = r"""
totals:
  description: Numbers of guilds checked, differing, repaired (nothing is left), by_hand (something is left for people) and failed.
  returned: always
  type: dict
guilds:
  description:
    - The differing guilds with the keys id, statements, by_hand (a list of C(what) and C(advice)) and error.
  returned: always
  type: list
  elements: dict
failure:
  description: Which guilds could not be mended and why, in one line; empty when all is well.
  returned: always
  type: str
"""

import getpass
import uuid
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dcm.platform.plugins.module_utils import _guild_args as args
from ansible_collections.dcm.platform.plugins.module_utils import _guild_input as source
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import read_migrations

ARGUMENTS: dict[str, dict[str, Any]] = {
    "guilds": {"type": "list", "elements": "str"},
    "guilds_file": {"type": "path"},
    "migrations_dir": {"type": "path", "required": True},
    "service_role": {"type": "str", "default": "dcm_service"},
    "connections": {"type": "int", "default": 2},
}


def repair(options: dict[str, Any], check: bool) -> dict[str, Any]:
    args.require_psycopg()
    from ansible_collections.dcm.platform.plugins.module_utils import _guild_repair as engine
    from ansible_collections.dcm.platform.plugins.module_utils import _guild_report as report

    if options["connections"] < 1:
        raise PlatformError(f"connections: {options['connections']} must be at least 1")
    everything = options["guilds"] is None and not options["guilds_file"]
    question = report.Question(
        ids=None if everything else source.read_ids(options["guilds"] or [], options["guilds_file"]),
        service_role=options["service_role"],
        list_guilds=False,
        migrations=None,
        connections=options["connections"],
        explain=0,
    )
    migrations = read_migrations(options["migrations_dir"])
    with args.open_access(options) as access:
        return engine.Repair(access, question, str(uuid.uuid4()), getpass.getuser(), check).run(migrations)


def main() -> None:
    module = AnsibleModule(argument_spec={**ARGUMENTS, **args.CONNECTION_OPTIONS}, supports_check_mode=True)
    try:
        result = repair(module.params, module.check_mode)
    except PlatformError as problem:
        module.fail_json(msg=str(problem))
    if result["failure"]:
        module.fail_json(msg=result["failure"], **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
