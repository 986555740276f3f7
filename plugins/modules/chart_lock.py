#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: chart_lock
short_description: Compare a chart lock with the repositories, and fill it in
version_added: "0.1.0"
description:
  - Pulls the package of every chart in a lock file from its own repository, and compares name, version, sha256 and app version.
  - An entry without a sha256 gets one. Order and comments of the file stay.
  - Another content under a locked version is an error, and so is a package that cannot be had; the other charts are still done.
options:
  lock_file:
    description: Path of the lock file.
    type: path
    required: true
  names:
    description: Names of the charts to look at. All when left out.
    type: list
    elements: str
  accept:
    description: Names of charts whose content may have changed under its version.
    type: list
    elements: str
    default: []
  verify_only:
    description: Compare, and write nothing. Entries without a sha256 are listed.
    type: bool
    default: false
  binary_path:
    description: The helm command.
    type: path
    default: helm
attributes:
  check_mode:
    description: Pulls and compares; writes nothing.
    support: full
  diff_mode:
    description: Shows the lines of the file that change.
    support: full
notes:
  - Runs on the controller, which has to reach the chart repositories.
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Fill in the lock
  dcm.platform.chart_lock:
    lock_file: charts/lock.yml

- name: Show that every locked chart is still what it was
  dcm.platform.chart_lock:
    lock_file: charts/lock.yml
    verify_only: true
"""

RETURN = r"""
changes:
  description: For each chart that changed, the new value of its fields.
  returned: always
  type: dict
  sample: {traefik: {sha256: 5dd033a4b872bf641860695705ee460031d0bc695f114bf8926fee6736814e19}}
unlocked:
  description: Charts that still have no sha256 in the file.
  returned: always
  type: list
  elements: str
verified:
  description: Charts whose package was pulled and is the locked one.
  returned: always
  type: list
  elements: str
problems:
  description: What went wrong, by sentence.
  returned: always
  type: list
  elements: str
"""
