# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# ruff: noqa: S608 - the names of guilds are made of numbers
"""Backups of a small fleet: when they are made, what is damaged or missing, and restores that are killed."""

from __future__ import annotations

import random
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _restore_point as points
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

from .conftest import PASSPHRASE, SECRETS, TAKING, Database, Fleet, restoring


def failed_restore(database: Database, seconds: float = 120) -> str:
    """The log of a server that must not come up."""
    database.pod.start()
    assert database.pod.process.wait(seconds) != 0
    return database.pod.log()


def test_the_second_container_makes_backups_when_they_are_due(databases: Callable[..., Database], folder: Path) -> None:
    repository = folder / "due"
    repository.mkdir()
    database = databases({"backup": {"enabled": True}}, repository=repository).start()
    database.pod.start("backup")
    end = time.monotonic() + 90
    while "new backup label" not in database.pod.log("backup"):
        assert time.monotonic() < end, database.pod.log("backup")
        time.sleep(0.5)
    time.sleep(2)
    assert [backup.kind for backup in database.tool.repository().backups] == ["full"]
    assert database.query("SHOW archive_timeout") == [("1min",)]
    began = time.monotonic()
    assert database.pod.stop("backup") == 0
    assert time.monotonic() - began < 5, "it must not hold the pod's end up"
    assert not [line for line in database.pod.log("backup").splitlines() if "ERROR" in line]


def test_secrets_are_in_no_argument_and_the_repository_is_encrypted(small: Fleet) -> None:
    words = [word for process in Path("/proc").glob("[0-9]*/cmdline") for word in read(process).split(b"\0")]
    secrets = (PASSPHRASE.encode(), SECRETS["password"].encode())
    assert not [word for word in words if any(secret in word for secret in secrets)]
    for path in (*small.repository.rglob("*"), *(small.live.pod.folder / "config").iterdir()):
        text = path.read_bytes() if path.is_file() else b""
        assert not [secret for secret in secrets if secret in text], path
        assert b"[backup:current]" not in text, "a manifest that can be read"
    assert PASSPHRASE not in small.live.pod.log()


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_point_holds_exactly_what_was_committed_before(small: Fleet) -> None:
    """Somebody writes all the time; what was hashed is what a restore to the point brings."""
    one = small.ids[0]
    with small.live.connect() as busy:
        point = points.take(small.live.access(), "exact", -1, TAKING)
        busy.execute(f"UPDATE guild_{one}.settings SET value = '\"later\"'".encode())
    assert points.differences(point.content, small.live.content(small.ids))
    scratch = small.scratch("exact", type="name", target="exact", backup=small.backup.label).start()
    assert points.compare(scratch.access(), point, TAKING) == []
    assert scratch.query("SHOW archive_mode") == [("off",)]
    assert scratch.query("SELECT pg_is_in_recovery()") == [(False,)]
    with scratch.connect() as conn:
        conn.execute(f"UPDATE guild_{one}.settings SET value = '1' WHERE key = 'key 7'".encode())
        conn.execute(f"DELETE FROM guild_{small.ids[1]}.cleanup_action WHERE channel_id = 3".encode())
        conn.execute(f"DROP INDEX guild_{small.ids[2]}.cleanup_action_occurred_at_idx".encode())
    assert points.compare(scratch.access(), point, TAKING) == [
        f"guild {one}, settings: other content in its 20 rows",
        f"guild {small.ids[1]}, cleanup_action: 49 rows, not 50",
        "the fingerprints of the guilds' schemas are others",
    ]


def test_a_point_waits_for_writers_and_names_who_keeps_it(small: Fleet) -> None:
    with small.live.connect() as busy, busy.transaction():
        busy.execute(f"DELETE FROM guild_{small.ids[0]}.settings WHERE key = 'key 1'".encode())
        with pytest.raises(PlatformError, match="stayed locked by somebody else"):
            points.take(small.live.access(lock_timeout=0.2), "kept", -1, TAKING)
    assert points.take(small.live.access(), "free", -1, TAKING).content.rows


@pytest.fixture
def copied(small: Fleet, folder: Path) -> Path:
    """The repository as it is, to be damaged."""
    target = folder / f"copy-{random.getrandbits(32):x}"
    shutil.copytree(small.repository, target)
    return target


