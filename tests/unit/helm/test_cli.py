# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is kept of what helm says, and whom a lock belongs to."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._helm_cli import host_id, last_lines, owner_state

SAID = """\
I1123 19:51:08.079850   17759 warnings.go:107] "Warning: would violate PodSecurity"
level=WARN msg="upgrade failed" name=a error="context deadline exceeded"

Error: UPGRADE FAILED: context deadline exceeded
"""


def test_the_last_useful_lines() -> None:
    assert last_lines(SAID) == "Error: UPGRADE FAILED: context deadline exceeded"
    assert last_lines("level=WARN msg=alone\n") == "level=WARN msg=alone"
    assert last_lines("\n".join(map(str, range(20))), 3) == "17\n18\n19"
    assert last_lines("") == ""


@pytest.mark.parametrize("owner", ["", "elsewhere.1", "nonsense", f"{host_id()}.x", f"{host_id()}."])
def test_owners_that_cannot_be_judged_from_here(owner: str) -> None:
    assert owner_state(owner) == "unknown"


def test_an_owner_is_alive_while_it_is_a_helm_upgrade() -> None:
    script = "import time; print('up', flush=True); time.sleep(30)"
    process = subprocess.Popen([sys.executable, "-c", script, "upgrade"], stdout=subprocess.PIPE)
    try:
        assert process.stdout
        assert process.stdout.readline() == b"up\n", "until it runs its command line is ours"
        assert owner_state(f"{host_id()}.{process.pid}") == "alive"
    finally:
        process.kill()
        process.wait()
    assert owner_state(f"{host_id()}.{process.pid}") == "gone"
    assert owner_state(f"{host_id()}.{os.getppid()}") == "gone"
