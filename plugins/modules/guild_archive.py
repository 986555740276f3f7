#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Data of guilds out to files and back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guild_archive
short_description: Data of guilds out to files and back
version_added: 0.1.0
author: DCM platform engineers (@dcm)
description:
  - Writes each guild's tables by C(COPY), in one snapshot, into a folder C(guild_<id>) of its own,
    with a manifest of row counts and hashes.
  - Reads such folders back, and compares them with files or with the live data.
  - Many guilds at once over a few connections. A guild that fails leaves nothing half, neither in files nor in the database.
options:
  state:
    description:
      - V(exported) writes archives.
      - V(verified) compares the files with their manifests, without a server.
      - V(imported) fills registered guilds with what the archives hold, and reads it back before it commits.
      - V(compared) compares the live data with the archives, row by row where a table differs.
    type: str
    default: exported
    choices: [exported, verified, imported, compared]
  guilds:
    description: Ids of the guilds. Not set means every registered guild (V(exported)), or every archive in O(directory).
    type: list
    elements: str
  guilds_file:
    description: A CSV, JSON or YAML file with more of them, as for M(dcm.platform.guild_schema).
    type: path
  directory:
    description: Folder of the archives, on the host where the module runs. Made with mode 0700.
    type: path
    required: true
  replace:
    description: V(exported) may replace an archive; V(imported) may replace the data that a guild has. Both are refused otherwise.
    type: bool
    default: false
  connections:
    description: Connections to work with.
    type: int
    default: 2
extends_documentation_fragment:
  - dcm.platform.guild_connection
attributes:
  check_mode:
    description: Verifies and compares for real; says what would be exported or imported, after the files were verified.
    support: full
  diff_mode:
    description: Not supported.
    support: none
"""

EXAMPLES = r"""
- name: Export a guild
  dcm.platform.guild_archive:
    login_host: "{{ postgres_host }}"
    login_port: "{{ postgres_port }}"
    login_password: "{{ postgres_password }}"
    guilds: ["1100000000000000001"]
    directory: "{{ archives }}"

- name: Look whether the files are whole
  dcm.platform.guild_archive:
    state: verified
    directory: "{{ archives }}"

- name: Put it back
  dcm.platform.guild_archive:
    login_host: "{{ postgres_host }}"
    login_port: "{{ postgres_port }}"
    login_password: "{{ postgres_password }}"
    state: imported
    guilds: ["1100000000000000001"]
    directory: "{{ archives }}"
    replace: true
"""

RETURN = r"""
guilds:
  description: One entry for each guild, with the keys id, folder, version, rows, tables, digest, differences, seconds and error.
  returned: always
  type: list
  elements: dict
totals:
  description: Guilds, failed and differing ones, and rows.
  returned: always
  type: dict
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
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dcm.platform.plugins.module_utils import _guild_args as args
from ansible_collections.dcm.platform.plugins.module_utils import _guild_input as source
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "default": "exported", "choices": ["exported", "verified", "imported", "compared"]},
    "guilds": {"type": "list", "elements": "str"},
    "guilds_file": {"type": "path"},
    "directory": {"type": "path", "required": True},
    "replace": {"type": "bool", "default": False},
    "connections": {"type": "int", "default": 2},
}


def work(options: dict[str, Any], check: bool) -> dict[str, Any]:
    args.require_psycopg()
    from ansible_collections.dcm.platform.plugins.module_utils import _guild_archives as archives

    if options["connections"] < 1:
        raise PlatformError(f"connections: {options['connections']} must be at least 1")
    everything = options["guilds"] is None and not options["guilds_file"]
    ids = None if everything else source.read_ids(options["guilds"] or [], options["guilds_file"])
    job = archives.Job(
        options["state"],
        ids,
        Path(options["directory"]),
        options["replace"],
        options["connections"],
        check,
        str(uuid.uuid4()),
        getpass.getuser(),
    )
    if options["state"] == "verified":
        return archives.run(job, None)
    with args.open_access(options) as access:
        return archives.run(job, access)


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
