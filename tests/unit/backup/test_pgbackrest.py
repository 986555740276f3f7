# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What pgBackRest says, read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _pgbackrest as words
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

SHA = "eb7a87654f7bb41a10c9128ffdfd41226d9b080d"


def backup(label: str, stop: int, error: bool = False) -> dict[str, Any]:
    return {
        "archive": {"start": "000000010000000000000002", "stop": "000000010000000000000003"},
        "error": error,
        "info": {"size": 22, "repository": {"size": 3}},
        "label": label,
        "timestamp": {"start": stop - 5, "stop": stop},
        "type": "full",
    }


def info(*backups: dict[str, Any], code: int = 0, message: str = "ok") -> str:
    return json.dumps([{"name": "main", "status": {"code": code, "message": message}, "backup": backups, "archive": [{"id": "15-1"}]}])


def test_backups_that_ended_well_the_newest_last() -> None:
    found = words.read_info(info(backup("b", 200), backup("broken", 300, error=True), backup("a", 100)))
    assert [entry.label for entry in found.backups] == ["a", "b"]
    assert found.newest.as_dict()["stopped"] == "1970-01-01T00:03:20+00:00"
    assert found.archive == "15-1"
    assert found.labelled("a").first_wal == "000000010000000000000002"
    with pytest.raises(PlatformError, match="no backup c: there are a, b"):
        found.labelled("c")


def test_a_repository_without_backups_is_one() -> None:
    found = words.read_info(info(code=2, message="no valid backups"))
    assert found.backups == ()
    with pytest.raises(PlatformError, match=r"no base backup yet: run playbooks/backup\.yml"):
        _ = found.newest


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (info(code=1, message="missing stanza path"), "stanza main is not in order: missing stanza path"),
        ("", "nothing that can be read"),
        ("[]", "nothing that can be read"),
        ('[{"name": "x"}]', "nothing that can be read"),
    ],
)
def test_what_cannot_be_used_is_said(text: str, says: str) -> None:
    with pytest.raises(PlatformError, match=says):
        words.read_info(text)


def listing(*names: str) -> list[str]:
    return [f"15-1/{name[:16]}/{name}-{SHA}.zst" for name in names]


def wal(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


@pytest.mark.parametrize(
    ("there", "first", "last", "missing"),
    [
        ([2, 3, 4], 2, None, []),
        ([2, 4], 2, None, [3]),
        ([1, 3, 4], 3, None, []),
        ([3, 4], 2, None, [2]),
        ([2, 3], 2, 5, [4, 5]),
        ([254, 255, 257], 254, 258, [256, 258]),
        ([], 7, None, [7]),
    ],
)
def test_gaps_in_the_archive(there: list[int], first: int, last: int | None, missing: list[int]) -> None:
    names = [
        *listing(*map(wal, there)),
        "15-1/0000000100000000/000000010000000000000002.00000028.backup",
        "15-1/00000002.history",
        "archive.info",
    ]
    assert words.missing_segments(names, wal(first), wal(last) if last else "") == [wal(number) for number in missing]


def test_each_timeline_by_itself() -> None:
    """The second one begins in the segment where the first was left, here the first went on to 6."""
    names = listing(wal(2), wal(3), wal(4), wal(6), wal(4, 2), wal(5, 2), wal(7, 2))
    assert words.missing_segments(names, wal(2)) == [wal(5), wal(6, 2)]
    assert words.missing_segments(names, wal(5, 2), wal(8, 2)) == [wal(6, 2), wal(8, 2)]


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(PlatformError, match="is no name of a WAL segment"):
        words.missing_segments([], "latest")


def test_lines_that_say_what_went_wrong() -> None:
    log = (
        "2026-11-24 21:52:54.364 P00   INFO: restore command begin\n"
        "2026-11-24 21:52:54.365 P00  ERROR: [026]: error restoring 'base/5/1255'\n"
        "2026-11-24 21:52:54.365 P00  ERROR: [026]: error restoring 'base/5/1255'\n"
        "2026-11-24 21:53:10.224 GMT [21435] user= FATAL:  recovery ended before configured recovery target was reached\n"
    )
    assert words.trouble_lines(log) == [
        "ERROR: [026]: error restoring 'base/5/1255'",
        "2026-11-24 21:53:10.224 GMT [21435] user= FATAL:  recovery ended before configured recovery target was reached",
    ]


def test_a_few_names() -> None:
    assert words.some(["a", "b"]) == "a, b"
    assert words.some([str(number) for number in range(7)]) == "0, 1, 2, 3, 4, and 2 more"
