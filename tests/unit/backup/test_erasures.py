# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who was erased, from several sources."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _erasures as erasures
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

ONE = {"guild_id": "1100000000000000001", "erased_at": "2026-11-24T09:30:00.1234+00:00", "kind": "moved"}
TWO = {"guild_id": "1100000000000000002", "erased_at": "2026-11-24T10:30:00+00:00"}


def test_one_erasure_has_one_name_in_every_zone() -> None:
    same = {"guild_id": 1100000000000000001, "erased_at": "2026-11-24T11:30:00.123400+02:00", "erased_by": "postgres"}
    [found] = erasures.union([ONE], [same])
    assert found["kind"] == "moved"
    assert found["erased_by"] == "postgres"
    assert len(erasures.union([ONE], [TWO], [ONE])) == 2


def test_copy_and_certificates_are_read_together(tmp_path: Path) -> None:
    assert erasures.read_directory(tmp_path) == []
    certificate = {"guild": TWO["guild_id"], "erased_at": TWO["erased_at"], "erased_by": "me", "schema_version": "3"}
    (tmp_path / "erasure-1100000000000000002-7.json").write_text(json.dumps(certificate))
    (tmp_path / "erasure-1100000000000000009-8.json").write_text(json.dumps({**certificate, "erased_at": ""}))
    (tmp_path / "ledger.json").write_text(json.dumps({"erasures": [ONE]}))
    assert [found["guild_id"] for found in erasures.read_directory(tmp_path)] == [ONE["guild_id"], TWO["guild_id"]]


@pytest.mark.parametrize("name", ["ledger.json", "erasure-1100000000000000002-7.json"])
def test_what_cannot_be_read_is_not_passed_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(PlatformError, match=f"{name} cannot be read, so it is not known who was erased"):
        erasures.read_directory(tmp_path)
