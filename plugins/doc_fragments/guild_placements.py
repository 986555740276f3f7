# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The servers of a site, for modules that work with more than one; the argument spec is in module_utils/_guild_args.py."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  placements:
    description: The servers of the site. What one of them does not say is as the options of the module itself have it.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name, as the registry has it.
        type: str
        required: true
      login_host:
        description: Name or address of the server.
        type: str
      login_port:
        description: Port of the server, or of its Service.
        type: int
      login_user:
        description: Role to log in as.
        type: str
      login_password:
        description: Its password.
        type: str
      login_db:
        description: Database that holds the control schema and the guilds.
        type: str
      login_service:
        description: The server's Kubernetes Service as V(namespace/name).
        type: str
      login_secret:
        description: Kubernetes Secret as V(namespace/name) with the keys C(username) and C(password).
        type: str
      ssl_mode:
        description: How TLS is used and checked, in libpq's words.
        type: str
        choices: [allow, disable, prefer, require, verify-ca, verify-full]
      access:
        description: How the server is reached.
        type: str
        choices: [direct, port_forward]
"""
