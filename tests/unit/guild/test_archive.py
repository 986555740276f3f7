# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Archives as files: whole or not there, every damage named, and the order in which tables are filled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _guild_archive as archive
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

GUILD = 1_100_000_000_000_000_001


def write(folder: Path, blocks: list[bytes], replace: bool = False) -> archive.Manifest:
    writer = archive.Writer(folder, replace)
    tables = {"item": writer.table("item", blocks, ("id", "name"), ("id",))}
    manifest = archive.Manifest(GUILD, "1", (("1", "abc"),), "free", "default", "2026-11-24T16:00:00+00:00", "db", tables, {"s": (7, True)})
    writer.finish(manifest)
    return manifest


def test_an_archive_reads_back_as_it_was_written(tmp_path: Path) -> None:
    folder = tmp_path / f"guild_{GUILD}"
    written = write(folder, [b"1\ta\n2\t", b"b\\nc\n"])
    assert archive.verify_archive(folder, GUILD) == written
    assert (written.rows, written.digest()) == (2, archive.read_manifest(folder).digest())
    with pytest.raises(PlatformError, match="exists: name another directory"):
        write(folder, [])
    assert write(folder, [], replace=True).rows == 0
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_rows_cut_into_blocks_another_way_have_the_same_hash(tmp_path: Path) -> None:
    hashes = {
        write(tmp_path / str(n), blocks).tables["item"].sha256 for n, blocks in enumerate(([b"1\ta\n2\tb\n"], [b"1", b"\ta\n2\tb", b"\n"]))
    }
    assert len(hashes) == 1


def test_what_was_interrupted_is_no_archive_and_is_cleared_away(tmp_path: Path) -> None:
    folder = tmp_path / f"guild_{GUILD}"
    archive.Writer(folder, False).table("item", [b"1\ta\n"], ("id", "name"), ("id",))
    assert not folder.exists()
    with pytest.raises(PlatformError, match="no whole archive"):
        archive.verify_archive(folder)
    write(folder, [b"2\tb\n"])
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "guild"
    write(folder, [b"1\tsome words\n2\tother words\n"])
    file = folder / "item.copy.gz"
    whole = file.read_bytes()
    unnoticed = []
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            archive.verify_archive(folder)
        except PlatformError as problem:
            assert str(file) in str(problem)  # noqa: PT017 - whether it is raised is counted
        else:
            unnoticed.append(place)
    # Bytes 3 to 9 of a gzip file are flags, time and system: they say nothing about the content.
    assert [place for place in unnoticed if not 3 <= place <= 9] == []


@pytest.mark.parametrize(
    "change", [{"format": 99}, {"tables": 5}, {"guild_id": None, "more": 1}, {"ledger": [[1]]}], ids=["format", "type", "key", "ledger"]
)
def test_a_manifest_that_is_none_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    write(tmp_path / "guild", [])
    path = tmp_path / "guild" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(PlatformError, match=r"manifest\.json"):
        archive.read_manifest(tmp_path / "guild")
    path.write_text("{")
    with pytest.raises(PlatformError, match=r"manifest\.json cannot be read"):
        archive.read_manifest(tmp_path / "guild")


def test_tables_come_after_the_ones_they_point_to() -> None:
    assert archive.fill_order("abcd", [("a", "b"), ("b", "d"), ("c", "c"), ("a", "d")]) == ["c", "d", "b", "a"]
    with pytest.raises(PlatformError, match="in a circle: a, b"):
        archive.fill_order("abc", [("a", "b"), ("b", "a")])


ROWS = b"1\ta\n2\tb\n3\tc\n"
DIFFERENCES = [
    (ROWS, ROWS, []),
    (ROWS, b"3\tc\n1\ta\n2\tb\n", []),
    (ROWS, b"1\ta\n2\tB\n3\tc\n", ["t: row 2 differs"]),
    (ROWS, b"1\ta\n2\tb\n", ["t: row 3 is only in the archive"]),
    (b"1\ta\n", b"1\ta\n4\td\n", ["t: row 4 is only in the database"]),
    (b"", ROWS, ["t: row 1 is only in the database", "t: row 2 is only in the database", "t: 1 more rows"]),
    (b"1\ta\n1\ta\n", b"1\ta\n", ["t: the same rows, but not the same number of times"]),
]


@pytest.mark.parametrize(("archived", "live", "words"), DIFFERENCES)
def test_differences_are_told_by_row(archived: bytes, live: bytes, words: list[str]) -> None:
    assert archive.differing_rows("t", ("id",), ("id", "name"), archived, live, limit=2) == words
