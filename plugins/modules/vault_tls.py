# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_tls
short_description: The certificate of Vault, and its authority where clients are
version_added: "0.1.0"
description:
  - Keeps an authority for Vault and a certificate of it in Secrets, and issues the certificate again before it ends.
  - Puts the authority, which is no secret, as C(ca.crt) into a ConfigMap of each namespace with clients.
  - It works on the controller. Keys stay between the plugin and the API server.
options:
  kubeconfig:
    description: The kubeconfig to use.
    type: path
    required: true
  context:
    description: The context in it; the current one when empty.
    type: str
    default: ""
  namespace:
    description: Namespace of Vault. It has to exist.
    type: str
    required: true
  service:
    description: Name of its Service.
    type: str
    default: vault
  secret:
    description: Name of the Secret with C(tls.crt), C(tls.key) and C(ca.crt).
    type: str
    default: vault-tls
  issued_elsewhere:
    description: Whether somebody else, such as cert-manager, fills that Secret.
    type: bool
    default: false
  bundle:
    description: Name of the ConfigMaps with the authority.
    type: str
    default: vault-ca
  bundle_namespaces:
    description: Namespaces that get one.
    type: list
    elements: str
    default: []
  renew_days:
    description: How many days before its end the certificate is issued again.
    type: int
    default: 30
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
- name: Issue the certificate of Vault
  dcm.platform.vault_tls:
    kubeconfig: "{{ platform_kubeconfig }}"
    namespace: vault
    bundle_namespaces: [dcm-services]
"""

RETURN = r"""
written:
  description: What was written, or would be in check mode, and why.
  returned: success
  type: list
  elements: str
  sample: ["Secret vault/vault-tls: issued (missing)"]
revision:
  description: Changes with the certificate.
  returned: success
  type: str
  sample: 3f1c0a9be2d45577
"""
