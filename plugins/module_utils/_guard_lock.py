# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One operator at a time on this machine: a lock file in the state directory, and the small process that keeps locks for a run.

A playbook has no process of its own that a task could leave something in, so the guard forks a keeper: it holds the lock file open and
renews the Lease for as long as the playbook's process lives, and gives both back when that ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guard_lease import Holder

LINGER = 3.0  # seconds that a run which has just ended may need to give its lock back


def started_at(pid: int) -> int:
    """When a process started, in ticks since boot: a pid that is used again has another one. 0: no such process, or it is dead."""
    if not Path("/proc/self/stat").exists():
        return _answers_signals(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


def _answers_signals(pid: int) -> int:
    """The best that can be had without /proc: 1 if there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return 0
    except PermissionError:
        return 1
    return 1


def current_run(pid: int) -> Holder:
    """The run of the playbook whose main process is ``pid``."""
    return Holder(getpass.getuser(), socket.gethostname(), pid, started_at(pid))


def alive(holder: Holder | None) -> bool | None:
    """Does the holder live? None: it is on another machine, or not of our making."""
    if holder is None or holder.host != socket.gethostname():
        return None
    return started_at(holder.pid) == holder.started > 0


class RunLock:
    """The lock file of a site. What a run has already shown is kept in it, so that a run is checked once, not once per playbook."""

    def __init__(self, directory: Path, run: Holder) -> None:
        self.path = directory / "operator.lock"
        self.run = run
        self._descriptor = -1

    def peek(self) -> dict[str, Any]:
        """What this run has noted so far, without taking or creating anything."""
        noted = self._read()
        return noted if noted.get("holder") == self.run.identity and is_running(noted.get("keeper", 0)) else {}

    def acquire(self) -> dict[str, Any]:
        """Hold the lock. Returns what this run has noted in it so far; raises if another run holds it."""
        self._open()
        deadline = time.monotonic() + LINGER
        while True:
            if ours := self.peek():
                return ours
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return {}
            noted = self._read()
            holder = Holder.parse(noted.get("holder", ""))
            if time.monotonic() > deadline or (holder != self.run and alive(holder)):
                since = noted.get("since", "just now")
                raise PlatformError(f"another run is at work on this site: {holder}, since {since} ({self.path}). Wait for it to end")
            time.sleep(0.05)

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise PlatformError(
                f"platform_state_dir = '{self.path.parent}' cannot be written by {self.run.user} ({error.strerror}):"
                " run as its owner (root for the embedded provider), or choose another folder"
            ) from error

    def _read(self) -> dict[str, Any]:
        try:
            noted = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) else {}

    def note(self, noted: dict[str, Any]) -> None:
        """Write down what this run has shown. Only its holder does."""
        text = json.dumps({"since": time.strftime("%H:%M:%S"), **noted, "holder": self.run.identity}).encode()
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))

    def keep(self) -> int:
        """Leave the lock to a keeper; returns its pid."""
        return fork_keeper(self.run, lambda: None, self._descriptor)

    def close(self) -> None:
        """Close our own handle; a keeper's stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_running(pid: int) -> bool:
    """Is there such a process?"""
    return bool(pid) and started_at(pid) > 0


def fork_keeper(
    run: Holder, at_end: Callable[[], None], descriptor: int = -1, *, every: float = 0, work: Callable[[], None] = lambda: None
) -> int:
    """Start a process that does ``work`` every so many seconds while the run lives, and ``at_end`` when it has ended. Returns its pid."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        os.waitpid(child, 0)
        with os.fdopen(reader) as pipe:
            return int(pipe.read())
    try:  # never return into the caller's code: this is another process now
        os.setsid()
        if os.fork() == 0:
            os.write(writer, str(os.getpid()).encode())
            _detach(descriptor)
            _watch(run, every, work)
            at_end()
    finally:
        os._exit(0)


def _detach(descriptor: int) -> None:
    """Keep nothing open that belongs to the playbook, or its pipes would never end."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.closerange(3, max(descriptor, 3))
    os.closerange(max(descriptor, 2) + 1, os.sysconf("SC_OPEN_MAX"))
    os.chdir("/")


def _watch(run: Holder, every: float, work: Callable[[], None]) -> None:
    """Return when the run has ended."""
    try:
        handle = os.pidfd_open(run.pid)
    except (AttributeError, OSError):  # not Linux, or gone already
        handle = -1
    due = time.monotonic() + every
    while run.started and started_at(run.pid) == run.started:
        pause = max(0.0, due - time.monotonic()) if every else 3600.0
        if handle >= 0:
            select.select([handle], [], [], pause)
        else:
            time.sleep(min(pause, 0.5))
        if every and time.monotonic() >= due:
            work()
            due = time.monotonic() + every
