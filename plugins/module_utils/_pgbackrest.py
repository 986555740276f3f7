# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What pgBackRest says, read: which backups there are, which WAL lies between them, and what of it is damaged or gone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

SEGMENT = re.compile(r"(?P<timeline>[0-9A-F]{8})(?P<log>[0-9A-F]{8})(?P<part>[0-9A-F]{8})")
ARCHIVED = re.compile(r"(?:^|/)([0-9A-F]{24})-[0-9a-f]{40}(?:\.\w+)?$")
STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} P\d\d\s+")
# `invalid checksum 'path'`, `invalid result path: [29] …`, `missing …`: what the command verify says of one file.
DAMAGE = re.compile(r"INFO: ((?:invalid|missing|unable|path) [a-z ]*'?\S+?'?)(?::? \[\d+\] (.*))?$")
TROUBLE = re.compile(r"(ERROR|FATAL|PANIC|HINT): ")
PARTS_OF_A_LOG = 256
NAMED = 5
NO_BACKUP = 2


@dataclass(frozen=True)
class Backup:
    """One base backup."""

    label: str
    kind: str
    started: datetime
    stopped: datetime
    first_wal: str
    last_wal: str
    size: int
    stored: int

    def as_dict(self) -> dict[str, Any]:
        times = {"started": self.started.isoformat(), "stopped": self.stopped.isoformat()}
        return {"label": self.label, "type": self.kind, **times, "first_wal": self.first_wal, "size": self.size, "stored": self.stored}


@dataclass(frozen=True)
class Repository:
    """The backups that ended well, the oldest first, and the archive that goes with the newest."""

    backups: tuple[Backup, ...]
    archive: str

    @property
    def newest(self) -> Backup:
        if not self.backups:
            raise PlatformError("the repository holds no base backup yet: run playbooks/backup.yml")
        return self.backups[-1]

    def labelled(self, label: str) -> Backup:
        found = [backup for backup in self.backups if backup.label == label]
        if not found:
            raise PlatformError(f"the repository holds no backup {label}: there are {', '.join(b.label for b in self.backups) or 'none'}")
        return found[0]


def read_info(text: str) -> Repository:
    """Of `info --output=json` for one stanza."""
    try:
        [stanza] = json.loads(text)
        status = stanza["status"]
        if status["code"] not in (0, NO_BACKUP):
            raise PlatformError(f"the repository of stanza {stanza['name']} is not in order: {status['message']}")
        backups = sorted((_backup(entry) for entry in stanza["backup"] if not entry.get("error")), key=lambda backup: backup.stopped)
        archives = [entry["id"] for entry in stanza.get("archive") or []]
    except (ValueError, KeyError, TypeError) as problem:
        raise PlatformError(f"pgBackRest told nothing that can be read of its repository: {text.strip()[:200]}") from problem
    return Repository(tuple(backups), archives[-1] if archives else "")


def _backup(entry: dict[str, Any]) -> Backup:
    started, stopped = (datetime.fromtimestamp(entry["timestamp"][name], UTC) for name in ("start", "stop"))
    archive, info = entry["archive"], entry["info"]
    return Backup(
        entry["label"], entry["type"], started, stopped, archive["start"], archive["stop"], info["size"], info["repository"]["size"]
    )


def missing_segments(listing: Iterable[str], first: str, last: str = "") -> list[str]:
    """Segments that a replay from `first` on would ask for in vain: gaps between those that are there, up to `last` where that is known.

    On each timeline by itself: one that branches off begins in the segment where the older one was left.
    """
    there = {found[1] for line in listing if (found := ARCHIVED.search(line.strip()))}
    start, end = _number(first), _number(last) if last else -1
    timelines: dict[str, list[int]] = {}
    for name in (*there, first, *([last] if last else [])):
        timelines.setdefault(name[:8], []).append(_number(name))
    missing = []
    for timeline, numbers in sorted(timelines.items()):
        wanted = [number for number in numbers if number >= start]
        if timeline < first[:8] or not wanted:
            continue
        until = max(end, *wanted) if last[:8] == timeline else max(wanted)
        missing += [name for number in range(min(wanted), until + 1) if (name := _name(timeline, number)) not in there]
    return missing


def _number(name: str) -> int:
    found = SEGMENT.fullmatch(name)
    if not found:
        raise PlatformError(f"{name!r} is no name of a WAL segment")
    return int(found["log"], 16) * PARTS_OF_A_LOG + int(found["part"], 16)


def _name(timeline: str, number: int) -> str:
    return f"{timeline}{number // PARTS_OF_A_LOG:08X}{number % PARTS_OF_A_LOG:08X}"


def damaged_files(text: str) -> list[str]:
    """Of what `verify` says at level info: each file that is not what was written, with the reason."""
    found = [damage for line in text.splitlines() if (damage := DAMAGE.search(line))]
    return [damage[1] + (f" ({damage[2].strip()})" if damage[2] else "") for damage in found]


def trouble_lines(log: str, most: int = 8) -> list[str]:
    """The lines of a server's or of pgBackRest's log that say what went wrong, each once, without their stamps."""
    lines = [STAMP.sub("", line.strip()) for line in log.splitlines() if TROUBLE.search(line)]
    return list(dict.fromkeys(lines))[:most]


def some(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    more = [f"and {len(names) - NAMED:,} more"] if len(names) > NAMED else []
    return ", ".join([*names[:NAMED], *more])
