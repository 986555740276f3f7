# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A release that a killed run left behind is recovered; one that somebody works on is left alone."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import signal
import subprocess
import time

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._helm_cli import host_id
from ansible_collections.dcm.platform.plugins.module_utils._helm_plan import LABEL_OWNER

from tests.integration.helm.conftest import Site

GONE = 4_190_000  # above the largest process id that Linux gives by default


def owner(pid: int) -> dict[str, str]:
    return {LABEL_OWNER: f"{host_id()}.{pid}"}


def test_a_dead_upgrade_is_rolled_back_and_done_again(site: Site) -> None:
    chart = site.chart()
    wanted = site.release("dead", chart)
    site.run(wanted)
    site.run(dataclasses.replace(wanted, values={"colour": "red"}))
    site.as_pending("dead", "pending-upgrade", owner(GONE))
    told = site.run(dataclasses.replace(wanted, values={"colour": "red"}), check=True)["dead"]
    done = site.run(dataclasses.replace(wanted, values={"colour": "red"}))["dead"]
    assert "dead lock pending-upgrade" in done.reason
    assert (told.changed, told.action, told.revision) == (done.changed, done.action, done.revision) == (True, "upgrade", 4)
    assert [record.status for record in site.records("dead")][-1] == "deployed"
    assert site.get("configmap", "dead")["data"] == {"colour": "red"}
    assert not site.run(dataclasses.replace(wanted, values={"colour": "red"}))["dead"].changed


def test_a_dead_install_is_discarded_and_done_again(site: Site) -> None:
    wanted = site.release("fresh", site.chart())
    site.run(wanted)
    site.as_pending("fresh", "pending-install", owner(GONE))
    told = site.run(wanted, check=True)["fresh"]
    done = site.run(wanted)["fresh"]
    assert (told.action, told.revision) == (done.action, done.revision) == ("install", 1)
    assert [record.status for record in site.records("fresh")] == ["deployed"]


def test_a_lock_of_unknown_origin_is_dead_only_when_it_is_old(site: Site) -> None:
    wanted = site.release("old", site.chart())
    site.run(wanted)
    site.as_pending("old", "pending-upgrade", {LABEL_OWNER: "0000000000000000.1"}, age=60)
    with pytest.raises(PlatformError, match="who does it is not known"):
        site.run(wanted)
    assert site.records("old")[-1].status == "pending-upgrade"
    site.as_pending("old", "pending-upgrade", {}, age=700)
    assert site.run(wanted)["old"].status == "deployed"


HOOK = """\
apiVersion: batch/v1
kind: Job
metadata: {name: slow, annotations: {helm.sh/hook: pre-install}}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: dcm.example/none:1}]
"""


def children(pid: int) -> list[int]:
    shown = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in shown.splitlines()]
    below = [child for child, parent in pairs if parent == pid]
    return below + [grandchild for child in below for grandchild in children(child)]


def helms_of(site: Site) -> list[int]:
    """Processes of the helm under test that work on this namespace."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if f"--namespace={site.namespace}".encode() in words:
            found.append(int(entry.parent.name))
    return found


def start_slow_install(site: Site) -> subprocess.Popen[str]:
    """A playbook that installs something that never finishes, caught while helm is running."""
    chart = site.chart(templates={"hook.yaml": HOOK})
    options = {"name": "slow", "namespace": site.namespace, "chart_ref": str(chart), "create_namespace": True, "timeout": "90s"}
    process = subprocess.Popen(
        site.playbook_command(options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=pathlib.Path(__file__).parents[3]
    )
    end = time.monotonic() + 30
    while not (helms_of(site) and [record.status for record in site.records("slow")] == ["pending-install"]):
        assert time.monotonic() < end, process.communicate()[0]
        time.sleep(0.1)
    return process


def wait_gone(site: Site, seconds: float) -> None:
    end = time.monotonic() + seconds
    while helms_of(site):
        assert time.monotonic() < end, "a helm process is left"
        time.sleep(0.1)


def test_a_living_lock_is_never_touched(site: Site) -> None:
    process = start_slow_install(site)
    try:
        with pytest.raises(PlatformError, match="its helm process is still running"):
            site.run(site.release("slow", site.folder / "demo-1.0.0"))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    wait_gone(site, 10)


def test_ctrl_c_leaves_no_helm_behind_and_the_next_run_converges(site: Site) -> None:
    process = start_slow_install(site)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    wait_gone(site, 10)
    (site.folder / "demo-1.0.0" / "templates" / "hook.yaml").unlink()
    assert site.run(site.release("slow", site.folder / "demo-1.0.0"))["slow"].status == "deployed"


def test_a_killed_run_is_recovered_by_the_next(site: Site) -> None:
    process = start_slow_install(site)
    for pid in [*helms_of(site), *children(process.pid), process.pid]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.communicate(timeout=30)
    wait_gone(site, 10)
    assert site.records("slow")[-1].status == "pending-install"
    (site.folder / "demo-1.0.0" / "templates" / "hook.yaml").unlink()
    outcome = site.run(site.release("slow", site.folder / "demo-1.0.0"))["slow"]
    assert outcome.status == "deployed", outcome.msg
    assert "its owner is gone" in outcome.reason
