# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A guild's data in a folder: one file per table, written by COPY in the order of the primary key, and a manifest with counts and hashes.

pg_dump would lock and read the catalog of the whole fleet for one guild; COPY touches the tables of that guild alone.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_ids import schema_name

FORMAT = 1
MANIFEST = "manifest.json"
PART = ".part"
BLOCK = 1 << 20


@dataclass(frozen=True)
class TableData:
    """One table: its file in COPY's text format, rows, sha256 of the uncompressed bytes, and what the rows are ordered by."""

    file: str
    rows: int
    sha256: str
    columns: tuple[str, ...]
    key: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """What an archive holds. Tables are in an order in which foreign keys allow to fill them."""

    guild_id: int
    schema_version: str
    ledger: tuple[tuple[str, str], ...]
    plan: str
    placement: str
    taken_at: str
    server: str
    tables: Mapping[str, TableData]
    sequences: Mapping[str, tuple[int, bool]]

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())

    def digest(self) -> str:
        """Names this archive in the audit log and in the certificate of an erasure."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def archive_folder(directory: str, guild_id: int) -> Path:
    return Path(directory) / schema_name(guild_id)


class Writer:
    """Writes into a folder beside the final one, which it becomes when everything is there."""

    def __init__(self, folder: Path, replace: bool) -> None:
        if folder.exists() and not replace:
            raise PlatformError(f"{folder} exists: name another directory, or allow to replace it")
        self.folder = folder
        self.part = folder.with_name(folder.name + PART)
        shutil.rmtree(self.part, ignore_errors=True)
        self.part.mkdir(mode=0o700, parents=True)

    def table(self, name: str, blocks: Iterable[bytes | bytearray | memoryview], columns: Iterable[str], key: Iterable[str]) -> TableData:
        """Rows in COPY's text format end with a line feed; one within a value is written as backslash and n."""
        file, digest, rows = f"{name}.copy.gz", hashlib.sha256(), 0
        with _private(self.part / file) as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed:
            for block in blocks:
                data = bytes(block)
                digest.update(data)
                rows += data.count(b"\n")
                packed.write(data)
        return TableData(file, rows, digest.hexdigest(), tuple(columns), tuple(key))

    def finish(self, manifest: Manifest) -> None:
        with _private(self.part / MANIFEST) as stream:
            stream.write(json.dumps({"format": FORMAT, **asdict(manifest)}, indent=2).encode() + b"\n")
        old = self.folder.with_name(self.folder.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(old)
        self.part.rename(self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def abandon(self) -> None:
        shutil.rmtree(self.part, ignore_errors=True)


def _private(path: Path) -> BinaryIO:
    return cast("BinaryIO", os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"))


def read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("format") != FORMAT:
            raise PlatformError(f"{path}: written by another version of dcm.platform")
        tables = {
            name: TableData(**{**table, "columns": tuple(table["columns"]), "key": tuple(table["key"])})
            for name, table in found.pop("tables").items()
        }
        ledger = tuple((version, checksum) for version, checksum in found.pop("ledger"))
        sequences = {name: (last, called) for name, (last, called) in found.pop("sequences").items()}
        return Manifest(**found, ledger=ledger, tables=tables, sequences=sequences)
    except FileNotFoundError:
        raise PlatformError(f"{folder} is no whole archive: it has no {MANIFEST}") from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as problem:
        raise PlatformError(f"{path} cannot be read: {problem}") from problem


def read_blocks(folder: Path, table: TableData) -> Iterator[bytes]:
    path = folder / table.file
    try:
        with gzip.open(path, "rb") as stream:
            while block := stream.read(BLOCK):
                yield block
    except (OSError, EOFError) as problem:
        raise PlatformError(f"{path} is damaged: {problem}") from problem
    except Exception as problem:
        if type(problem).__module__ == "zlib":
            raise PlatformError(f"{path} is damaged: {problem}") from problem
        raise


def verify_archive(folder: Path, guild_id: int | None = None) -> Manifest:
    """Every file against the manifest; the first one that differs is named."""
    manifest = read_manifest(folder)
    if guild_id is not None and manifest.guild_id != guild_id:
        raise PlatformError(f"{folder} holds guild {manifest.guild_id}, not {guild_id}")
    for table in manifest.tables.values():
        digest, rows = hashlib.sha256(), 0
        for block in read_blocks(folder, table):
            digest.update(block)
            rows += block.count(b"\n")
        if rows != table.rows:
            raise PlatformError(f"{folder / table.file} has {rows:,} rows, its manifest says {table.rows:,}")
        if digest.hexdigest() != table.sha256:
            raise PlatformError(f"{folder / table.file} is not what was written: its content has another hash than its manifest says")
    return manifest


def fill_order(tables: Iterable[str], references: Iterable[tuple[str, str]]) -> list[str]:
    """Tables so that each comes after the ones its foreign keys point to."""
    waiting = sorted(tables)
    needs = {name: {to for source, to in references if source == name and to != name} for name in waiting}
    order: list[str] = []
    while waiting:
        ready = [name for name in waiting if needs[name] <= set(order)]
        if not ready:
            raise PlatformError(
                f"foreign keys go round in a circle: {', '.join(waiting)}; such tables cannot be filled one after the other"
            )
        order += ready
        waiting = [name for name in waiting if name not in ready]
    return order


def differing_rows(table: str, key: tuple[str, ...], columns: tuple[str, ...], archived: bytes, live: bytes, limit: int = 5) -> list[str]:
    """Rows on one side only, by primary key: in words."""
    old, new = ({tuple(line.split(b"\t")) for line in data.splitlines()} for data in (archived, live))
    places = [columns.index(name) for name in key] or list(range(len(columns)))

    def keyed(rows: set[tuple[bytes, ...]]) -> dict[tuple[bytes, ...], tuple[bytes, ...]]:
        return {tuple(row[place] for place in places): row for row in rows}

    was, now = keyed(old - new), keyed(new - old)
    words = []
    for name in sorted(was.keys() | now.keys()):
        what = "differs" if name in was and name in now else ("is only in the archive" if name in was else "is only in the database")
        words.append(f"{table}: row {b', '.join(name).decode(errors='replace')} {what}")
    if not words and sorted(archived.splitlines()) != sorted(live.splitlines()):
        words = [f"{table}: the same rows, but not the same number of times"]
    more = [f"{table}: {len(words) - limit:,} more rows"] if len(words) > limit else []
    return words[:limit] + more


def as_result(manifest: Manifest) -> dict[str, Any]:
    """What the module tells of an archive."""
    return {"version": manifest.schema_version, "rows": manifest.rows, "tables": len(manifest.tables), "digest": manifest.digest()}
