# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of guilds as accident or malice would write them: one message with the place, never a traceback, never another guild."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_input import file_entries, option_entries, read_wanted

GOOD = 1_100_000_000_000_000_001
OCTAL = f"0{GOOD:o}"
BOMB = "- [&a0 [x], " + ", ".join(f"&a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)) + "]\n"

REFUSED: dict[str, tuple[str | bytes, list[str]]] = {
    "deep.json": ("[" * 100_000, ["broken JSON", "too deeply"]),
    "digits.json": (f"[{'1' * 5000}]", ["item 1", "positive whole number"]),
    "digits.yml": (f"- {'1' * 5000}", ["item 1", "positive whole number"]),
    "digits.csv": ("1" * 5000, ["line 1", "positive whole number"]),
    "day.yml": ("- 2026-13-45\n", ["item 1", "'2026-13-45'"]),
    "time.yml": ("- 2026-02-30 10:00:00\n", ["item 1"]),
    "hex.yml": ("- 0x_\n", ["item 1", "'0x_'"]),
    "octal.yml": (f"- {OCTAL}\n", ["item 1", f"'{OCTAL}'", "leading zero"]),
    "minutes.yml": ("- 1:30\n", ["item 1", "'1:30'"]),
    "float.yml": ("- 1.1e+18\n", ["item 1", "'1.1e+18'"]),
    "float.json": ("[1.1e18]", ["item 1", "'1.1e18'"]),
    "nan.json": ("[NaN]", ["item 1", "'NaN'"]),
    "bomb.yml": (BOMB, ["item 1", "in quotes"]),
    "python.yml": ("- !!python/object/apply:os.system ['true']\n", ["line 1", "broken YAML"]),
    "documents.yml": (f"- '{GOOD}'\n---\n- '{GOOD + 1}'\n", ["line 2", "broken YAML"]),
    "alias.yml": ("- *nothing\n", ["line 1", "broken YAML"]),
    "keys.yml": (f"- {{id: '{GOOD}'}}\n- {{id: '{GOOD + 1}', id: '{GOOD + 2}'}}\n", ["line 2", "'id' is written twice"]),
    "keys.json": (f'[{{"id": "{GOOD}", "id": "{GOOD + 1}"}}]', ["'id' is written twice", str(GOOD)]),
    "columns.csv": (f"id,plan,plan\n{GOOD},free,premium\n", ["line 1", "'plan' is there twice"]),
    "case.csv": (f"ID,PLAN\n{GOOD},free\n", ["line 1", "name the columns"]),
    "semicolon.csv": (f"id;plan\n{GOOD};free\n", ["line 1", "'id;plan'"]),
    "quote.csv": (f'id\n"{GOOD}"x\n', ["line 2", "broken CSV"]),
    "field.csv": ("id\n" + "x" * 200_000, ["line 2", "broken CSV", "field larger"]),
    "nul.csv": (f"id\n{GOOD}\n{GOOD + 1}\0\n", ["line 3", "\\x00"]),
    "nul.json": (f'["{GOOD}\\u0000"]', ["item 1", "\\x00"]),
    "nul.yml": (f"- '{GOOD}\0'\n", ["broken YAML", "control characters"]),
    "surrogate.json": ('["\\ud800"]', ["item 1", "'\\ud800'"]),
    "utf16.csv": (f"id\n{GOOD}\n".encode("utf-16"), ["not UTF-8"]),
    "object.json": (f'{{"{GOOD}": {{"plan": "free"}}}}', ["expected a list of guilds, found dict"]),
    "nested.json": (f'[["{GOOD}"]]', ["item 1", "in quotes"]),
    "null.json": ("null", ["names no guild"]),
    "twice.json": ("[]\n[]", ["line 2", "broken JSON"]),
    "state.json": (f'[{{"id": "{GOOD}", "state": {{"a": 1}}}}]', ["item 1", "state {'a': "]),
    "plan.json": (f'[{{"id": "{GOOD}", "plan": ["free"]}}]', ["item 1", "plan ['free']"]),
}
TAKEN = {
    "bom.csv": f"\ufeffid\r\n{GOOD}\r\n",
    "bom.json": f'\ufeff["{GOOD}"]',
    "bom.yml": f"\ufeff- '{GOOD}'\r\n",
    "old_mac.csv": f"id\r{GOOD}\r",
    "bare.yml": f"- {GOOD}\n",
    "bare.json": f"[{GOOD}]",
    "spaces.csv": f" id , plan \n {GOOD} ,\n",
}


def write(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    content, words = REFUSED[name]
    file = write(tmp_path, name, content)
    with pytest.raises(PlatformError) as problem:
        read_wanted(file_entries(file))
    said = str(problem.value)
    assert said.startswith(file)
    assert "\n" not in said
    assert len(said) < len(file) + 400
    assert [word for word in words if word not in said] == [], said


@pytest.mark.parametrize("name", TAKEN)
def test_is_taken(tmp_path: Path, name: str) -> None:
    assert [guild.guild_id for guild in read_wanted(file_entries(write(tmp_path, name, TAKEN[name])))] == [GOOD]


def test_a_duplicate_across_sources_names_both(tmp_path: Path) -> None:
    file = write(tmp_path, "guilds.csv", f"id\n{GOOD}\n")
    with pytest.raises(PlatformError, match=r"guilds\.csv, line 2: guild \d+ was already named in guilds, item 1"):
        read_wanted([*option_entries([GOOD]), *file_entries(file)])


@pytest.mark.parametrize("ending", ["csv", "json", "yml"])
def test_a_hundred_thousand_lines_fit_into_little_memory(tmp_path: Path, ending: str) -> None:
    ids = range(GOOD, GOOD + (100_000 if ending != "yml" else 10_000))
    lines = {
        "csv": "id,plan\n" + "".join(f"{guild_id},free\n" for guild_id in ids),
        "json": "[" + ",".join(f'{{"id":"{guild_id}"}}' for guild_id in ids) + "]",
        "yml": "".join(f"- '{guild_id}'\n" for guild_id in ids),
    }
    file = write(tmp_path, f"guilds.{ending}", lines[ending])
    del lines
    tracemalloc.start()
    try:
        wanted = read_wanted(file_entries(file))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(wanted) == len(ids)
    assert peak < 100_000_000
