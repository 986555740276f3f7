#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: chart_packages
short_description: Tell what locked charts need, and copy them to where a site without the internet finds them
version_added: "0.1.0"
description:
  - Fetches the packages of the charts in a lock file, checks their sha256, renders them, and returns versions, sizes and images.
  - With O(folder) or O(registry) it puts the packages there, in the form that C(platform_chart_source) takes, and their images too when
    O(copy_images) is on.
options:
  lock_file:
    description: Path of the lock file.
    type: path
    required: true
  names:
    description: Names of the charts. All when left out.
    type: list
    elements: str
  source:
    description: Where the charts come from, in the form of C(platform_chart_source).
    type: dict
    default: {type: upstream}
  values:
    description: Values of charts, by their name in the lock. They decide which images are needed.
    type: dict
    default: {}
  folder:
    description: A folder for the packages, and for images as archives in its folder C(images).
    type: path
  registry:
    description: The C(oci://) address of a registry for the packages. Images go below it, each under its full name.
    type: str
  plain_http:
    description: Whether that registry speaks HTTP without TLS.
    type: bool
    default: false
  copy_images:
    description: Copy the images too. Needs crane on the controller. A registry without TLS has to have a private address.
    type: bool
    default: false
  crane_path:
    description: The crane command.
    type: path
    default: crane
  binary_path:
    description: The helm command.
    type: path
    default: helm
  chart_cache:
    description: Folder for charts that were pulled.
    type: path
    default: ~/.cache/dcm-platform/charts
attributes:
  check_mode:
    description: Fetches into the cache and reports; copies nothing.
    support: full
  diff_mode:
    description: Nothing to show.
    support: none
notes:
  - Runs on the controller.
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Fill a folder for a site without the internet
  dcm.platform.chart_packages:
    lock_file: charts/lock.yml
    folder: /srv/charts
"""

RETURN = r"""
packages:
  description: The charts.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name in the lock.
      type: str
    chart:
      description: Name of the chart.
      type: str
    version:
      description: Version of the chart.
      type: str
    app_version:
      description: Version of the software, as the package says.
      type: str
    licence:
      description: Licence of the software, as the lock says.
      type: str
    sha256:
      description: Digest of the package.
      type: str
    locked:
      description: Whether the lock has that digest. If not, the package was not checked.
      type: bool
    size:
      description: Size of the package in bytes.
      type: int
    package:
      description: File name of the package.
      type: str
    images:
      description: Images that the chart's objects name.
      type: list
      elements: str
    note:
      description: Why the images are not known.
      type: str
copied:
  description: Charts that were (in check mode, would be) copied.
  returned: always
  type: list
  elements: str
copied_images:
  description: Images that were (in check mode, would be) copied.
  returned: always
  type: list
  elements: str
problems:
  description: What could not be had, by sentence.
  returned: always
  type: list
  elements: str
"""
