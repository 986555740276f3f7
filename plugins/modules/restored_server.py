# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restored_server
short_description: Wait until a Postgres that is being restored in Kubernetes is up
version_added: "0.1.0"
description:
  - Waits for the server of a release of C(charts/lite-postgres) whose values ask for a restore.
  - A restore that fails is told at once, with the lines of the log that say why, in place of a timeout.
  - It works on the controller.
options:
  release:
    description: Name of the release.
    type: str
    required: true
  restore_id:
    description: The word of the restore, as in the values of the release. A pod from before it does not count.
    type: str
    required: true
  namespace:
    description: Namespace of the release.
    type: str
    required: true
  timeout:
    description: Seconds to wait.
    type: float
    default: 3600
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
    description: Does not wait.
    support: full
  diff_mode:
    description: Not supported.
    support: none
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Wait for the scratch server
  dcm.platform.restored_server:
    release: postgres-scratch
    restore_id: drill-20261124t093000
    namespace: dcm-data
    kubeconfig: "{{ platform_kubeconfig }}"
"""

RETURN = r"""
seconds:
  description: How long it took until the server answered.
  returned: success
  type: float
"""
