# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When a backup, and a proof, is too old."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _verify_backup as checks
from ansible_collections.dcm.platform.plugins.module_utils._pgbackrest import Backup
from ansible_collections.dcm.platform.plugins.module_utils._verify import Broken, NotApplicable


def backup(age: timedelta) -> Backup:
    stopped = datetime.now(UTC) - age
    return Backup(f"made-{age.days}-days-ago", "full", stopped, stopped, "", "", 0, 0)


def site(**inputs: Any) -> Any:
    return SimpleNamespace(inputs=SimpleNamespace(**{"backup_repository": "s3", "backup_days": 2, "backup_proof_days": 7, **inputs}))


def given(monkeypatch: pytest.MonkeyPatch, backups: list[timedelta], proof: timedelta | None = None) -> None:
    """What the repository and the control schema answer."""
    row = (datetime.now(UTC) - proof, "20261124-030000F", 41.5, 20) if proof is not None else None

    @contextlib.contextmanager
    def connect(*_arguments: Any) -> Iterator[Any]:
        yield SimpleNamespace(execute=lambda _statement: SimpleNamespace(fetchone=lambda: row))

    monkeypatch.setattr(checks, "_backups", lambda _site: tuple(map(backup, backups)))
    monkeypatch.setattr(checks, "administrator", lambda _site: ("postgres", ""))
    monkeypatch.setattr(checks, "connect", connect)


DAY = timedelta(days=1)


def test_an_old_backup_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, [9 * DAY, DAY])
    assert "is 24.0 hours old; 2 are kept" in checks.backup_fresh(site())
    given(monkeypatch, [9 * DAY, 3 * DAY])
    with pytest.raises(Broken) as broken:
        checks.backup_fresh(site())
    assert "made-3-days-ago, is 3 days old" in broken.value.found


def test_an_old_proof_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, [9 * DAY, DAY], proof=3 * DAY)
    assert "restored in 41.5 s and compared 3.0 days ago, 20 guilds" in checks.restore_proven(site())
    given(monkeypatch, [9 * DAY, DAY], proof=8 * DAY)
    with pytest.raises(Broken) as broken:
        checks.restore_proven(site())
    assert broken.value.found == "the newest is 8 days old"


def test_a_new_site_has_time_for_its_first_drill(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, [6 * DAY, DAY])
    with pytest.raises(NotApplicable, match="no drill yet"):
        checks.restore_proven(site())
    given(monkeypatch, [8 * DAY, DAY])
    with pytest.raises(Broken) as broken:
        checks.restore_proven(site())
    assert broken.value.found.startswith("none, and there are backups since")


@pytest.mark.parametrize(("repository", "said"), [("none", "makes no backups"), ("foreign", "is not asked")])
def test_what_is_not_ours_is_not_promised(repository: str, said: str) -> None:
    with pytest.raises(NotApplicable, match=said):
        checks.wal_archived(site(backup_repository=repository))
