#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a Postgres server is, and whether it can carry the platform."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guild_server_info
short_description: What a Postgres server is, and whether it can carry the platform
version_added: 0.1.0
author: DCM platform engineers (@dcm)
description:
  - Logs in once and compares version, rights, limits, settings and TLS with what the guild engine and the pooler need.
  - Fails with everything that is wrong at once, each with what to do about it. A server that cannot be reached is told apart by reason.
  - Needs no superuser. On a managed server, such as RDS, a role with CREATEROLE that owns the database is enough.
options:
  guilds_expected:
    description: Number of guilds that the site is planned for.
    type: int
    default: 1000
  connections:
    description: Connections of the guild engine.
    type: int
    default: 4
  max_connections:
    description: What the connections of pooler, engine and people were planned with. A server with less is refused; V(0) asks for nothing.
    type: int
    default: 0
  networks:
    description: Networks (CIDR) that the cluster's network policies let the pooler connect to. An address of the server outside is refused.
    type: list
    elements: str
    default: []
  fail:
    description: Whether problems make the task fail.
    type: bool
    default: true
  assume_empty:
    description: In check mode, a server that cannot be reached (yet) is a warning. Ignored otherwise.
    type: bool
    default: false
extends_documentation_fragment:
  - dcm.platform.guild_connection
attributes:
  check_mode:
    description: Reads only.
    support: full
"""

EXAMPLES = r"""
- name: Ask the server what it is
  dcm.platform.guild_server_info:
    login_host: "{{ postgres_host }}"
    login_port: "{{ postgres_port }}"
    login_password: "{{ postgres_password }}"
    guilds_expected: 10000
  register: server

- name: Show settings that fit
  ansible.builtin.debug:
    var: server.sizing.settings
"""

RETURN = r"""
reached:
  description: Whether the server answered. Always true outside of check mode.
  returned: always
  type: bool
problems:
  description: What would stop the platform, one sentence each.
  returned: always
  type: list
  elements: str
warnings_found:
  description: What makes it slow or less safe; shown as warnings too.
  returned: always
  type: list
  elements: str
server:
  description:
    - Version, user, superuser, rds (whether it is one of Amazon's managed servers), owner of the database, and tls. Empty when not reached.
  returned: always
  type: dict
citus:
  description: Whether the extension Citus is C(available), C(loaded) in the database and C(preloaded), and its C(version).
  returned: always
  type: dict
settings:
  description: Settings that depend on the number of guilds, each with C(name), C(found), C(wanted), C(severity) and C(why).
  returned: always
  type: list
  elements: dict
sizing:
  description: What a server for O(guilds_expected) would be given, as C(settings), C(memory_mb) and C(disk_gb).
  returned: always
  type: dict
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dcm.platform.plugins.module_utils import _guild_args as args
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_capacity import sizing
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Unreachable
from ansible_collections.dcm.platform.plugins.module_utils._guild_server import Needs

ARGUMENTS: dict[str, dict[str, Any]] = {
    "guilds_expected": {"type": "int", "default": 1000},
    "connections": {"type": "int", "default": 4},
    "max_connections": {"type": "int", "default": 0},
    "networks": {"type": "list", "elements": "str", "default": []},
    "fail": {"type": "bool", "default": True},
    "assume_empty": {"type": "bool", "default": False},
}


def answer(options: dict[str, Any], check: bool) -> dict[str, Any]:
    args.require_psycopg()
    from ansible_collections.dcm.platform.plugins.module_utils import _guild_server_read as read

    names = ("guilds_expected", "connections", "max_connections", "networks")
    needs = Needs(*(options[name] for name in names))
    try:
        with args.open_access(options) as access:
            found = read.ask(access, needs, options["ssl_mode"])
    except Unreachable as problem:
        if not (check and options["assume_empty"]):
            raise
        found = {**read.NOTHING, "warnings_found": [str(problem)]}
    return {**found, "sizing": asdict(sizing(needs.guilds))}


def main() -> None:
    module = AnsibleModule(argument_spec={**ARGUMENTS, **args.CONNECTION_OPTIONS}, supports_check_mode=True)
    try:
        found = answer(module.params, module.check_mode)
    except PlatformError as problem:
        module.fail_json(msg=str(problem))
    for warning in found["warnings_found"]:
        module.warn(f"Postgres: {warning}")
    if found["problems"] and module.params["fail"]:
        where = f"{module.params['login_host']}:{module.params['login_port']}"
        module.fail_json(msg=f"Postgres at {where} cannot carry the platform: {'; '.join(found['problems'])}", **found)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
