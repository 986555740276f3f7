# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ids and files of ids: what is taken, and what is refused with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_ids import DISCORD_EPOCH_MS, parse_snowflake
from ansible_collections.dcm.platform.plugins.module_utils._guild_input import file_entries, option_entries, read_wanted
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Wanted

NOW = DISCORD_EPOCH_MS + 350_000_000_000
GOOD = 1_100_000_000_000_000_001


@pytest.mark.parametrize("value", [GOOD, str(GOOD), "21154535154122752", 41771983423143937])
def test_takes_snowflakes(value: Any) -> None:
    assert parse_snowflake(value, "here", NOW) == int(value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("0", "positive"),
        (0, "positive"),
        ("-1", "positive"),
        (-1, "positive"),
        ("1; drop schema", "positive"),
        ("٣", "positive"),
        ("\uff11\uff11" + "\uff10" * 16, "positive"),
        ("007", "leading zero"),
        ("", "positive"),
        (f" {GOOD}", "positive"),
        (f"{GOOD}\n", "positive"),
        ("1e18", "positive"),
        ("9" * 30, "positive"),
        (2**64, "63 bits"),
        (2**63, "63 bits"),
        (str(2**64), "63 bits"),
        ("123456", "older than Discord"),
        (2**63 - 1, "in the future"),
        (1.1e18, "as digits"),
        (True, "as digits"),
        (None, "as digits"),
        ([GOOD], "as digits"),
    ],
)
def test_refuses_everything_else(value: Any, reason: str) -> None:
    with pytest.raises(PlatformError, match=reason) as problem:
        parse_snowflake(value, "guilds, item 7", NOW)
    assert str(problem.value).startswith("guilds, item 7: ")
    assert repr(value) in str(problem.value)


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


FILES = {
    "header.csv": f"id,plan,state\n{GOOD},premium,\n\n{GOOD + 1},,suspended\n",
    "order.csv": f"\ufeffstate,id,plan\n,{GOOD},premium\nsuspended,{GOOD + 1},\n",
    "list.json": f'[{{"id": "{GOOD}", "plan": "premium"}}, {{"id": {GOOD + 1}, "state": "suspended"}}]',
    "named.json": f'{{"guilds": [{{"id": "{GOOD}", "plan": "premium"}}, {{"id": "{GOOD + 1}", "state": "suspended"}}]}}',
    "list.yml": f"- {{id: '{GOOD}', plan: premium}}\n- {{id: {GOOD + 1}, state: suspended}}\n",
}


@pytest.mark.parametrize("name", FILES)
def test_reads_files(tmp_path: Path, name: str) -> None:
    found = read_wanted(file_entries(write(tmp_path, name, FILES[name])))
    assert found == [Wanted(GOOD, "present", "premium"), Wanted(GOOD + 1, "suspended")]


@pytest.mark.parametrize("text", [f"{GOOD}\n{GOOD + 1}\n", f"id\n{GOOD}\n{GOOD + 1}"])
def test_reads_bare_ids(tmp_path: Path, text: str) -> None:
    assert [guild.guild_id for guild in read_wanted(file_entries(write(tmp_path, "ids.csv", text)))] == [GOOD, GOOD + 1]


BROKEN = {
    "duplicate.csv": (f"id\n{GOOD}\n{GOOD + 1}\n{GOOD}\n", ["line 4", "already named in", "line 2"]),
    "empty.csv": ("", ["names no guild"]),
    "header.csv": ("id,plan\n", ["names no guild"]),
    "empty.json": ("[]", ["names no guild"]),
    "empty.yml": ("", ["names no guild"]),
    "line500.csv": ("id\n" + "".join(f"{GOOD + n}\n" for n in range(498)) + f'"{GOOD}x\n', ["line 500", "broken CSV"]),
    "columns.csv": (f"id,plan\n{GOOD},premium\n{GOOD + 1}\n", ["line 3", "1 columns", "2"]),
    "column.csv": ("id,colour\n", ["line 1", "'colour'"]),
    "noheader.csv": (f"{GOOD},premium\n", ["line 1", "name the columns"]),
    "broken.json": ('[\n{"id" 1}]', ["line 2", "broken JSON"]),
    "broken.yml": ("- id: [1\n- id: 2\n", ["line 2", "broken YAML"]),
    "text.json": ('"x"', ["expected a list"]),
    "key.json": (f'[{{"id": {GOOD}, "colour": 1}}]', ["item 1", "'colour'"]),
    "noid.json": ('[{"plan": "free"}]', ["item 1", "'id' is missing"]),
    "state.json": (f'[{{"id": {GOOD}, "state": "gone"}}]', ["item 1", "'gone'", "present"]),
    "plan.json": (f'[{{"id": {GOOD}, "plan": "Pre mium"}}]', ["item 1", "'Pre mium'"]),
    "id.csv": (f"{GOOD}\nhello\n", ["line 2", "'hello'"]),
    "guilds.txt": ("", [".csv"]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_names_the_place_of_a_mistake(tmp_path: Path, name: str) -> None:
    text, words = BROKEN[name]
    file = write(tmp_path, name, text)
    with pytest.raises(PlatformError) as problem:
        read_wanted(file_entries(file))
    assert file in str(problem.value)
    assert not [word for word in words if word not in str(problem.value)], problem.value


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="cannot be read: No such file"):
        read_wanted(file_entries(str(tmp_path / "none.csv")))


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe1\x00")
    with pytest.raises(PlatformError, match="not UTF-8"):
        read_wanted(file_entries(str(tmp_path / "x.csv")))


def test_options_may_be_bare_ids_or_dictionaries() -> None:
    found = read_wanted(option_entries([str(GOOD), {"id": GOOD + 1, "plan": "premium"}]), "migrated")
    assert found == [Wanted(GOOD, "migrated"), Wanted(GOOD + 1, "migrated", "premium")]
