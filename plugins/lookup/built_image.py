# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The full names of images that this collection builds."""

from __future__ import annotations

DOCUMENTATION = r"""
name: built_image
short_description: Name of an image that is built from embedded/catalog.yml
version_added: "0.1.0"
description:
  - Returns the name under which P(dcm.platform.embedded_cluster#role) puts an image of C(embedded/catalog.yml) on its node. Its tag is the
    content address, so the name changes exactly when the image does.
  - Nothing is built and nothing is asked for over the network.
options:
  _terms:
    description: Names of images in the catalogue.
    type: list
    elements: str
    required: true
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Show the image of the DCM services
  ansible.builtin.debug:
    msg: "{{ lookup('dcm.platform.built_image', 'service') }}"
"""

RETURN = r"""
_raw:
  description: The names, each with registry, repository and tag.
  type: list
  elements: str
  sample: [dcm.example/service:0f3e5d9c1b2a4857]
"""

import sys
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.dcm.platform.plugins.module_utils._artifact_build import find_go, host_suite
from ansible_collections.dcm.platform.plugins.module_utils._artifact_plan import read_catalog
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

SOURCE = Path(__file__).resolve().parents[2]


class LookupModule(LookupBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        del variables
        self.set_options(direct=kwargs)
        path = SOURCE / "embedded" / "catalog.yml"
        try:
            _, go_version = find_go(["go", str(Path(sys.executable).parent / "go")])
            catalog = read_catalog(yaml.safe_load(path.read_text()), SOURCE, go_version, host_suite(Path("/etc/os-release").read_text()))
        except (PlatformError, OSError) as error:
            raise AnsibleLookupError(f"the names of built images cannot be told: {error}") from error
        images = {name: image.ref for name, image in catalog.images.items() if image.ref}
        if unknown := sorted(set(terms) - set(images)):
            raise AnsibleLookupError(f"no image named {', '.join(unknown)} is built from {path}; there are {', '.join(images)}")
        return [images[term] for term in terms]
