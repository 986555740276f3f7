# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of the guild modules for reaching Postgres; the argument spec is in module_utils/_guild_args.py."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  login_host:
    description: Name or address of the Postgres server. With O(login_service) it only serves to check the certificate.
    type: str
    default: 127.0.0.1
  login_port:
    description: Port of the server; with O(access=port_forward) the port of the Kubernetes Service.
    type: int
    default: 5432
  login_user:
    description:
      - Role to log in as. A superuser, or a role with CREATEROLE that owns the database.
    type: str
    default: postgres
  login_password:
    description: Its password.
    type: str
  login_db:
    description: Database that holds the control schema and the guilds.
    type: str
    default: dcm
  ssl_mode:
    description: How TLS is used and checked, in libpq's words.
    type: str
    default: prefer
    choices: [allow, disable, prefer, require, verify-ca, verify-full]
  ca_cert:
    description: File with the certificate authorities to trust.
    type: path
    aliases: [ssl_rootcert]
  ca_secret:
    description: Kubernetes Secret as V(namespace/name) whose key C(ca.crt) holds them, in place of O(ca_cert).
    type: str
  ssl_cert:
    description: File with the client certificate.
    type: path
  ssl_key:
    description: File with the key of the client certificate.
    type: path
  lock_timeout:
    description: Seconds a guild waits for a lock before it is put at the end of the queue, and tried once more.
    type: float
    default: 2.0
  statement_timeout:
    description: Seconds a single statement may take.
    type: float
    default: 60.0
  access:
    description: How the server is reached; V(port_forward) runs C(kubectl port-forward) for as long as the module works.
    type: str
    default: direct
    choices: [direct, port_forward]
  kubectl:
    description: The kubectl binary, for Secrets, Services and O(access=port_forward).
    type: path
    default: kubectl
  kubeconfig:
    description: The kubeconfig for it.
    type: path
  context:
    description: The context in it; not set means the current one.
    type: str
  login_service:
    description:
      - The server's Kubernetes Service as V(namespace/name). With O(access=direct) its cluster address is used in place of O(login_host)'s,
        with O(access=port_forward) it is what is forwarded to.
    type: str
  login_secret:
    description: Kubernetes Secret as V(namespace/name) with the keys C(username) and C(password), used in place of O(login_user) and
      O(login_password). Read where the module runs, and kept nowhere.
    type: str
requirements:
  - psycopg >= 3.1 (with its binary or C part)
  - PyYAML
"""
