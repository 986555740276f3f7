# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All promises, in the order of the layers."""

from __future__ import annotations

from ansible_collections.dcm.platform.plugins.module_utils import (
    _verify_admission,
    _verify_backup,
    _verify_cluster,
    _verify_data,
    _verify_edge,
    _verify_network,
    _verify_pods,
    _verify_services,
    _verify_vault,
)
from ansible_collections.dcm.platform.plugins.module_utils._verify import Promise

LAYERS = ("cluster", "vault", "components", "data", "services")


def all_promises() -> list[Promise]:
    """Every promise of the platform."""
    files = (
        _verify_cluster,
        _verify_admission,
        _verify_network,
        _verify_pods,
        _verify_vault,
        _verify_edge,
        _verify_data,
        _verify_backup,
        _verify_services,
    )
    found = [promise for file in files for promise in file.PROMISES]
    return sorted(found, key=lambda promise: LAYERS.index(promise.layer))
