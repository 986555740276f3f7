# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_guard
short_description: Refuse a run that is not meant for this site, or not now
version_added: "0.1.0"
description:
  - The first task of every playbook of this collection. It runs on the controller, in well under a second.
  - Checks in this order that an inventory was given, that all inputs of the site (the argument specs of role guard) are there and valid,
    that the folder of the inventory is named after its environment, that the software on the controller is new enough, that the site is
    not protected from what is going to be done, that it was confirmed, that the kubeconfig leads to the cluster that the inventory names,
    and that no other run is at work on the site.
  - All problems with the inventory are told at once.
  - The lock on the site is a file in C(platform_state_dir) and, as soon as there is a cluster, the Lease C(dcm-operator) in namespace
    C(kube-system). Both are kept for as long as the playbook's process lives, and given back when it ends, however it ends.
  - A playbook that imports others which have this task too is one run and does not lock itself out.
options:
  access:
    description:
      - What the playbook is going to do to the site.
      - V(read) takes no lock and asks nothing; V(change) is confirmed where C(platform_confirmation) is V(typed); V(destroy) is confirmed
        everywhere, and refused where C(platform_deletion_protection) is on.
    type: str
    choices: [read, change, destroy]
    default: change
attributes:
  check_mode:
    description: Takes no lock and needs no confirmation.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Check inventory, cluster and operator
  dcm.platform.site_guard:
    access: destroy
  run_once: true
"""

RETURN = r"""
site:
  description: The id of the site.
  returned: success
  type: str
  sample: local
cluster_uid:
  description: The UID of the cluster behind the kubeconfig; empty where there is none yet.
  returned: success
  type: str
  sample: 0f0b4b3e-8a7e-4d5c-9f5e-0d6b6f0a6a51
"""
