# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbackrest
short_description: Base backups of a Postgres that runs in Kubernetes, by pgBackRest in its pod
version_added: "0.1.0"
description:
  - Makes a base backup, tells which ones there are, or looks whether a restore would find all that it needs.
  - It works on the controller, through C(kubectl exec); the repository's credentials stay in the pod.
options:
  state:
    description:
      - V(described) tells which backups there are.
      - V(made) makes one now, waits while another one is being made, and tells its newest line every other second.
      - V(verified) looks for gaps in the WAL between a backup and the end of the archive, and reads every file of the repository again
        to compare its checksum. It fails with the names of what is damaged or missing.
    type: str
    default: described
    choices: [described, made, verified]
  type:
    description: Kind of the backup to make. V(incr) and V(diff) become a full one where there is none yet.
    type: str
    default: incr
    choices: [full, diff, incr]
  backup:
    description: Label of the backup that a restore would begin with, for O(state=verified). Not set means the newest.
    type: str
    default: ""
  last_wal:
    description: WAL segment that has to be there as well, for O(state=verified).
    type: str
    default: ""
  read_all:
    description: Whether O(state=verified) reads every file. Otherwise it looks for gaps alone.
    type: bool
    default: true
  namespace:
    description: Namespace of the server.
    type: str
    required: true
  pod:
    description: Its pod.
    type: str
    default: postgres-0
  container:
    description: The container in it that has pgBackRest.
    type: str
    default: backup
  kubectl:
    description: The kubectl binary.
    type: path
    default: kubectl
  kubeconfig:
    description: The kubeconfig for it.
    type: path
  context:
    description: The context in it; the current one when empty.
    type: str
    default: ""
attributes:
  check_mode:
    description: Looks for real, and makes nothing. Where there is no kubeconfig yet, it tells of no backups.
    support: full
  diff_mode:
    description: Not supported.
    support: none
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Make a full backup
  dcm.platform.pgbackrest:
    state: made
    type: full
    namespace: dcm-data
    kubeconfig: "{{ platform_kubeconfig }}"

- name: Look whether a restore would find all it needs
  dcm.platform.pgbackrest:
    state: verified
    namespace: dcm-data
    kubeconfig: "{{ platform_kubeconfig }}"
"""

RETURN = r"""
backups:
  description:
    - The backups that ended well, the oldest first, with label, type, started, stopped, first_wal, and the bytes of the database (size) and
      of what was added to the repository (stored).
  returned: success
  type: list
  elements: dict
newest:
  description: The last of them; empty when there is none.
  returned: success
  type: dict
problems:
  description: What is damaged or missing.
  returned: when O(state=verified)
  type: list
  elements: str
seconds:
  description: How long it took.
  returned: success
  type: float
"""
