#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A named point that a restore can be held against."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restore_point
short_description: A named point in a database's history, and whether a restored database holds what it held there
version_added: 0.1.0
author: DCM platform engineers (@dcm)
description:
  - Makes a restore point, and in the same transaction hashes the tables of some guilds, the registry, the ledgers, and the fingerprints of
    all guilds' schemas. The hashed tables are locked against writing until the point is made, so they hold exactly that at the point.
  - Then waits until the WAL up to there lies in the archive.
  - Compares a database that was restored to such a point with what was written down.
options:
  state:
    description:
      - V(made) makes a point and writes its manifest.
      - V(compared) compares the database with the manifest, and fails where it differs.
      - V(flushed) makes no point. It sees to it that all that was committed until now is in the archive.
    type: str
    default: made
    choices: [made, compared, flushed]
  name:
    description: Name of the point. Not set means one that is made of the time.
    type: str
    default: ""
  guilds:
    description: How many guilds are hashed, chosen anew for each point. V(-1) means all of them.
    type: int
    default: 20
  directory:
    description: Folder of the manifests, on the host where the module runs. Made with mode 0700.
    type: path
    required: true
  backup:
    description: Label of the newest base backup, for the manifest.
    type: str
    default: ""
  service_role:
    description: Login role of the services.
    type: str
    default: dcm_service
extends_documentation_fragment:
  - dcm.platform.guild_connection
attributes:
  check_mode:
    description: Makes nothing; compares for real.
    support: full
  diff_mode:
    description: Not supported.
    support: none
"""

EXAMPLES = r"""
- name: Make a point that a restore can be held against
  dcm.platform.restore_point:
    login_host: "{{ postgres_host }}"
    login_port: "{{ postgres_port }}"
    login_password: "{{ postgres_password }}"
    directory: "{{ reports }}/backups"
    guilds: -1
"""

RETURN = r"""
point:
  description: Its name, lsn, wal (segment), made_at, backup and manifest (file), and the numbers of guilds, rows and schemas that it holds.
  returned: success
  type: dict
differences:
  description: What differs, in words.
  returned: always
  type: list
  elements: str
seconds:
  description: How long it took.
  returned: success
  type: float
"""

import getpass
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dcm.platform.plugins.module_utils import _guild_args as args
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "default": "made", "choices": ["made", "compared", "flushed"]},
    "name": {"type": "str", "default": ""},
    "guilds": {"type": "int", "default": 20},
    "directory": {"type": "path", "required": True},
    "backup": {"type": "str", "default": ""},
    "service_role": {"type": "str", "default": "dcm_service"},
}


def work(options: dict[str, Any], check: bool) -> dict[str, Any]:
    args.require_psycopg()
    from ansible_collections.dcm.platform.plugins.module_utils import _restore_points as points

    name = options["name"] or f"dcm-{datetime.now(UTC):%Y%m%dt%H%M%Sz}"
    job = points.Job(
        options["state"],
        name,
        options["guilds"],
        Path(options["directory"]),
        options["backup"],
        points.Taking(options["service_role"], str(uuid.uuid4()), getpass.getuser()),
    )
    if check and options["state"] != "compared":
        return {"changed": True, "point": points.nothing(job), "differences": []}
    with args.open_access(options) as access:
        return points.run(job, access)


def main() -> None:
    module = AnsibleModule(
        argument_spec={**ARGUMENTS, **args.CONNECTION_OPTIONS}, required_if=[("state", "compared", ("name",))], supports_check_mode=True
    )
    start = time.monotonic()
    try:
        result = work(module.params, module.check_mode)
    except PlatformError as problem:
        module.fail_json(msg=str(problem), differences=[])
    result["seconds"] = round(time.monotonic() - start, 1)
    if result["differences"]:
        module.fail_json(
            msg=f"the database is not what it was at {result['point']['name']}: {'; '.join(result['differences'][:5])}", **result
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
