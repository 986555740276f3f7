#!/usr/bin/python
# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: artifacts
short_description: Build programs, images and custom resource definitions from package registries
version_added: 0.1.0
description:
  - Reads an artifact catalogue and builds what is missing into a cache, each entry under the SHA-256 of all that goes into it.
  - An entry whose inputs did not change is never built again; an interrupted build leaves nothing behind.
  - Prints what it builds and how long it has been at it.
options:
  catalog:
    description: Path of the catalogue, see embedded/catalog.yml.
    type: path
    required: true
  source:
    description: Root of the collection; the paths in the catalogue are relative to it.
    type: path
    required: true
  cache:
    description: Folder of the built artifacts. Safe to share between sites and clones.
    type: path
    required: true
  images:
    description: Names of the images to build. When left out, all but those that the catalogue calls on_demand.
    type: list
    elements: str
  on_demand:
    description: Names of further images.
    type: list
    elements: str
    default: []
  binaries:
    description: Names of the programs to build, beside those that the images need. When left out, all but those on_demand.
    type: list
    elements: str
  definitions:
    description: Names of the sets of custom resource definitions to make. All when left out.
    type: list
    elements: str
attributes:
  check_mode:
    description: Says what would be built and under which paths; builds nothing.
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
- name: Build all artifacts
  dcm.platform.artifacts:
    catalog: embedded/catalog.yml
    source: .
    cache: ~/.cache/dcm-platform

- name: Build one program
  dcm.platform.artifacts:
    catalog: embedded/catalog.yml
    source: .
    cache: ~/.cache/dcm-platform
    binaries: [helm]
    definitions: []
    images: []
"""

RETURN = r"""
built:
  description: Names of the entries that were (in check mode, would be) built.
  returned: always
  type: list
  elements: str
  sample: [kube, coredns]
binaries:
  description: For every program, the folder that holds it and its links.
  returned: always
  type: dict
  sample: {helm: /var/cache/dcm-platform/bin/helm-0123456789abcdef}
definitions:
  description: For every set of custom resource definitions, the folder that is a Helm chart with them.
  returned: always
  type: dict
  sample: {gateway-api: /var/cache/dcm-platform/definitions/gateway-api-0123456789abcdef}
images:
  description: Every image that has a reference, in the order of the catalogue.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name in the catalogue.
      type: str
    ref:
      description: The reference under which it is imported.
      type: str
    key:
      description: Content address.
      type: str
    archive:
      description: Path of the OCI archive.
      type: str
"""
