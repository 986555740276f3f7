# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: existing_kubeconfig
short_description: Leave the kubeconfig of an existing cluster where the platform expects it
version_added: "0.1.0"
description:
  - Takes one context out of a kubeconfig, with the certificates that it names in files, and writes it with mode 0600.
  - Asks the cluster first, and writes nothing when it does not answer or does not let us in.
options:
  source:
    description: The kubeconfig, or several as in the environment variable E(KUBECONFIG).
    type: str
    required: true
  context:
    description: The context in it. The current one when empty.
    type: str
    default: ""
  dest:
    description: Where the new kubeconfig goes.
    type: path
    required: true
  programs:
    description: Programs that have to be in the search path, and are linked into O(programs_dir).
    type: list
    elements: str
    default: []
  programs_dir:
    description: Where the links go.
    type: path
attributes:
  check_mode:
    description: Reads and asks, but does not write.
    support: full
  diff_mode:
    description: A kubeconfig is a secret.
    support: none
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Take the kubeconfig of minikube
  dcm.platform.existing_kubeconfig:
    source: ~/.kube/config
    context: minikube
    dest: /var/lib/dcm/dev/kubeconfig
"""

RETURN = r"""
dest:
  description: The kubeconfig that was written.
  returned: success
  type: str
  sample: /var/lib/dcm/dev/kubeconfig
context:
  description: Name of the context.
  returned: success
  type: str
  sample: minikube
server:
  description: URL of the API server.
  returned: success
  type: str
  sample: https://192.168.49.2:8443
cluster_uid:
  description: UID of namespace kube-system.
  returned: success
  type: str
  sample: 0f0b4b3e-8a7e-4d5c-9f5e-0d6b6f0a6a51
"""
