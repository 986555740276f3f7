# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_config
short_description: The whole configuration of Vault or OpenBao as data
version_added: "0.1.0"
description:
  - Compares a wanted tree of mounts, auth methods, policies, audit devices and entities with what is there, and makes it so, in one call.
  - Only what the tree names is looked at, and only the fields that it names. What it does not name is removed where O(prune) says so.
  - Values mean the same in every form that Vault takes, such as V(1h) and V(3600), or a list and a text with commas.
  - Secrets such as the password of a database cannot be read back. A slow, salted fingerprint of them is kept in Vault and compared.
extends_documentation_fragment: [dcm.platform.vault_connection]
options:
  config:
    description:
      - The wanted tree, with the keys C(mounts), C(auth), C(policies), C(audit) and C(entities), each by name.
      - A mount or auth method has C(type), C(description), C(options), C(tune) (lease times and the like), and what its type keeps.
      - These are C(settings) of kv; C(keys) of transit; C(issuer), C(urls), C(crl) and C(roles) of pki; C(connections), C(roles) and
        C(static_roles) of database; C(config) and C(roles) of jwt, oidc and kubernetes; C(roles) of approle; C(users) of userpass.
      - With C(from_cluster), C(config) of a jwt checks the tokens of the cluster's service accounts.
      - C(issuer) of a pki has C(issuer_name) and C(common_name), and C(signed_by) (another pki mount) unless it is a root. A new name makes
        a new authority.
      - A policy is a text, or paths with their capabilities. C($(x)) in it stands for a template, C([mount]) inside for that auth
        method's accessor.
    type: dict
    required: true
  prune:
    description:
      - What is removed when the tree does not name it. V(roles) are all named things inside of the tree's mounts and auth methods.
      - V(mounts) and V(auth) remove what is in them too.
    type: list
    elements: str
    choices: [audit, auth, entities, mounts, policies, roles]
    default: []
  fingerprints:
    description: Where fingerprints of secrets are kept, as mount/path in a key-value store of version 2.
    type: str
    default: dcm/platform/fingerprints
attributes:
  check_mode:
    description: Tells what would be changed.
    support: full
  diff_mode:
    description: Shows fields before and after, without secrets.
    support: full
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Configure Vault
  dcm.platform.vault_config:
    kubeconfig: "{{ platform_kubeconfig }}"
    config:
      mounts:
        dcm: {type: kv, options: {version: "2"}, settings: {max_versions: 10}}
        pki:
          type: pki
          tune: {max_lease_ttl: 87600h}
          issuer: {issuer_name: dcm-root-2026, common_name: DCM Root, ttl: 87600h, key_type: ec, key_bits: 256}
      auth:
        jwt:
          type: jwt
          roles:
            gateway:
              role_type: jwt
              bound_audiences: [vault]
              bound_subject: system:serviceaccount:dcm-services:gateway
              user_claim: sub
              token_policies: [dcm-gateway]
      policies:
        dcm-gateway: {dcm/data/credentials/postgres-password: [read]}
      audit:
        stdout: {type: file, options: {file_path: stdout}}
    prune: [policies, roles]
"""

RETURN = r"""
steps:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    what:
      description: The thing.
      type: str
      sample: sys/mounts/dcm
    action:
      description: V(created), V(updated), V(replaced) or V(removed).
      type: str
      sample: created
    fields:
      description: The fields that differ.
      type: list
      elements: str
      sample: [options, type]
"""
