#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the guild registry holds, and whether schemas drifted."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guild_info
short_description: What the guild registry holds, and whether schemas drifted
version_added: 0.1.0
author: DCM platform engineers (@dcm)
description:
  - Reads the registry of guilds in a few statements, whatever their number.
  - With O(drift), compares the catalog of every guild's schema (tables, columns, indexes, constraints, rights, default rights, functions,
    types, sequences, triggers, policies, role memberships, ledger) with what the guild's migrations make of an empty schema.
  - That reference is made in a transaction that is rolled back; nothing is changed.
options:
  guilds:
    description: Ids of the guilds to look at; not set means all.
    type: list
    elements: str
  list_guilds:
    description: Whether each guild is listed in the result.
    type: bool
    default: true
  drift:
    description: Whether schemas are compared with their migrations. Needs O(migrations_dir).
    type: bool
    default: false
  explain:
    description: Of how many drifted guilds the differences are listed.
    type: int
    default: 20
  migrations_dir:
    description: Folder with the migrations of a guild.
    type: path
  service_role:
    description: Login role of the services; its membership in application roles is no drift.
    type: str
    default: dcm_service
  metrics_file:
    description:
      - File with metrics of the fleet in Prometheus' text format, for node_exporter's textfile collector. All guilds are looked at then.
      - Its name ends in C(.prom), and its folder exists.
    type: path
  metrics_url:
    description: Address of a Pushgateway that gets the same metrics. One that does not answer is a warning.
    type: str
  metrics_server:
    description: Name of this server, as the label C(server) of all samples. Needed where several servers write metrics at one place.
    type: str
    default: ""
  connections:
    description: Connections to read the catalog with.
    type: int
    default: 2
  schema_sharding:
    description: As in M(dcm.platform.guild_schema); guilds that Citus spreads have roles that may log in.
    type: str
    default: auto
    choices: [auto, "on", "off"]
  guilds_expected:
    description: Number of guilds that the site is planned for; RV(settings) is measured by it where it is more than there are.
    type: int
    default: 0
extends_documentation_fragment:
  - dcm.platform.guild_connection
attributes:
  check_mode:
    description: Reads only.
    support: full
"""

EXAMPLES = r"""
- name: Read the registry and look for drift
  dcm.platform.guild_info:
    login_host: "{{ postgres_host }}"
    login_port: "{{ postgres_port }}"
    login_password: "{{ postgres_password }}"
    migrations_dir: "{{ guild_migrations }}"
    drift: true
  register: guilds

- name: Refuse drifted schemas
  ansible.builtin.assert:
    that: not guilds.drift.differing
"""

RETURN = r"""
totals:
  description: Number of guilds, and of guilds by state, schema version, plan and placement.
  returned: always
  type: dict
guilds:
  description: The guilds with id, state, plan, placement and schema version; empty without O(list_guilds).
  returned: always
  type: list
  elements: dict
unknown:
  description: Ids of O(guilds) that the registry does not know.
  returned: always
  type: list
  elements: str
drift:
  description:
    - Number of guilds checked, ids of the differing ones, and for the first O(explain) of them what is missing and what is extra.
    - Null without O(drift).
  returned: always
  type: dict
settings:
  description:
    - Settings of the server that depend on the number of guilds, each with C(name), C(found), C(wanted) (at least), C(severity)
      (V(ok), V(warn) or V(refuse)) and C(why).
  returned: always
  type: list
  elements: dict
sizing:
  description: What a server for that number of guilds would be given, as C(settings), C(memory_mb) and C(disk_gb).
  returned: always
  type: dict
citus:
  description: Whether the extension Citus is C(available), C(loaded) in the database and C(preloaded), and its C(version).
  returned: always
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dcm.platform.plugins.module_utils import _guild_args as args
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_ids import parse_snowflake
from ansible_collections.dcm.platform.plugins.module_utils._guild_metrics import Target
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import read_migrations

ARGUMENTS: dict[str, dict[str, Any]] = {
    "guilds": {"type": "list", "elements": "str"},
    "list_guilds": {"type": "bool", "default": True},
    "drift": {"type": "bool", "default": False},
    "explain": {"type": "int", "default": 20},
    "migrations_dir": {"type": "path"},
    "service_role": {"type": "str", "default": "dcm_service"},
    "metrics_file": {"type": "path"},
    "metrics_url": {"type": "str"},
    "metrics_server": {"type": "str", "default": ""},
    "connections": {"type": "int", "default": 2},
    "schema_sharding": {"type": "str", "default": "auto", "choices": ["auto", "on", "off"]},
    "guilds_expected": {"type": "int", "default": 0},
}


def answer(options: dict[str, Any]) -> dict[str, Any]:
    args.require_psycopg()
    from ansible_collections.dcm.platform.plugins.module_utils import _guild_report as report

    if options["connections"] < 1:
        raise PlatformError(f"connections: {options['connections']} must be at least 1")
    metrics = Target(options["metrics_file"], options["metrics_url"], "dcm_guild_fleet", options["metrics_server"])
    metrics.check()
    ids = options["guilds"]
    question = report.Question(
        ids=None if ids is None else [parse_snowflake(value, f"guilds, item {number}") for number, value in enumerate(ids, 1)],
        service_role=options["service_role"],
        list_guilds=options["list_guilds"],
        migrations=read_migrations(options["migrations_dir"]) if options["migrations_dir"] else None,
        drift=options["drift"],
        metrics=metrics,
        connections=options["connections"],
        explain=options["explain"],
        guilds_expected=options["guilds_expected"],
        schema_sharding=options["schema_sharding"],
    )
    with args.open_access(options) as access:
        return report.answer(access, question)


def main() -> None:
    module = AnsibleModule(
        argument_spec={**ARGUMENTS, **args.CONNECTION_OPTIONS},
        required_if=[("drift", True, ("migrations_dir",))],
        mutually_exclusive=[("guilds", "metrics_file"), ("guilds", "metrics_url")],
        supports_check_mode=True,
    )
    try:
        found = answer(module.params)
    except PlatformError as problem:
        module.fail_json(msg=str(problem))
    for trouble in found.pop("problems"):
        module.warn(trouble)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
