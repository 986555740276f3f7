# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_summary
short_description: Tell what runs where, how to open it and what to try next
version_added: "0.1.0"
description:
  - Reads the live cluster and the last report of M(dcm.platform.verify_promises), and prints a screen of text.
options:
  site:
    description: Id of the site.
    type: str
    required: true
  environment:
    description: Environment of the site.
    type: str
    required: true
  profile:
    description: Profile of the site.
    type: str
    required: true
  inventory:
    description: The inventory, for the commands that are shown.
    type: path
    required: true
  kubeconfig:
    description: Kubeconfig of the cluster. Nothing is told while there is none.
    type: path
    required: true
  context:
    description: Context in it. The current one when empty.
    type: str
    default: ""
  programs_dir:
    description: Folder with kubectl and helm.
    type: path
    required: true
  access:
    description: Whether addresses of the cluster can be opened from the controller.
    type: str
    choices: [direct, port_forward]
    default: port_forward
  namespace_data:
    description: Namespace of the databases.
    type: str
    default: dcm-data
  namespace_services:
    description: Namespace of the DCM services.
    type: str
    default: dcm-services
  namespace_ingress:
    description: Namespace of the ingress controller.
    type: str
    default: traefik
  hosts:
    description: Host names from outside, by service.
    type: dict
    default: {}
  authority_file:
    description: File with the certificate of the private authority; empty where certificates come from a public one.
    type: str
    default: ""
  guilds:
    description: Guilds of the site. The first one is used in the commands that are shown.
    type: list
    elements: raw
    default: []
  report_dir:
    description: Folder of the reports.
    type: path
    required: true
attributes:
  check_mode:
    description: Reads and prints.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Tell what runs
  dcm.platform.site_summary:
    site: local
    environment: local
    profile: lite
    inventory: inventories/local
    kubeconfig: /var/lib/dcm/local/kubeconfig
    programs_dir: /var/lib/dcm/local/bin
    access: direct
    report_dir: /var/lib/dcm/local/reports
"""

RETURN = r"""
summary:
  description: The text, by line.
  returned: when there is a cluster
  type: list
  elements: str
  sample: ["Site 'local' (local, lite): Kubernetes v1.37.2, nodes: 1"]
"""
