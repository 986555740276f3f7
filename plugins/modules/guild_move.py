#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Guilds from one database server to another."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guild_move
short_description: Guilds from one database server to another
version_added: 0.1.0
author: DCM platform engineers (@dcm)
description:
  - Takes each guild out of the services' reach, copies it by C(COPY) from one snapshot, compares what arrived, switches, and removes what
    was left behind. At no moment do two servers have it in service, and at no moment does none have its data.
  - The guild takes along state, plan, ledger, seeds, the booking of its end, rows, and positions of sequences.
  - The same call again resumes a run that was killed. A guild that fails before the switch is given back as it was, and the others go on.
options:
  state:
    description: V(moved) moves, V(cancelled) takes back what an unfinished run began and did not switch yet.
    type: str
    default: moved
    choices: [moved, cancelled]
  placement:
    description: Where the guilds shall live. Needed to move.
    type: str
  guilds:
    description: Ids of the guilds.
    type: list
    elements: str
    default: []
  guilds_file:
    description: A CSV, JSON or YAML file with more of them, as for M(dcm.platform.guild_schema).
    type: path
  migrations_dir:
    description: Folder with the migrations of a guild, in dbmate's format.
    type: path
    required: true
  control_migrations_dir:
    description: Folder with the migrations of the control schema. A server that lacks one of them is refused.
    type: path
    required: true
  service_role:
    description: Login role of the services.
    type: str
    default: dcm_service
  connections:
    description: Guilds that are moved at the same time, each over a connection to either server.
    type: int
    default: 4
  max_failures:
    description: Failed guilds after which no further one is started; V(-1) means never stop.
    type: int
    default: 10
  progress_file:
    description: File that gets one line of JSON a second while the module works.
    type: path
extends_documentation_fragment:
  - dcm.platform.guild_connection
  - dcm.platform.guild_placements
attributes:
  check_mode:
    description: Asks all servers, makes the same plan and answers with the same keys.
    support: full
  diff_mode:
    description: Shows the placement of each guild that moves (of the first 500).
    support: full
"""

EXAMPLES = r"""
- name: Move a guild
  dcm.platform.guild_move:
    placements: "{{ placements }}"
    placement: second
    guilds: ["1100000000000000001"]
    migrations_dir: "{{ guild_migrations }}"
    control_migrations_dir: "{{ control_migrations }}"

- name: Take back what was begun
  dcm.platform.guild_move:
    placements: "{{ placements }}"
    state: cancelled
    guilds: ["1100000000000000001"]
    migrations_dir: "{{ guild_migrations }}"
    control_migrations_dir: "{{ control_migrations }}"
"""

RETURN = r"""
run_id:
  description: Names this run in the audit logs.
  returned: always
  type: str
totals:
  description: Numbers of guilds wanted, unchanged, moved, cancelled, failed and not started.
  returned: always
  type: dict
guilds:
  description: One entry for each guild, with the keys id, action, source, target, version, rows, seconds and error.
  returned: always
  type: list
  elements: dict
seconds:
  description: How long all of it took.
  returned: always
  type: float
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
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import read_migrations

ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "default": "moved", "choices": ["moved", "cancelled"]},
    "placement": {"type": "str"},
    "guilds": {"type": "list", "elements": "str", "default": []},
    "guilds_file": {"type": "path"},
    "migrations_dir": {"type": "path", "required": True},
    "control_migrations_dir": {"type": "path", "required": True},
    "service_role": {"type": "str", "default": "dcm_service"},
    "connections": {"type": "int", "default": 4},
    "max_failures": {"type": "int", "default": 10},
    "progress_file": {"type": "path"},
}


def work(options: dict[str, Any], check: bool) -> dict[str, Any]:
    args.require_psycopg()
    from ansible_collections.dcm.platform.plugins.module_utils import _guild_moves as moves

    if options["connections"] < 1:
        raise PlatformError(f"connections: {options['connections']} must be at least 1")
    request = moves.Request(
        ids=source.read_ids(options["guilds"], options["guilds_file"]),
        goal=options["state"],
        placement=options["placement"] or "",
        migrations=read_migrations(options["migrations_dir"]),
        control=read_migrations(options["control_migrations_dir"]),
        run_id=str(uuid.uuid4()),
        actor=getpass.getuser(),
        check=check,
        **{name: options[name] for name in ("service_role", "connections", "max_failures", "progress_file")},
    )
    with args.open_placements(options) as accesses:
        return moves.Moves(request, {name: access for name, access in accesses.items() if access}).run()


def main() -> None:
    module = AnsibleModule(
        argument_spec={**ARGUMENTS, "placements": args.PLACEMENTS, **args.CONNECTION_OPTIONS},
        required_if=[("state", "moved", ("placement",))],
        supports_check_mode=True,
    )
    try:
        result = work(module.params, module.check_mode)
    except PlatformError as problem:
        module.fail_json(msg=str(problem))
    if result["failure"]:
        module.fail_json(msg=result["failure"], **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
