#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write down what a restore has proven."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restore_proof
short_description: Write down what a restore has proven, and metrics of backups
version_added: 0.1.0
author: DCM platform engineers (@dcm)
description:
  - Adds a row to C(dcm.restore_proof), writes it as a report, and writes metrics for the textfile collector of node_exporter, so that the
    age of the newest backup and of the newest proof can be alerted on.
  - It does not matter which program made the backup.
options:
  proof:
    description: What was shown. Not set means that only the metrics are written.
    type: dict
    suboptions:
      equal:
        description: Whether what was restored held what the database held.
        type: bool
        required: true
      backup:
        description: Label of the backup.
        type: str
        required: true
      point:
        description: The point that was restored to.
        type: str
        required: true
      seconds:
        description: How long the restore took, until the server answered.
        type: float
        default: 0.0
      guilds:
        description: How many guilds were compared row by row.
        type: int
        default: 0
      rows:
        description: How many rows that were.
        type: int
        default: 0
      schemas:
        description: How many schemas of guilds were compared by fingerprint.
        type: int
        default: 0
      problem:
        description: What was wrong.
        type: str
        default: ""
  newest_backup:
    description: When the newest base backup ended, in ISO 8601.
    type: str
    default: ""
  directory:
    description: Folder of reports and metrics, on the host where the module runs.
    type: path
    required: true
extends_documentation_fragment:
  - dcm.platform.guild_connection
attributes:
  check_mode:
    description: Writes nothing.
    support: full
  diff_mode:
    description: Not supported.
    support: none
"""

EXAMPLES = r"""
- name: Write down what the restore has proven
  dcm.platform.restore_proof:
    login_host: "{{ postgres_host }}"
    login_port: "{{ postgres_port }}"
    login_password: "{{ postgres_password }}"
    directory: "{{ reports }}/backups"
    newest_backup: "2026-11-24T03:00:00+00:00"
    proof: {equal: true, backup: 20261124-030000F, point: drill, seconds: 41.5, guilds: 20, rows: 48211, schemas: 1000}
"""

RETURN = r"""
report:
  description: The file with the proof; empty when there was none to write.
  returned: success
  type: str
metrics:
  description: The file with the metrics.
  returned: success
  type: str
proven_at:
  description: When a restore was last proven; empty when none was.
  returned: success
  type: str
"""

import getpass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dcm.platform.plugins.module_utils import _guild_args as args
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

PROOF: dict[str, dict[str, Any]] = {
    "equal": {"type": "bool", "required": True},
    "backup": {"type": "str", "required": True},
    "point": {"type": "str", "required": True},
    "seconds": {"type": "float", "default": 0.0},
    "guilds": {"type": "int", "default": 0},
    "rows": {"type": "int", "default": 0},
    "schemas": {"type": "int", "default": 0},
    "problem": {"type": "str", "default": ""},
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "proof": {"type": "dict", "options": PROOF},
    "newest_backup": {"type": "str", "default": ""},
    "directory": {"type": "path", "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec={**ARGUMENTS, **args.CONNECTION_OPTIONS}, supports_check_mode=True)
    options = module.params
    if module.check_mode:
        module.exit_json(changed=True, report="", metrics="", proven_at="")
    try:
        args.require_psycopg()
        from ansible_collections.dcm.platform.plugins.module_utils import _restore_proof as proofs

        proof = proofs.Proof(**options["proof"], actor=getpass.getuser()) if options["proof"] else None
        with args.open_access(options) as access, access.connect("restore proof") as conn:
            result = proofs.record(conn, proof, options["newest_backup"], Path(options["directory"]))
    except PlatformError as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(changed=True, **result)


if __name__ == "__main__":
    main()
