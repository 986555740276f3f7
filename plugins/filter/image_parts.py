# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names of container images, as charts take them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: image_parts
short_description: Take the name of a container image apart
version_added: "0.1.0"
description:
  - Returns repository, tag and digest of an image name, as the charts of this collection take them.
  - Refuses a name that does not stand for one fixed image, such as one without a tag or with the tag C(latest).
options:
  _input:
    description: The name.
    type: str
    required: true
  name:
    description: What to call it in an error, for example the variable that it comes from.
    type: str
    default: image
author:
  - DCM platform engineers (@dcm)
"""

EXAMPLES = r"""
- name: Show the tag of an image
  ansible.builtin.debug:
    msg: "{{ ('registry.example:5000/dcm/service:1.4.2' | dcm.platform.image_parts).tag }}"
"""

RETURN = r"""
_value:
  description: C(repository), C(tag) and C(digest); what the name does not have is empty.
  type: dict
  sample: {repository: "registry.example:5000/dcm/service", tag: 1.4.2, digest: ""}
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.dcm.platform.plugins.module_utils import _images
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError


def image_parts(reference: Any, name: str = "image") -> dict[str, str]:
    """See DOCUMENTATION."""
    try:
        return _images.image_parts(str(reference), name)
    except PlatformError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., dict[str, str]]]:
        return {"image_parts": image_parts}
