#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: embedded_node
short_description: Start, change, stop or remove the node of an embedded cluster
version_added: 0.1.0
description:
  - Starts the node's supervisors, waits until API server and node are ready, and imports images that the node lacks.
  - On a running node restarts exactly the programs whose configuration, certificates or files changed.
  - Stops pods with grace before the node's own programs. Prints what it waits for.
options:
  state:
    description: What the node is to be. With V(absent), O(remove) and O(kubeconfig) are deleted.
    type: str
    choices: [started, stopped, absent]
    required: true
  name:
    description: Name of the instance and of its node.
    type: str
    required: true
  config:
    description: Folder of the node's configuration.
    type: path
    required: true
  run:
    description: Folder of the node's sockets.
    type: path
    required: true
  bin:
    description: Folder of the node's programs.
    type: path
    required: true
  logs:
    description: Folder of the node's logs.
    type: path
    required: true
  kubeconfig:
    description: The administrator's kubeconfig.
    type: path
    required: true
  images:
    description: Images that the node has to have, as M(dcm.platform.artifacts) returns them.
    type: list
    elements: dict
    default: []
  timeout:
    description: Seconds until the node has to be ready.
    type: int
    default: 180
  link:
    description: Name of the node's network link. Required unless O(state=started).
    type: str
  remove:
    description: Folders that are deleted with O(state=absent).
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    description: Says whether the node would be started or stopped, and which images it lacks.
    support: full
  diff_mode:
    description: Nothing to show.
    support: none
notes:
  - Runs on the controller.
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Stop the node
  dcm.platform.embedded_node:
    state: stopped
    name: local
    link: dcm0
    config: /var/lib/dcm/local/config
    run: /run/dcm/local
    bin: /var/lib/dcm/local/bin
    logs: /var/lib/dcm/local/log
    kubeconfig: /var/lib/dcm/local/kubeconfig
"""

RETURN = r"""
running:
  description: Whether the node runs. In check mode, whether it runs now.
  returned: always
  type: bool
restarted:
  description: Programs that were restarted because what they read had changed.
  returned: always
  type: list
  elements: str
  sample: [kubelet]
imported:
  description: Names of images that the node lacked.
  returned: always
  type: list
  elements: str
  sample: [postgres]
"""