def test_a_flipped_byte_in_a_backup_is_named(small: Fleet, copied: Path) -> None:
    scratch = small.scratch("flipped", copied)
    assert scratch.tool.verify(small.backup) == []
    bundle = min((copied / "backup/main" / small.backup.label / "bundle").iterdir())
    whole = bytearray(bundle.read_bytes())
    whole[len(whole) // 2] ^= 1
    bundle.write_bytes(whole)
    [problem] = scratch.tool.verify(small.backup)
    assert small.backup.label in problem
    log = failed_restore(scratch)
    # The byte lies in a file that is compressed and encrypted: the checksum differs, or it cannot even be unpacked.
    assert re.search(r"error restoring|FormatError", log), log
    assert not (scratch.pod.folder / "data" / "data").exists(), "nothing half is taken for a database"


def test_a_missing_segment_is_named(small: Fleet, copied: Path) -> None:
    point = points.take(small.live.access(), "missing", 1, TAKING)
    shutil.rmtree(copied)
    shutil.copytree(small.repository, copied)
    scratch = small.scratch("missing", copied, type="name", target="missing", backup=small.backup.label)
    assert scratch.tool.verify(small.backup, point.wal, everything=False) == []
    [segment] = (copied / "archive/main/15-1").glob(f"*/{point.wal}-*")
    earlier = min(path for path in segment.parent.glob("0*-*") if path.name > small.backup.last_wal + "-~")
    for gone in (earlier, segment):
        gone.rename(copied / "gone")
        assert [gone.name[:24] in problem for problem in scratch.tool.verify(small.backup, point.wal, everything=False)] == [True]
        assert "recovery ended before configured recovery target was reached" in failed_restore(scratch)
        (copied / "gone").rename(gone)


def test_a_damaged_segment_is_named(small: Fleet, copied: Path) -> None:
    scratch = small.scratch("damaged", copied)
    segment = max((copied / "archive/main/15-1").glob("*/0*-*"))
    whole = bytearray(segment.read_bytes())
    whole[len(whole) // 2] ^= 1
    segment.write_bytes(whole)
    [problem] = scratch.tool.verify(small.backup)
    assert segment.name in problem


def test_without_its_passphrase_a_repository_is_nothing(small: Fleet) -> None:
    scratch = small.scratch("locked")
    scratch.pod.set_file("repository-access", "cipher", "another one")
    assert "unable to load info file" in failed_restore(scratch)


def test_a_target_that_is_never_reached_is_an_error(small: Fleet) -> None:
    tomorrow = small.live.query("SELECT (now() + interval '1 day')::text")[0][0]
    log = failed_restore(small.scratch("never", type="time", target=tomorrow))
    assert "recovery ended before configured recovery target was reached" in log


def test_a_killed_restore_is_repeated_and_the_old_data_is_kept(databases: Callable[..., Database], folder: Path) -> None:
    """In place, over a live server: until the restore has ended well the old data is what starts."""
    fleet = Fleet(databases, folder / "killed", 1)
    live, one = fleet.live, fleet.ids[0]
    before = live.content([one])
    live.flush()
    moment = live.query("SELECT now()::text")[0][0]
    time.sleep(1.1)
    live.query(f"DELETE FROM guild_{one}.settings RETURNING 1")
    live.flush()
    assert live.pod.stop() == 0, live.pod.log()
    live.pod.configure({"restore": {"id": "killed-1", "type": "time", "target": moment}})
    for delay in (0.05, 0.4, 0.8, 1.2, 1.6, 2.2, 3.0):
        live.pod.start()
        time.sleep(delay)
        live.pod.kill()
    live.start()
    assert live.content([one]) == before
    assert live.query("SELECT pg_walfile_name(pg_current_wal_lsn()) LIKE '00000002%%'") == [(True,)]
    # The restore of one word happens once; what is written after it stays over the next start.
    live.query(f"INSERT INTO guild_{one}.settings VALUES ('after', '1') RETURNING 1")
    live.pod.stop()
    live.start()
    assert live.query(f"SELECT count(*) FROM guild_{one}.settings") == [(21,)]
    live.flush()
    # Archiving goes on, on the new timeline, and the old one can still be followed.
    live.pod.stop()
    live.pod.configure(restoring("back") | {"restore": {"id": "back", "type": "latest", "target": "", "timeline": "1"}})
    live.start()
    assert live.query(f"SELECT count(*) FROM guild_{one}.settings") == [(0,)]
    assert (live.pod.folder / "data" / "data.before" / "PG_VERSION").exists()


def test_a_failed_restore_leaves_the_server_as_it_was(databases: Callable[..., Database], folder: Path) -> None:
    fleet = Fleet(databases, folder / "failed", 1)
    before = fleet.live.content(fleet.ids)
    fleet.live.pod.stop()
    fleet.live.pod.configure({"restore": {"id": "failed-1", "type": "name", "target": "no-such-point"}})
    assert "recovery ended before configured recovery target was reached" in failed_restore(fleet.live)
    fleet.live.pod.configure({"restore": {"id": "", "type": "latest", "target": ""}})
    assert fleet.live.start().content(fleet.ids) == before
