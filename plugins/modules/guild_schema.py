#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Schemas, roles and migrations of many guilds at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guild_schema
short_description: Schemas, roles and migrations of many guilds at once
version_added: 0.1.0
author: DCM platform engineers (@dcm)
description:
  - Gives each guild (tenant) its own Postgres schema C(guild_<id>), an owner role and an application role, at the newest schema version.
  - Plans first, then works over a few connections, each guild in its own transaction. A guild that fails is rolled back alone.
  - The same command again resumes, also after the run was killed.
  - Applied migrations are kept with their checksum in the control schema C(dcm), together with a registry of guilds and an audit log.
options:
  guilds:
    description:
      - The guilds, each an id or a dictionary with the keys V(id), V(plan), V(placement) and V(state).
      - States are V(present) (exists and is active; a new one gets the newest schema, an existing one keeps its version),
        V(migrated) (is at the newest schema version), V(suspended) (out of the services' reach, data kept)
        and V(absent) (erased with all data; see O(confirm_erase)).
    type: list
    elements: raw
    default: []
  guilds_file:
    description: A CSV, JSON or YAML file of any size with the same content, on the host where the module runs.
    type: path
  state:
    description: State of guilds that name none themselves.
    type: str
    default: present
    choices: [present, migrated, suspended, absent]
  migrate_all:
    description: Also migrate every guild of the registry.
    type: bool
    default: false
  migrations_dir:
    description: Folder with the migrations of a guild, in dbmate's format.
    type: path
    required: true
  control_migrations_dir:
    description: Folder with the migrations of the control schema, brought up to date first. Not set means the control schema is there.
    type: path
  service_role:
    description: Login role of the services, created without rights of its own, member of every active guild's application role.
    type: str
    default: dcm_service
  service_password:
    description: Its password, set when the stored one differs.
    type: str
  service_secret:
    description: Kubernetes Secret as V(namespace/name) that holds this password, in place of O(service_password).
    type: str
  service_secret_key:
    description: The key in it.
    type: str
    default: postgres-password
  default_plan:
    description: Plan of new guilds that name none.
    type: str
    default: free
  default_placement:
    description: Name of this server. A new guild that names another placement is refused.
    type: str
    default: default
  confirm_erase:
    description: Ids of the guilds that may be erased. A guild that is V(absent) and not listed here stops the run before it begins.
    type: list
    elements: str
    default: []
  connections:
    description: Connections to work with; about the number of the server's cores is best.
    type: int
    default: 4
  max_failures:
    description: Failed guilds after which no further one is started; V(-1) means never stop.
    type: int
    default: 10
  waves:
    description:
      - Ends of waves, counted from the first guild, as a number of guilds or a share such as V(10%). What is left is the last wave.
      - A wave starts only if no guild failed before.
    type: list
    elements: str
    default: []
  schema_sharding:
    description:
      - Whether schemas of new guilds are spread over the nodes of a Citus cluster (schema-based sharding, Citus 12 and newer).
      - V(auto) does that where the database has the extension. V(on) refuses a server without it. V(off) keeps new schemas on one node.
      - Roles of such guilds may log in, without a password, because Citus connects to its workers as them; C(pg_hba.conf) of the workers
        has to let the coordinator in as any of them.
      - B(Untested) with a real Citus, which the tests cannot get. On Postgres without it nothing is sent that names Citus.
    type: str
    default: auto
    choices: [auto, "on", "off"]
  results:
    description: Which guilds are listed in the result.
    type: str
    default: changed
    choices: [changed, failed, all, none]
  progress_file:
    description: File that gets one line of JSON a second while the module works.
    type: path
  metrics_file:
    description:
      - File with metrics of the run in Prometheus' text format, for node_exporter's textfile collector.
      - Replaced every five seconds and at the end.
      - Its name ends in C(.prom), and its folder exists. Not written in check mode.
    type: path
  metrics_url:
    description: Address of a Pushgateway that gets the same metrics. One that does not answer is a warning.
    type: str
  metrics_server:
    description: Name of this server, as the label C(server) of all samples. Needed where several servers write metrics at one place.
    type: str
    default: ""
  assume_empty:
    description: In check mode, a server that cannot be reached (yet) counts as an empty one. Ignored otherwise.
    type: bool
    default: false
extends_documentation_fragment:
  - dcm.platform.guild_connection
attributes:
  check_mode:
    description: Makes the same plan and answers with the same keys.
    support: full
  diff_mode:
    description: Shows state, version, plan and placement of each guild that changes (of the first 500).
    support: full
"""

EXAMPLES = r"""
- name: Install the control schema and onboard two guilds
  dcm.platform.guild_schema:
    login_host: "{{ postgres_host }}"
    login_port: "{{ postgres_port }}"
    login_password: "{{ postgres_password }}"
    migrations_dir: "{{ guild_migrations }}"
    control_migrations_dir: "{{ control_migrations }}"
    service_password: "{{ service_password }}"
    guilds:
      - id: "1100000000000000001"
        plan: premium
      - id: "1100000000000000002"

- name: Onboard guilds from a file
  dcm.platform.guild_schema:
    login_host: "{{ postgres_host }}"
    login_port: "{{ postgres_port }}"
    login_password: "{{ postgres_password }}"
    migrations_dir: "{{ guild_migrations }}"
    guilds_file: "{{ guilds_file }}"

- name: Migrate every guild, one first, then a tenth, then all
  dcm.platform.guild_schema:
    login_host: "{{ postgres_host }}"
    login_port: "{{ postgres_port }}"
    login_password: "{{ postgres_password }}"
    migrations_dir: "{{ guild_migrations }}"
    migrate_all: true
    waves: ["1", "10%"]

- name: Suspend a guild
  dcm.platform.guild_schema:
    login_host: "{{ postgres_host }}"
    login_port: "{{ postgres_port }}"
    login_password: "{{ postgres_password }}"
    migrations_dir: "{{ guild_migrations }}"
    guilds:
      - id: "1100000000000000002"
        state: suspended

- name: Erase it with all its data
  dcm.platform.guild_schema:
    login_host: "{{ postgres_host }}"
    login_port: "{{ postgres_port }}"
    login_password: "{{ postgres_password }}"
    migrations_dir: "{{ guild_migrations }}"
    confirm_erase: ["1100000000000000002"]
    guilds:
      - id: "1100000000000000002"
        state: absent
"""

RETURN = r"""
run_id:
  description: Names this run in the audit log.
  returned: always
  type: str
version:
  description: The newest schema version in O(migrations_dir).
  returned: always
  type: str
control:
  description: Version of the control schema in O(control_migrations_dir), the versions applied now, and what was done to the service role.
  returned: always
  type: dict
totals:
  description: Numbers of guilds wanted, unchanged, created, migrated, updated, erased, failed and not started.
  returned: always
  type: dict
guilds:
  description:
    - One entry for each guild that O(results) asks for, with the keys id, action, state, plan, placement, version_before, version,
      seconds and error.
  returned: always
  type: list
  elements: dict
seconds:
  description: How long reading, planning and applying took.
  returned: always
  type: float
advice:
  description:
    - Settings of the server that make this run slow, with found and wanted values. Ones that would break it stop the run before.
    - Metrics that could not be written.
  returned: always
  type: list
  elements: str
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
from ansible_collections.dcm.platform.plugins.module_utils._guild_ids import parse_snowflake
from ansible_collections.dcm.platform.plugins.module_utils._guild_metrics import Target
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import read_migrations
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Unreachable, Wanted
from ansible_collections.dcm.platform.plugins.module_utils._guild_plan import PlanContext

ARGUMENTS: dict[str, dict[str, Any]] = {
    "guilds": {"type": "list", "elements": "raw", "default": []},
    "guilds_file": {"type": "path"},
    "state": {"type": "str", "default": "present", "choices": ["present", "migrated", "suspended", "absent"]},
    "migrate_all": {"type": "bool", "default": False},
    "migrations_dir": {"type": "path", "required": True},
    "control_migrations_dir": {"type": "path"},
    "service_role": {"type": "str", "default": "dcm_service"},
    "service_password": {"type": "str", "no_log": True},
    "service_secret": {"type": "str", "no_log": False},
    "service_secret_key": {"type": "str", "default": "postgres-password", "no_log": False},
    "default_plan": {"type": "str", "default": "free"},
    "default_placement": {"type": "str", "default": "default"},
    "confirm_erase": {"type": "list", "elements": "str", "default": []},
    "connections": {"type": "int", "default": 4},
    "max_failures": {"type": "int", "default": 10},
    "waves": {"type": "list", "elements": "str", "default": []},
    "schema_sharding": {"type": "str", "default": "auto", "choices": ["auto", "on", "off"]},
    "results": {"type": "str", "default": "changed", "choices": ["changed", "failed", "all", "none"]},
    "progress_file": {"type": "path"},
    "metrics_file": {"type": "path"},
    "metrics_url": {"type": "str"},
    "metrics_server": {"type": "str", "default": ""},
    "assume_empty": {"type": "bool", "default": False},
}


def converge(options: dict[str, Any], check: bool) -> dict[str, Any]:
    """Checks every input first, then opens the connection."""
    args.require_psycopg()
    from ansible_collections.dcm.platform.plugins.module_utils import _guild_engine as engine

    if options["connections"] < 1:
        raise PlatformError(f"connections: {options['connections']} must be at least 1")
    metrics = Target(options["metrics_file"], options["metrics_url"], server=options["metrics_server"])
    metrics.check()
    control_dir = options["control_migrations_dir"]
    request = engine.Request(
        wanted=wanted_guilds(options),
        context=plan_context(options),
        control=read_migrations(control_dir) if control_dir else None,
        run_id=str(uuid.uuid4()),
        actor=getpass.getuser(),
        check=check,
        metrics=metrics,
        **{name: options[name] for name in engine.OPTIONS},
    )
    try:
        with args.open_access(options) as access:
            return engine.Engine(request, access, args.service_password(options)).run()
    except Unreachable:
        if check and options["assume_empty"]:
            return engine.Engine(request, None, options["service_password"]).run()
        raise


def wanted_guilds(options: dict[str, Any]) -> list[Wanted]:
    entries = list(source.option_entries(options["guilds"]))
    if options["guilds_file"]:
        entries.extend(source.file_entries(options["guilds_file"]))
    return source.read_wanted(entries, options["state"])


def plan_context(options: dict[str, Any]) -> PlanContext:
    confirmed = [parse_snowflake(value, f"confirm_erase, item {number}") for number, value in enumerate(options["confirm_erase"], 1)]
    migrations = read_migrations(options["migrations_dir"])
    return PlanContext(migrations, options["default_plan"], options["default_placement"], frozenset(confirmed))


def main() -> None:
    module = AnsibleModule(argument_spec={**ARGUMENTS, **args.CONNECTION_OPTIONS}, supports_check_mode=True)
    try:
        result = converge(module.params, module.check_mode)
    except PlatformError as problem:
        module.fail_json(msg=str(problem))
    for advice in result["advice"]:
        module.warn(advice)
    if result["failure"]:
        module.fail_json(msg=result["failure"], **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
