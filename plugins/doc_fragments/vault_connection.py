# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of the Vault plugins for reaching a server; the argument spec is in module_utils/_vault_args.py."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  url:
    description: URL of a Vault outside of the cluster. When empty, the one behind O(service) is used.
    type: str
    default: ""
  kubeconfig:
    description: The kubeconfig to use.
    type: path
    default: ""
  context:
    description: The context in it; the current one when empty.
    type: str
    default: ""
  kubectl:
    description: The kubectl binary, for Services and O(access=port_forward).
    type: path
    default: kubectl
  service:
    description: The Service of Vault, as namespace/name. Its certificate has to bear the name C(name.namespace.svc).
    type: str
    default: vault/vault
  port:
    description: Port of the Service and of the pods.
    type: int
    default: 8200
  access:
    description: How it is reached; V(port_forward) runs C(kubectl port-forward) for as long as the plugin works.
    type: str
    choices: [direct, port_forward]
    default: direct
  ca_file:
    description: File with the authority of Vault's certificate. When empty, C(ca.crt) of O(ca_secret).
    type: path
    default: ""
  ca_secret:
    description: Secret with that authority, as namespace/name.
    type: str
    default: vault/vault-tls
  login_mount:
    description: Path of the auth method (JWT) that the administrator's service account logs in at.
    type: str
    default: jwt
  login_role:
    description: Its role and its policy there.
    type: str
    default: dcm-admin
  login_account:
    description:
      - The administrator's service account, as namespace/name. Kubernetes gives a token of it that holds for ten minutes.
      - With the environment variable C(VAULT_TOKEN) that token is used instead.
    type: str
    default: vault/dcm-vault-admin
notes:
  - It works on the controller. Values of secrets stay between the plugin and Vault; they are neither returned nor shown.
"""
