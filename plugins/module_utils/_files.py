# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files as wanted state: which of many differ, and writing those, each in one step that cannot be seen half done."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def _aside(path: Path, mode: int) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    work = Path(name)
    try:
        yield work
        work.chmod(mode)
        work.replace(path)
    finally:
        work.unlink(missing_ok=True)


def differs(path: Path, content: bytes, mode: int) -> bool:
    """Whether a file is missing, or has other content or another mode."""
    return not path.is_file() or stat.S_IMODE(path.stat().st_mode) != mode or path.read_bytes() != content


def write(path: Path, content: bytes, mode: int) -> None:
    """Write a file by way of a temporary one beside it; never readable by more than `mode` says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _aside(path, mode) as work:
        work.write_bytes(content)


def program_differs(path: Path, source: Path) -> bool:
    """Whether a program is not the file (hard link, or copy of equal size and time) that it should be."""
    if not path.exists():
        return True
    here, there = path.stat(), source.stat()
    same = path.samefile(source) or (here.st_size, here.st_mtime_ns) == (there.st_size, there.st_mtime_ns)
    return not same


def install_program(path: Path, source: Path) -> None:
    """Put a program in place, as a hard link where the file system allows one: a running one keeps its own file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _aside(path, 0o755) as work:
        work.unlink()
        try:
            os.link(source.resolve(), work)
        except OSError:
            shutil.copy2(source.resolve(), work)
