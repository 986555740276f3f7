# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# ruff: noqa: S608 - the names of guilds are made of numbers
"""One guild of a thousand goes back to an earlier time, and a restored database forgets no erasure. In the order of one story."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _restore_point as points
from ansible_collections.dcm.platform.plugins.module_utils import _restore_proof as proofs

from .conftest import TAKING, Database, Fleet

GUILDS = 1000


@dataclass
class Story:
    """A thousand guilds, a point, mischief after it, and a scratch server at the point."""

    fleet: Fleet
    point: points.Point
    moment: str
    hurt: int
    erased: int
    late: int
    certificates: Path
    scratch: Database
    seconds: float


@pytest.fixture(scope="module")
def story(databases: Callable[..., Database], folder: Path) -> Story:
    fleet = Fleet(databases, folder / f"thousand-{uuid.uuid4().hex[:6]}", GUILDS)
    live = fleet.live
    point = points.take(live.access(), "thousand", -1, TAKING)
    time.sleep(0.1)
    moment = live.query("SELECT now()::text")[0][0]
    hurt, erased, late = fleet.ids[7], fleet.ids[9], fleet.ids[-1] + 1
    live.query(f"DELETE FROM guild_{hurt}.cleanup_action WHERE channel_id > 10 RETURNING 1")
    live.query(f"UPDATE guild_{hurt}.settings SET value = '\"spoilt\"' WHERE key = 'key 7' RETURNING 1")
    live.query(f"UPDATE guild_{fleet.ids[8]}.settings SET value = '\"newer\"' WHERE key = 'key 7' RETURNING 1")
    live.engine([erased], "absent")
    live.engine([late])
    live.engine([late], "absent")
    certificates = folder / f"certificates-{uuid.uuid4().hex[:6]}"
    assert live.erasures("saved", certificates)["erased_guilds"] == sorted(map(str, [erased, late]))
    live.flush()
    start = time.monotonic()
    scratch = fleet.scratch("thousand", type="time", target=moment).start(300)
    return Story(fleet, point, moment, hurt, erased, late, certificates, scratch, time.monotonic() - start)


def test_the_restore_equals_the_point_and_is_written_down(story: Story, folder: Path) -> None:
    assert points.compare(story.scratch.access(), story.point, TAKING) == []
    assert story.point.content.schemas == len(story.point.content.guilds) == GUILDS
    path = folder / f"point-{story.point.name}.json"
    points.write_point(path, story.point)
    assert points.read_point(path) == story.point
    assert path.stat().st_mode & 0o777 == 0o600
    held = story.point.content
    proof = proofs.Proof(True, story.fleet.backup.label, "thousand", story.seconds, len(held.guilds), held.rows, held.schemas, "", "tester")
    with story.fleet.live.access().connect() as conn:
        written = proofs.record(conn, proof, story.fleet.backup.stopped.isoformat(), folder / "proofs")
    assert json.loads(Path(written["report"]).read_text())["equal"] is True
    text = Path(written["metrics"]).read_text()
    assert f"dcm_backup_newest_timestamp_seconds {story.fleet.backup.stopped.timestamp():.15g}\n" in text
    assert f"dcm_restore_proof_guilds {GUILDS}\n" in text
    assert story.fleet.live.query("SELECT equal, backup, guilds FROM dcm.restore_proof") == [(True, story.fleet.backup.label, GUILDS)]


def test_one_guild_goes_back_row_by_row_and_the_others_stay(story: Story, folder: Path) -> None:
    live, one = story.fleet.live, story.hurt
    others = [guild_id for guild_id in story.fleet.ids if guild_id not in (one, story.erased)]
    before = live.content(others)
    archive = folder / f"archive-{uuid.uuid4().hex[:6]}"
    assert story.scratch.archive("exported", archive, [one])["failure"] == ""
    differing = live.archive("compared", archive, [one])["guilds"][0]["differences"]
    assert "settings: row key 7 differs" in differing
    assert "cleanup_action: 35 more rows" in differing
    assert live.archive("imported", archive, [one], replace=True)["failure"] == ""
    assert live.archive("compared", archive, [one])["failure"] == ""
    assert live.content([one]).guilds[str(one)] == story.point.content.guilds[str(one)]
    assert live.content(others).guilds == before.guilds
    assert live.content([]).fingerprint == before.fingerprint


def test_who_was_erased_after_the_point_is_erased_again(story: Story) -> None:
    """The scratch server as the restored database."""
    restored = story.scratch
    assert restored.query("SELECT count(*) FROM dcm.guild WHERE guild_id = %s", story.erased) == [(1,)]
    predicted = restored.erasures("replayed", story.certificates, check=True)
    assert predicted["replayed"] == [str(story.erased)]
    assert restored.query("SELECT count(*) FROM dcm.guild WHERE guild_id = %s", story.erased) == [(1,)]
    others = [guild_id for guild_id in story.fleet.ids if guild_id != story.erased]
    before = restored.content(others)
    done = restored.erasures("replayed", story.certificates)
    assert (done["replayed"], done["forgotten"], done["failure"]) == ([str(story.erased)], 2, "")
    assert restored.query("SELECT count(*) FROM pg_namespace WHERE nspname = %s", f"guild_{story.erased}") == [(0,)]
    assert restored.content(others).guilds == before.guilds
    mine = "SELECT guild_id, erased_at FROM dcm.guild_erasure"
    assert set(story.fleet.live.query(mine)) <= set(restored.query(mine))
    assert restored.erasures("replayed", story.certificates)["changed"] is False
