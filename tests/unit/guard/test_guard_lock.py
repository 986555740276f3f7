# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lock on this machine, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guard_lock import RunLock, alive, current_run, is_running, started_at


@pytest.fixture
def run_of() -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts processes that stand for playbooks."""
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        # With SIGINT as a shell has it in the foreground: in the background it is ignored, and children inherit that.
        processes.append(subprocess.Popen(["env", "--default-signal=INT", "sleep", "120"]))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def wait_until(condition: Callable[[], bool], bound: float = 5.0) -> bool:
    end = time.monotonic() + bound
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def hold(folder: Path, pid: int) -> int:
    """What the guard does for a run; returns the keeper's pid."""
    lock = RunLock(folder, current_run(pid))
    try:
        noted = lock.acquire()
        keeper = lock.keep()
        lock.note({**noted, "keeper": keeper})
    finally:
        lock.close()
    return keeper


def test_a_living_run_keeps_others_out(tmp_path: Path, run_of: Callable[[], subprocess.Popen[bytes]]) -> None:
    first, second = run_of(), run_of()
    hold(tmp_path, first.pid)
    other = RunLock(tmp_path, current_run(second.pid))
    with pytest.raises(PlatformError, match=f"process {first.pid}"):
        other.acquire()
    other.close()


def test_the_same_run_does_not_lock_itself_out(tmp_path: Path, run_of: Callable[[], subprocess.Popen[bytes]]) -> None:
    playbook = run_of()
    keeper = hold(tmp_path, playbook.pid)
    again = RunLock(tmp_path, current_run(playbook.pid))
    assert again.acquire()["keeper"] == keeper
    again.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_lock_goes_with_the_run(tmp_path: Path, run_of: Callable[[], subprocess.Popen[bytes]], how: signal.Signals) -> None:
    first, second = run_of(), run_of()
    keeper = hold(tmp_path, first.pid)
    first.send_signal(how)
    first.wait()
    next_keeper = hold(tmp_path, second.pid)
    assert wait_until(lambda: not is_running(keeper))
    assert is_running(next_keeper)


def test_the_keeper_of_a_run_that_has_ended_already_ends(tmp_path: Path, run_of: Callable[[], subprocess.Popen[bytes]]) -> None:
    playbook = run_of()
    playbook.kill()
    wait_until(lambda: started_at(playbook.pid) == 0)
    keeper = hold(tmp_path, playbook.pid)
    assert wait_until(lambda: not is_running(keeper))


def test_a_killed_keeper_is_replaced(tmp_path: Path, run_of: Callable[[], subprocess.Popen[bytes]]) -> None:
    playbook = run_of()
    keeper = hold(tmp_path, playbook.pid)
    os.kill(keeper, signal.SIGKILL)
    assert wait_until(lambda: not is_running(keeper))
    assert hold(tmp_path, playbook.pid) != keeper


def test_looking_creates_nothing(tmp_path: Path) -> None:
    assert RunLock(tmp_path / "state", current_run(os.getpid())).peek() == {}
    assert not (tmp_path / "state").exists()


def test_a_torn_lock_file_is_no_obstacle(tmp_path: Path, run_of: Callable[[], subprocess.Popen[bytes]]) -> None:
    (tmp_path / "operator.lock").write_text('{"holder": "ro')
    assert is_running(hold(tmp_path, run_of().pid))


def test_the_lock_is_private(tmp_path: Path, run_of: Callable[[], subprocess.Popen[bytes]]) -> None:
    hold(tmp_path / "state", run_of().pid)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "operator.lock").stat().st_mode & 0o777 == 0o600


def test_a_reused_pid_is_another_run(run_of: Callable[[], subprocess.Popen[bytes]]) -> None:
    run = current_run(run_of().pid)
    assert alive(run)
    assert started_at(run.pid) > 0
    assert alive(type(run)(run.user, run.host, run.pid, run.started - 1)) is False
    assert alive(type(run)(run.user, "elsewhere", run.pid, run.started)) is None
