# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Guilds asked for: from module options, or a CSV, JSON or YAML file of any size. Every complaint names the place."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import yaml
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_ids import parse_snowflake, shown
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import PRESENT, WANTED_STATES, Wanted

KEYS = ("id", "plan", "placement", "state")
WORD = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Entry = tuple[str, Any]


class _Loader(LOADER):  # type: ignore[misc, valid-type]
    """Numbers and dates stay the text that was written: as a number, an id with a leading zero would be another guild's (octal)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        keys = [key.value for key, _value in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := _twice(keys):
            raise yaml.constructor.ConstructorError(None, None, f"the key {shown(twice)} is written twice", node.start_mark)
        return super().construct_mapping(node, deep)


for _kind in ("int", "float", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", lambda loader, node: loader.construct_scalar(node))


def _twice(keys: list[str]) -> str | None:
    """A key that stands there twice: one of its values would be lost without a word."""
    return next((key for number, key in enumerate(keys) if key in keys[:number]), None) if len(set(keys)) < len(keys) else None


def read_wanted(entries: Iterable[Entry], default_state: str = PRESENT) -> list[Wanted]:
    """Checks all entries; two of the same id are an error that names both places."""
    seen: dict[int, str] = {}
    wanted: list[Wanted] = []
    for where, entry in entries:
        guild = _one(where, entry, default_state)
        if guild.guild_id in seen:
            raise PlatformError(f"{where}: guild {guild.guild_id} was already named in {seen[guild.guild_id]}")
        seen[guild.guild_id] = where
        wanted.append(guild)
    return wanted


def read_ids(guilds: Iterable[Any], file: str | None) -> list[int]:
    """Ids alone, from options and a file; at least one."""
    entries = [*option_entries(list(guilds)), *(file_entries(file) if file else ())]
    if not entries:
        raise PlatformError("no guild is named")
    return [guild.guild_id for guild in read_wanted(entries)]


def _one(where: str, entry: Any, default_state: str) -> Wanted:
    values = entry if isinstance(entry, Mapping) else {"id": entry}
    unknown = sorted(str(key) for key in values if key not in KEYS)
    if unknown:
        raise PlatformError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(KEYS)}")
    if "id" not in values:
        raise PlatformError(f"{where}: the key 'id' is missing")
    state = values.get("state") or default_state
    if state not in WANTED_STATES:
        raise PlatformError(f"{where}: state {shown(state)} is not one of {', '.join(WANTED_STATES)}")
    words = [_word(where, key, values.get(key)) for key in ("plan", "placement")]
    return Wanted(parse_snowflake(values["id"], where), state, *words)


def _word(where: str, key: str, value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not WORD.fullmatch(value):
        raise PlatformError(f"{where}: {key} {shown(value)} must start with a letter and hold only a-z, 0-9, _ and - (32 at most)")
    return value


def option_entries(guilds: Iterable[Any]) -> Iterator[Entry]:
    for number, guild in enumerate(guilds, 1):
        yield f"guilds, item {number}", guild


def file_entries(file: str) -> Iterator[Entry]:
    """Entries of a file, by the ending of its name."""
    readers = {".csv": _csv_entries, ".json": _json_entries, ".yml": _yaml_entries, ".yaml": _yaml_entries}
    reader = readers.get(Path(file).suffix.lower())
    if reader is None:
        raise PlatformError(f"{file}: guilds are read from files ending in .csv, .json, .yml or .yaml")
    try:
        with Path(file).open(encoding="utf-8-sig", newline="") as stream:
            found = False
            for entry in reader(file, stream):
                found = True
                yield entry
    except OSError as problem:
        raise PlatformError(f"{file}: cannot be read: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise PlatformError(f"{file}: is not UTF-8 text: {problem.reason} at byte {problem.start}") from problem
    if not found:
        raise PlatformError(f"{file}: names no guild")


def _csv_entries(file: str, stream: TextIO) -> Iterator[Entry]:
    """A header line naming the columns, or one bare id a line."""
    rows = csv.reader(stream, strict=True)
    header: list[str] | None = None
    try:
        for row in rows:
            where = f"{file}, line {rows.line_num}"
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if header is None:
                header = _csv_header(where, cells)
                if cells == header:
                    continue
            if len(cells) != len(header):
                raise PlatformError(f"{where}: {len(cells)} columns, but the header has {len(header)}")
            yield where, dict(zip(header, cells, strict=True))
    except csv.Error as problem:
        raise PlatformError(f"{file}, line {rows.line_num}: broken CSV: {problem}") from problem


def _csv_header(where: str, cells: list[str]) -> list[str]:
    if "id" in cells:
        unknown = [cell for cell in cells if cell not in KEYS]
        if unknown:
            raise PlatformError(f"{where}: unknown column {unknown[0]!r}; known: {', '.join(KEYS)}")
        if twice := _twice(cells):
            raise PlatformError(f"{where}: the column {twice!r} is there twice")
        return cells
    if len(cells) == 1:
        return ["id"]
    raise PlatformError(f"{where}: the first line must name the columns: {', '.join(KEYS)} (only id is required)")


def _json_entries(file: str, stream: TextIO) -> Iterator[Entry]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if twice := _twice([key for key, _value in pairs]):
            raise PlatformError(f"{file}: the key {shown(twice)} is written twice in {shown(pairs)}")
        return dict(pairs)

    try:
        return _items(file, json.load(stream, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=once))
    except RecursionError as problem:
        raise PlatformError(f"{file}: broken JSON: nested too deeply for a list of guilds") from problem
    except json.JSONDecodeError as problem:
        raise PlatformError(f"{file}, line {problem.lineno}: broken JSON: {problem.msg}") from problem


def _yaml_entries(file: str, stream: TextIO) -> Iterator[Entry]:
    try:
        return _items(file, yaml.load(stream, Loader=_Loader))  # noqa: S506 - it is a safe one
    except RecursionError as problem:
        raise PlatformError(f"{file}: broken YAML: nested too deeply for a list of guilds") from problem
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise PlatformError(f"{file}{line}: broken YAML: {' '.join(str(getattr(problem, 'problem', problem)).split())}") from problem


def _items(file: str, content: Any) -> Iterator[Entry]:
    if isinstance(content, Mapping) and set(content) == {"guilds"}:
        content = content["guilds"]
    if content is not None and not isinstance(content, list):
        raise PlatformError(f"{file}: expected a list of guilds, found {type(content).__name__}")
    return ((f"{file}, item {number}", entry) for number, entry in enumerate(content or [], 1))
