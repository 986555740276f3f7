# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# ruff: noqa: S608 - the names of guilds are made of numbers
"""Archives on a real server: what is exported comes back as it was, and nothing else is touched."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _guild_archives as archives
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

from .conftest import Lab, Site

ROWS = """
INSERT INTO guild_{0}.settings (key, value)
SELECT 'key ' || n, jsonb_build_object('n', n, 'text', E'tab\\t line\\n back\\\\slash ü') FROM generate_series(1, 50) n;
INSERT INTO guild_{0}.cleanup_rule (name, kind) VALUES ('links', 'link');
INSERT INTO guild_{0}.cleanup_action (event_id, rule_id, channel_id, message_id, author_id, action, reason)
SELECT 'event ' || n, (SELECT max(id) FROM guild_{0}.cleanup_rule), n, n, n, 'deleted', 'because' FROM generate_series(1, 200) n;
"""


def archive(
    site: Site, state: str, folder: Path, ids: Sequence[int] | None = None, check: bool = False, replace: bool = False
) -> dict[str, Any]:
    job = archives.Job(state, ids, folder, replace, 2, check, str(uuid.uuid4()), "tester")
    return archives.run(job, site.access())


@pytest.fixture
def filled(site: Site) -> list[int]:
    """Three guilds with rows that are hard to write down."""
    ids = site.ids(3)
    site.run(ids)
    with site.connect() as conn:
        for guild_id in ids:
            conn.execute(ROWS.format(guild_id))
    return ids


def test_what_was_exported_comes_back_row_by_row(site: Site, filled: list[int], tmp_path: Path) -> None:
    one, *others = filled
    result = archive(site, "exported", tmp_path)
    assert result["failure"] == ""
    assert result["totals"] == {"guilds": 3, "failed": 0, "differing": 0, "rows": 3 * 252}
    assert (tmp_path / f"guild_{one}").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("guild_*/*")} == {0o600}
    with site.connect() as conn:
        conn.execute(f"DELETE FROM guild_{one}.cleanup_action WHERE channel_id < 100")
        conn.execute(f"UPDATE guild_{one}.settings SET value = '1' WHERE key = 'key 7'")
        conn.execute(f"INSERT INTO guild_{one}.settings VALUES ('new', '2')")
    found = archive(site, "compared", tmp_path, [one])["guilds"][0]["differences"]
    assert {"settings: row key 7 differs", "settings: row new is only in the database", "cleanup_action: 94 more rows"} <= set(found)
    assert archive(site, "compared", tmp_path, others)["failure"] == ""
    assert archive(site, "imported", tmp_path, [one], replace=True)["failure"] == ""
    assert archive(site, "compared", tmp_path)["failure"] == ""
    assert site.query(
        f"SELECT max(id) + 1 = nextval(pg_get_serial_sequence('guild_{one}.cleanup_action', 'id')) FROM guild_{one}.cleanup_action"
    ) == [(True,)]
    assert site.query("SELECT action, count(*) FROM dcm.audit_log WHERE action LIKE '%ported' GROUP BY 1 ORDER BY 1") == [
        ("exported", 3),
        ("imported", 1),
    ]
    assert set(site.fingerprints().values()) == {site.expected()}


def test_data_is_not_replaced_unasked(site: Site, filled: list[int], tmp_path: Path) -> None:
    archive(site, "exported", tmp_path, filled[:1])
    assert "exists" in archive(site, "exported", tmp_path, filled[:1])["failure"]
    refused = archive(site, "imported", tmp_path, filled[:1])["failure"]
    assert "the guild has data already, in cleanup_action, cleanup_rule, settings" in refused
    assert archive(site, "compared", tmp_path, filled[:1])["failure"] == ""


def test_a_damaged_file_is_named_and_never_imported(site: Site, filled: list[int], tmp_path: Path) -> None:
    one = filled[0]
    archive(site, "exported", tmp_path, [one])
    file = tmp_path / f"guild_{one}" / "settings.copy.gz"
    whole = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(whole.replace(b"key 7\t", b"key 8\t", 1)))
    for state in ("verified", "imported", "compared"):
        assert f"{file} is not what was written" in archive(site, state, tmp_path, [one], replace=True)["failure"]
    file.write_bytes(gzip.compress(whole.split(b"\n", 1)[1]))
    assert f"{file} has 49 rows, its manifest says 50" in archive(site, "verified", tmp_path)["failure"]
    file.write_bytes(file.read_bytes()[:-20])
    assert f"{file} is damaged" in archive(site, "verified", tmp_path)["failure"]
    (tmp_path / f"guild_{one}" / "manifest.json").unlink()
    assert "no whole archive" in archive(site, "verified", tmp_path, [one])["failure"]
    with pytest.raises(PlatformError, match="holds no archive"):
        archive(site, "verified", tmp_path)


def test_an_archive_of_another_schema_is_refused_with_the_versions(lab: Lab, tmp_path: Path) -> None:
    one = lab.ids(1)[0]
    folder = tmp_path / "archives"
    lab.run([one])
    archive(lab, "exported", folder, [one])
    lab.write(2, "ALTER TABLE item ADD COLUMN size int;")
    lab.run([one], "migrated")
    assert "it lacks 2" in archive(lab, "imported", folder, [one], replace=True)["failure"]
    archive(lab, "exported", folder, [one], replace=True)
    manifest = json.loads((folder / f"guild_{one}" / "manifest.json").read_text())
    assert manifest["tables"]["item"]["columns"] == ["id", "name", "size"]
    other = lab.ids(2)[1]
    (folder / f"guild_{one}").rename(folder / f"guild_{other}")
    lab.run([other])
    assert f"holds guild {one}, not {other}" in archive(lab, "imported", folder, [other], replace=True)["failure"]


def test_one_failing_guild_does_not_stop_the_others(site: Site, filled: list[int], tmp_path: Path) -> None:
    unknown = site.ids(9)[8]
    result = archive(site, "exported", tmp_path, [*filled, unknown])
    assert result["failure"] == f"1 of 4 guilds: guild {unknown}: the guild is not registered here"
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"guild_{guild_id}" for guild_id in filled]


def test_a_check_looks_at_files_and_writes_nothing(site: Site, filled: list[int], tmp_path: Path) -> None:
    folder = tmp_path / "none"
    assert archive(site, "exported", folder, filled, check=True)["changed"]
    assert not folder.exists()
    archive(site, "exported", folder, filled)
    before = site.query("SELECT count(*) FROM dcm.audit_log")
    assert archive(site, "imported", folder, filled, check=True, replace=True)["totals"]["rows"] == 3 * 252
    assert site.query("SELECT count(*) FROM dcm.audit_log") == before


def test_tables_without_key_and_with_references_to_themselves(lab: Lab, tmp_path: Path) -> None:
    lab.write(
        2,
        "CREATE TABLE a_child (a bigint REFERENCES item, up bigint REFERENCES item); CREATE TABLE loose (word varchar(9), doc json);",
    )
    lab.write(3, "CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree, twice int GENERATED ALWAYS AS (id * 2) STORED);")
    one = lab.ids(1)[0]
    lab.run([one])
    with lab.connect() as conn:
        conn.execute(f"SET search_path = guild_{one}; INSERT INTO item (name) VALUES ('x'); INSERT INTO a_child VALUES (1, NULL)")
        conn.execute("INSERT INTO loose VALUES ('b', '{}'), (NULL, '[1]'), ('b', '{}'); INSERT INTO tree (id, up) VALUES (1, 2), (2, 1)")
    assert archive(lab, "exported", tmp_path / "a", [one])["failure"] == ""
    assert archive(lab, "imported", tmp_path / "a", [one], replace=True)["failure"] == ""
    assert archive(lab, "compared", tmp_path / "a", [one])["failure"] == ""
    assert lab.query(f"SELECT count(*), sum(twice) FROM guild_{one}.tree") == [(2, 6)]


def test_settings_and_sorting_of_a_server_make_no_difference(lab: Lab, tmp_path: Path) -> None:
    lab.write(
        2,
        """CREATE TABLE kinds (name varchar(9) COLLATE "C" PRIMARY KEY, at timestamptz, day date, span interval, part float8, raw bytea);
        CREATE TABLE twice (name varchar(9));""",
    )
    one, folder = lab.ids(1)[0], tmp_path / "archives"
    lab.run([one])
    with lab.connect() as conn:
        conn.execute(f"""INSERT INTO guild_{one}.kinds SELECT x, '2026-03-29 02:30+00', '2026-02-01', '1 mon -3 days', 0.1 + 0.2, '\\x00ff'
            FROM unnest(ARRAY['a', 'B', 'ä', '_']) x; INSERT INTO guild_{one}.twice VALUES ('same'), ('same')""")
    assert archive(lab, "exported", folder)["failure"] == ""
    with lab.connect() as conn:
        for setting in ("timezone = 'Asia/Kolkata'", "datestyle = 'SQL, DMY'", "intervalstyle = 'iso_8601'", "bytea_output = 'escape'"):
            conn.execute(f"ALTER DATABASE {lab.database} SET {setting}")
        conn.execute(f"ALTER DATABASE {lab.database} SET extra_float_digits = -9")
        # The same rows sorted in another way, as after a move to a server with other rules for text.
        conn.execute(f'ALTER TABLE guild_{one}.kinds ALTER name TYPE varchar(9) COLLATE "und-x-icu"')
    assert archive(lab, "compared", folder)["failure"] == ""
    assert archive(lab, "imported", folder, replace=True)["failure"] == ""
    with lab.connect() as conn:
        conn.execute(f"DELETE FROM guild_{one}.twice WHERE ctid = (SELECT min(ctid) FROM guild_{one}.twice)")
    assert "twice: the same rows, but not the same number of times" in archive(lab, "compared", folder)["failure"]
