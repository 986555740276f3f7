# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Migration files in dbmate's format: reading, checking, and recognising what a guild already has. Pure but for reading files."""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Migration, Segment

FILE_NAME = re.compile(r"(?P<version>[0-9]{1,20})_(?P<name>[A-Za-z0-9_.-]{1,120})\.sql", re.ASCII)
MARK = re.compile(r"^--\s*migrate:(?P<direction>up|down)(?P<options>[^\n]*)$", re.MULTILINE)
TOKEN = re.compile(
    r"--[^\n]*|/\*.*?\*/|\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?\$(?P=tag)\$|[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"[^\"]*\"|;",
    re.DOTALL,
)
FORBIDDEN = re.compile(
    r"^(BEGIN|START\s+TRANSACTION|COMMIT|END|ROLLBACK|ABORT|PREPARE\s+TRANSACTION|SAVEPOINT|RELEASE|DISCARD|RESET"
    r"|SET\s+(?!CONSTRAINTS|LOCAL\s+(?!ROLE|SEARCH_PATH|SESSION)))\b",
    re.IGNORECASE,
)
NO_TRANSACTION = re.compile(
    r"\bINDEX\s+CONCURRENTLY\b|^REINDEX\b.*\bCONCURRENTLY\b|\bDETACH\s+PARTITION\b.*\bCONCURRENTLY\b|^(VACUUM|ALTER\s+SYSTEM)\b",
    re.IGNORECASE | re.DOTALL,
)


def checksum(text: str) -> str:
    """Line ends of the checkout do not count."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()


def extend_digest(digest: str, migration_version: str, migration_checksum: str) -> str:
    return hashlib.sha256(f"{digest}\n{migration_version} {migration_checksum}".encode()).hexdigest()


def parse_migration(file: str, text: str) -> Migration:
    named = FILE_NAME.fullmatch(Path(file).name)
    if not named:
        raise PlatformError(f"{file}: a migration is named <version>_<name>.sql, the version made of digits only")
    up, up_line, options = _up_section(file, text.replace("\r\n", "\n"))
    transactional = _transaction_option(file, options)
    _check_statements(file, up, transactional)
    return Migration(named["version"], named["name"], file, up, up_line, checksum(text), transactional)


def _up_section(file: str, text: str) -> tuple[str, int, str]:
    marks = list(MARK.finditer(text))
    ups = [mark for mark in marks if mark["direction"] == "up"]
    if len(ups) != 1 or marks[0] is not ups[0]:
        raise PlatformError(f"{file}: expected exactly one line '-- migrate:up' before '-- migrate:down'")
    end = marks[1].start() if len(marks) > 1 else len(text)
    body = text[ups[0].end() : end]
    return body, text.count("\n", 0, ups[0].end()) + 1, ups[0]["options"].strip()


def _transaction_option(file: str, options: str) -> bool:
    if options in ("", "transaction:true"):
        return True
    if options == "transaction:false":
        return False
    raise PlatformError(f"{file}: unknown option {options!r} after migrate:up; known: transaction:true, transaction:false")


def split_statements(text: str) -> Iterator[str]:
    """Top-level statements without comments; literals are kept as empty ones. Good enough to judge, not to run."""
    parts: list[str] = []
    position = 0
    for token in TOKEN.finditer(text):
        parts.append(text[position : token.start()])
        position = token.end()
        if token[0] == ";":
            yield from _finished(parts)
            parts = []
        elif not token[0].startswith(("--", "/*")):
            parts.append("''")
    yield from _finished([*parts, text[position:]])


def _finished(parts: list[str]) -> Iterator[str]:
    statement = "".join(parts).strip()
    if statement:
        yield statement


def _check_statements(file: str, up: str, transactional: bool) -> None:
    statements = list(split_statements(up))
    if not transactional and len(statements) != 1:
        raise PlatformError(f"{file}: transaction:false allows exactly one statement, found {len(statements)}; use one file for each")
    for statement in statements:
        short = " ".join(statement.split())[:60]
        if FORBIDDEN.match(statement):
            raise PlatformError(f"{file}: '{short}' is refused: the engine opens, ends and configures the transaction of each guild")
        if transactional and NO_TRANSACTION.search(statement):
            raise PlatformError(f"{file}: '{short}' cannot run in a transaction; write '-- migrate:up transaction:false'")


@dataclass(frozen=True)
class MigrationSet:
    """All migrations of one folder, in order."""

    folder: str
    migrations: tuple[Migration, ...]

    @functools.cached_property
    def prefixes(self) -> dict[str, int]:
        """Digest of the first n migrations -> n: recognises a guild's ledger by one look-up."""
        digests = itertools.accumulate(self.migrations, lambda d, m: extend_digest(d, m.version, m.checksum), initial="")
        return {digest: number for number, digest in enumerate(digests)}

    @property
    def version(self) -> str:
        return self.migrations[-1].version if self.migrations else ""

    @functools.cached_property
    def digest(self) -> str:
        return list(self.prefixes)[-1]

    def pending(self, applied: Sequence[tuple[str, str]]) -> tuple[Migration, ...]:
        """What is missing, given (version, checksum) of what was applied; refuses changed and unknown versions."""
        known = {migration.version: migration for migration in self.migrations}
        for version, old_checksum in applied:
            migration = known.get(version)
            if migration is None:
                raise PlatformError(f"migration {version} is applied but missing in {self.folder}: use the newer checkout that brought it")
            if migration.checksum != old_checksum:
                raise PlatformError(f"{migration.file} was changed after it was applied: restore the file and add a new migration instead")
        done = {version for version, _checksum in applied}
        return tuple(migration for migration in self.migrations if migration.version not in done)


def segments(pending: Sequence[Migration], digest: str, version: str) -> tuple[Segment, ...]:
    """Neighbours that may share a transaction share one; what may not stands alone."""
    found: list[Segment] = []
    for transactional, group in itertools.groupby(pending, key=lambda migration: migration.transactional):
        together = list(group)
        for members in [together] if transactional else [[one] for one in together]:
            for migration in members:
                digest = extend_digest(digest, migration.version, migration.checksum)
                version = max(version, migration.version, key=version_key)
            found.append(Segment(tuple(members), transactional, version, digest))
    return tuple(found)


def version_key(version: str) -> tuple[int, str]:
    return (int(version or 0), version)


def read_migrations(folder: str) -> MigrationSet:
    path = Path(folder)
    if not path.is_dir():
        raise PlatformError(f"migrations folder {folder} does not exist")
    files = sorted(path.glob("*.sql"))
    if not files:
        raise PlatformError(f"migrations folder {folder} holds no *.sql file")
    found = sorted((parse_migration(str(file), file.read_text("utf-8")) for file in files), key=lambda m: version_key(m.version))
    for first, second in itertools.pairwise(found):
        if int(first.version) == int(second.version):
            raise PlatformError(f"{first.file} and {second.file} have the same version {first.version}")
    return MigrationSet(folder, tuple(found))
