# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: generated_secret
short_description: Ensure Kubernetes Secrets with randomly generated keys
version_added: "0.1.0"
description:
  - Makes sure that all the Secrets exist and have the wanted keys. A key that is missing is generated; one that is there is never touched
    unless it is named in O(rotate).
  - It works on the controller.
  - Values stay between this module and the API server. They are neither returned nor shown, also not with C(--diff).
  - A copy is kept equal to its source, so a rotated key reaches every Secret that it was copied to.
  - Other keys of the Secrets, and what other tools write into them, are left alone.
options:
  kubeconfig:
    description: The kubeconfig to use.
    type: path
    required: true
  context:
    description: The context in it; the current one when empty.
    type: str
    default: ""
  secrets:
    description: The Secrets.
    type: list
    elements: dict
    required: true
    suboptions:
      namespace:
        description: Namespace of the Secret. It has to exist.
        type: str
        required: true
      name:
        description: Name of the Secret.
        type: str
        required: true
      keys:
        description:
          - Keys to generate where they are missing, each with C(length) (16 to 1024, 32 when left out) and C(charset)
            (V(alphanumeric), V(hex) or V(urlsafe); V(alphanumeric) when left out).
        type: dict
        default: {}
      public_values:
        description: Keys with a given value that is no secret, such as a user name. They are set whenever they differ.
        type: dict
        default: {}
      secret_values:
        description: Keys with a given value that is a secret. They are set whenever they differ.
        type: dict
        default: {}
      required_keys:
        description: Keys that somebody else puts there. A missing one is an error.
        type: list
        elements: str
        default: []
      adopt:
        description:
          - A Secret (namespace/name) whose keys are taken over where they are missing here, instead of generating them.
            For a Secret that moves.
        type: str
        default: ""
      copies:
        description: Further Secrets that are to have keys of this one.
        type: list
        elements: dict
        default: []
        suboptions:
          namespace:
            description: Namespace of the copy.
            type: str
            required: true
          name:
            description: Name of the Secret that gets the keys. It may have others.
            type: str
            required: true
          keys:
            description: The key there, and the key here that it is equal to.
            type: dict
            required: true
  rotate:
    description: Secrets (C(namespace/name)) or keys (C(namespace/name/key)) among those above that are generated anew.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Tells what would be written; where there is no kubeconfig yet, what would be written into an empty cluster.
    support: full
  diff_mode:
    description: Shows keys and what happens to them, without values.
    support: full
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Generate the passwords of the database
  dcm.platform.generated_secret:
    kubeconfig: "{{ platform_kubeconfig }}"
    secrets:
      - namespace: dcm-data
        name: postgres-admin
        public_values: {username: postgres}
        keys:
          password: {length: 40}
      - namespace: dcm-data
        name: redis-auth
        keys:
          password: {length: 40, charset: hex}
        copies:
          - namespace: dcm-services
            name: dcm-service
            keys: {redis-password: password}

- name: Change the password of Redis
  dcm.platform.generated_secret:
    kubeconfig: "{{ platform_kubeconfig }}"
    secrets:
      - namespace: dcm-data
        name: redis-auth
        keys:
          password: {length: 40, charset: hex}
    rotate: [dcm-data/redis-auth]
"""

RETURN = r"""
secrets:
  description: The Secrets that were written, or would be in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    namespace:
      description: Namespace of the Secret.
      type: str
      sample: dcm-data
    name:
      description: Name of the Secret.
      type: str
      sample: redis-auth
    created:
      description: Whether the Secret is new.
      type: bool
      sample: true
    written:
      description: The keys that were written, and why.
      type: dict
      sample: {password: "generated (40 characters, hex)"}
"""
