# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_server
short_description: Initialise and unseal Vault or OpenBao
version_added: "0.1.0"
description:
  - Brings the servers behind a Service from whatever state they are in to initialised, unsealed, and with one way in for the administrator.
  - Key shares are encrypted to the OpenPGP keys of operators, by Vault itself. On a developer's site they may go into a local file instead.
  - No root token is kept. The first one ends as soon as the administrator's service account can log in; later ones are made of key shares.
  - A run that was killed is finished by the next one.
extends_documentation_fragment: [dcm.platform.vault_connection]
options:
  environment:
    description: The environment. Keys in clear are kept in V(local) and V(dev) alone.
    type: str
    required: true
  selector:
    description: Label selector of the servers' pods.
    type: str
    default: app.kubernetes.io/name=vault
  servers:
    description: How many servers have to answer before anything is done.
    type: int
    default: 1
  operators:
    description: OpenPGP public keys (armoured, or base64) by the operator's name. Each one gets one key share.
    type: dict
    default: {}
  threshold:
    description: How many key shares unseal.
    type: int
    default: 1
  key_file:
    description: File for one key in clear, for developers. Made with mode 0600; not with O(operators).
    type: path
    default: ""
  shares_file:
    description: File for the encrypted shares, to be handed out.
    type: path
    required: true
  unseal_keys:
    description: Key shares in clear, when operators bring them.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that each step may take.
    type: float
    default: 120.0
attributes:
  check_mode:
    description: Tells what would be done.
    support: full
  diff_mode:
    description: There is nothing that could be shown.
    support: none
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Initialise and unseal Vault
  dcm.platform.vault_server:
    kubeconfig: "{{ platform_kubeconfig }}"
    environment: production
    servers: 3
    threshold: 2
    operators:
      ada: "{{ lookup('ansible.builtin.file', 'operators/ada.asc') }}"
      grace: "{{ lookup('ansible.builtin.file', 'operators/grace.asc') }}"
      linus: "{{ lookup('ansible.builtin.file', 'operators/linus.asc') }}"
    shares_file: "{{ platform_state_dir }}/vault/shares.json"
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [initialise, unseal vault-0, "let the administrator's service account in"]
initialized:
  description: Whether Vault is initialised.
  returned: success
  type: bool
  sample: true
sealed:
  description: Pods that wait for key shares.
  returned: success
  type: list
  elements: str
  sample: []
shares_file:
  description: The file with key shares that was written in this run; empty when none was.
  returned: success
  type: str
  sample: /var/lib/dcm/production/vault/shares.json
"""
