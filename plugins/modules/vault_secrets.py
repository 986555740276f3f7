# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_secrets
short_description: Secrets in Vault's key-value store, generated or copied
version_added: "0.1.0"
description:
  - Makes sure that all the secrets have the wanted fields. A generated field that is there is never touched.
  - Fields that nobody names are left alone. A secret that somebody else writes at the same time is read again first.
extends_documentation_fragment: [dcm.platform.vault_connection]
options:
  mount:
    description: Path of the store (kv, version 2).
    type: str
    default: dcm
  secrets:
    description: The secrets.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Path below the mount.
        type: str
        required: true
      generate:
        description:
          - Fields to generate where they are missing, each with C(length) and C(charset) as M(dcm.platform.generated_secret) takes them.
        type: dict
        default: {}
      adopt:
        description:
          - Fields that are taken over from a key of a Kubernetes Secret (namespace/name/key) where they are missing here and it is there.
            For a secret that moves into Vault.
        type: dict
        default: {}
      from_secrets:
        description: Fields that are equal to a key of a Kubernetes Secret, given as namespace/name/key.
        type: dict
        default: {}
      values:
        description: Fields with a given value.
        type: dict
        default: {}
      required:
        description: Fields that somebody else puts there. A missing one is an error.
        type: list
        elements: str
        default: []
attributes:
  check_mode:
    description: Tells what would be written.
    support: full
  diff_mode:
    description: There is nothing that could be shown.
    support: none
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Provide the credentials of the services
  dcm.platform.vault_secrets:
    kubeconfig: "{{ platform_kubeconfig }}"
    secrets:
      - path: credentials/api-signing-key
        generate: {value: {length: 64}}
      - path: credentials/redis-password
        from_secrets: {value: dcm-data/redis-auth/password}
"""

RETURN = r"""
secrets:
  description: The secrets that were written, or would be in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Path below the mount.
      type: str
      sample: credentials/api-signing-key
    written:
      description: The fields that were written, and why.
      type: dict
      sample: {value: "generated (64 characters, alphanumeric)"}
"""
