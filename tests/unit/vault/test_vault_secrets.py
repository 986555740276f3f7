# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets in Vault: what is written, and what is left alone."""

from __future__ import annotations

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._generated_secret import KeySpec
from ansible_collections.dcm.platform.plugins.module_utils._vault_secrets import Wanted, plan

GENERATED = Wanted("p", generate={"value": KeySpec(20)})


@pytest.mark.parametrize(
    ("wanted", "found", "data"),
    [
        (Wanted("p", values={"value": "v"}), None, {"value": "v"}),
        (Wanted("p", values={"value": "v"}), {"value": "v", "other": "o"}, None),
        (Wanted("p", values={"value": "v"}), {"value": "old", "other": "o"}, {"value": "v", "other": "o"}),
        (GENERATED, {"value": "there"}, None),
        (Wanted("p", generate={"value": KeySpec(20)}, adopt={"value": "moved"}), None, {"value": "moved"}),
        (Wanted("p", generate={"value": KeySpec(20)}, adopt={"value": "moved"}), {"value": "there"}, None),
        (Wanted("p", required=("value",), adopt={"value": "moved"}), None, {"value": "moved"}),
        (Wanted("p", required=("value",)), {"value": "there"}, None),
    ],
)
def test_plan(wanted: Wanted, found: dict[str, str] | None, data: dict[str, str] | None) -> None:
    change = plan(wanted, found)
    assert (None if change is None else change.data) == data


def test_a_generated_value_is_long_and_not_shown() -> None:
    change = plan(GENERATED, {"other": "kept"})
    assert change is not None
    assert len(change.data["value"]) == 20
    assert change.data["other"] == "kept"
    assert change.data["value"] not in repr(change)
    assert change.describe() == {"path": "p", "written": {"value": "generated (20 characters, alphanumeric)"}}


def test_what_cannot_be_generated_is_asked_for() -> None:
    with pytest.raises(PlatformError, match="the secret p has no field value: put it there"):
        plan(Wanted("p", required=("value",)), None)
