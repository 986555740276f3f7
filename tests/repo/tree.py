# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of this repository, as the drift tests read them."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
GENERATED = {"LICENSE", "requirements.lock", "requirements-dev.lock", "go.sum"}


class _Loader(yaml.SafeLoader):
    """YAML with the two tags that Ansible adds; their values count as plain text."""


for _tag in ("!vault", "!unsafe"):
    _Loader.add_constructor(_tag, lambda loader, node: loader.construct_scalar(node))


def load(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader with two more tags


@functools.cache
def files() -> list[Path]:
    """Every file that is, or with the next commit would be, part of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [path for name in sorted(set(listed.split("\0"))) if name and (path := ROOT / name).is_file() and not path.is_symlink()]


def named(*patterns: str) -> list[Path]:
    """The files whose path in the repository matches one of the patterns."""
    return [path for path in files() if any(path.relative_to(ROOT).match(pattern) for pattern in patterns)]


def under(folder: str, suffix: str = "") -> list[Path]:
    return [path for path in files() if path.is_relative_to(ROOT / folder) and path.name.endswith(suffix)]


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text_of(path: Path) -> str | None:
    """The text of a file; None for a binary one."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def roles() -> list[Path]:
    return sorted({ROOT / "roles" / path.relative_to(ROOT / "roles").parts[0] for path in under("roles")})


def plugins(kind: str) -> list[Path]:
    return [path for path in under(f"plugins/{kind}", ".py") if path.name != "__init__.py"]


def tasks_in(entries: Any) -> list[dict[str, Any]]:
    """All tasks of a task list, those inside blocks too."""
    found = []
    for entry in entries or []:
        found.append(entry)
        for part in ("block", "rescue", "always"):
            found.extend(tasks_in(entry.get(part)))
    return found
