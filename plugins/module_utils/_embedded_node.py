# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The embedded node as processes: starting, changing and stopping it. Everything it asks goes through its own programs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

_KEY_LABEL = "dcm.platform/key"
_STOP_SECONDS = 25
# What ends once no pod runs any more, in this order.
_AFTER_PODS = (
    "kube-proxy", "network-policy-enforcer", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd", "containerd"
)  # fmt: skip


@dataclass(frozen=True)
class Places:
    """Where an instance keeps its things."""

    name: str
    config: Path
    run: Path
    bin: Path
    logs: Path
    kubeconfig: Path


@dataclass(frozen=True)
class NodeImage:
    """An image archive and the reference and content address that it has in the node."""

    name: str
    ref: str
    key: str
    archive: str


class Node:
    """One instance of the embedded cluster."""

    def __init__(self, places: Places, say: Callable[[str], None]) -> None:
        self.places, self.say = places, say
        self.namespace = f"dcm-{places.name}"

    def running(self) -> bool:
        """Whether the outer supervisor is alive."""
        try:
            pid = int((self.places.run / "host.pid").read_text())
            return b"supervisord" in Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return False

    def start(self) -> None:
        """Start the outer supervisor, after what an earlier one that died may have left."""
        self._kill_leftovers()
        self.places.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        for stale in ("host.pid", "host.sock", "supervisor.pid", "supervisor.sock"):
            (self.places.run / stale).unlink(missing_ok=True)
        self._do([_beside_python("supervisord"), "--configuration", str(self.places.config / "supervisor-host.conf")])

    def update(self) -> list[str]:
        """Restart what reads changed configuration, and nothing else; returns the names."""
        if "changed" in self._supervisor("supervisor-host.conf", "reread"):
            self.say("what the node itself is made of has changed: it is stopped with grace and started anew")
            self.stop()
            self.start()
            return ["node"]
        output = self._supervisor("supervisor.conf", "update")
        return [line.split(":")[0] for line in output.splitlines() if line.endswith(("updated process group", "added process group"))]

    def wait_for(self, what: str, probe: Callable[[], str], deadline: float) -> None:
        """Ask `probe` until it returns an empty string (what it still waits for otherwise)."""
        started, told = time.monotonic(), 0.0
        while waiting := probe():
            passed = time.monotonic() - started
            if time.monotonic() > deadline:
                raise PlatformError(f"{what} is not ready after {passed:.0f} s: {waiting}. {self._advice()}")
            if passed - told >= 5:
                told = passed
                self.say(f"waiting for {what}, {passed:.0f} s: {waiting}")
            time.sleep(0.25)

    def api_ready(self) -> str:
        """What keeps the API server from being ready."""
        result = self._kubectl("get", "--raw", "/readyz")
        failing = re.findall(r"\[-\](\S+)", result.stderr)
        return ", ".join(failing) or (_last_line(result.stderr) if result.returncode else "")

    def node_ready(self) -> str:
        """What keeps the node from being ready."""
        result = self._kubectl("get", "node", self.places.name, "-o", "json")
        if result.returncode:
            return _last_line(result.stderr)
        conditions = json.loads(result.stdout)["status"].get("conditions", [])
        ready = next((condition for condition in conditions if condition["type"] == "Ready"), {"status": "", "message": "no status yet"})
        return "" if ready["status"] == "True" else str(ready["message"])

    def containerd_ready(self) -> str:
        """What keeps containerd from answering."""
        result = self._ctr("version")
        return _last_line(result.stderr) if result.returncode else ""

    def missing_images(self, images: Sequence[NodeImage]) -> list[NodeImage]:
        """Images that the node has not, or has with other content."""
        listing = self._ctr("images", "ls").stdout
        present = {line.split()[0]: line for line in listing.splitlines()[1:] if line.strip()}
        return [image for image in images if f"{_KEY_LABEL}={image.key}" not in present.get(image.ref, "")]

    def import_images(self, images: Sequence[NodeImage]) -> None:
        """Load archives into the node; their content address is kept as a label."""

        def load(image: NodeImage) -> None:
            result = self._ctr("images", "import", "--label", f"{_KEY_LABEL}={image.key}", image.archive)
            if result.returncode:
                raise PlatformError(f"image {image.ref} could not be imported from {image.archive}: {_last_line(result.stderr)}")
            # The import labels only what is new to it.
            self._ctr("images", "label", image.ref, f"{_KEY_LABEL}={image.key}", "io.cri-containerd.pinned=pinned")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(load, images))

    def stop(self) -> None:
        """End pods with grace, then the node's programs from the last to the first, then the supervisor."""
        with contextlib.suppress(PlatformError):
            self._supervisor("supervisor.conf", "stop", "kubelet")
            self._end_containers()
            for program in _AFTER_PODS:
                self._supervisor("supervisor.conf", "stop", program)
        pid = int((self.places.run / "host.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS + 15
        while Path(f"/proc/{pid}").exists():
            if time.monotonic() > deadline:
                raise PlatformError(f"the supervisor of {self.places.name} (pid {pid}) did not end; see {self.places.logs}/host.log")
            time.sleep(0.1)

    def clean(self, link: str) -> None:
        """Take away what the node made outside of its folders."""
        self._kill_leftovers()
        for command in (f"ip netns del {self.namespace}", f"ip link del {link}", f"nft delete table ip {self.namespace}"):
            subprocess.run(command.split(), capture_output=True, check=False)
        for group in Path("/sys/fs/cgroup").glob(f"*/{self.namespace}") if not _unified() else [Path("/sys/fs/cgroup") / self.namespace]:
            for folder in sorted((p for p in group.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts)):
                folder.rmdir()
            if group.is_dir():
                group.rmdir()
        shutil.rmtree(self.places.run, ignore_errors=True)

    def _end_containers(self) -> None:
        names = self._ctr("tasks", "ls", "-q").stdout.split()
        for name in names:
            self._ctr("tasks", "kill", "--signal", "SIGTERM", name)
        deadline = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < deadline and any("RUNNING" in line for line in self._ctr("tasks", "ls").stdout.splitlines()):
            time.sleep(0.2)

    def _kill_leftovers(self) -> None:
        """End processes of a node whose outer supervisor is gone: they are the ones in its network namespace."""
        command = f"ip netns pids {self.namespace}".split()
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        for pid in result.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def _advice(self) -> str:
        if not (self.places.run / "supervisor.sock").exists():
            log = self.places.logs / "node.log"
            said = _last_line(log.read_text(errors="replace")) if log.exists() else "nothing"
            return f"The node itself does not come up; it last said: {said} ({log})"
        states = self._supervisor("supervisor.conf", "status")
        bad = [line.split()[0] for line in states.splitlines() if "RUNNING" not in line]
        return f"Not running: {', '.join(bad)}. Logs: {self.places.logs}" if bad else f"Logs: {self.places.logs}"

    def _supervisor(self, config: str, *arguments: str) -> str:
        return self._do([_beside_python("supervisorctl"), "--configuration", str(self.places.config / config), *arguments])

    def _kubectl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.places.bin / "kubectl"), f"--kubeconfig={self.places.kubeconfig}", "--request-timeout=5s", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.places.bin / "ctr"), "--address", str(self.places.run / "containerd.sock"), "--namespace", "k8s.io", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def _do(self, command: list[str]) -> str:
        result = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        # supervisorctl tells by 3 that something does not run; that alone is no failure of the call.
        if result.returncode not in {0, 3}:
            said = _last_line(result.stderr) or _last_line(result.stdout)
            raise PlatformError(f"{Path(command[0]).name} failed: {said}. Logs: {self.places.logs}")
        return result.stdout


def follow(node: Node, images: Sequence[NodeImage], timeout: float) -> Iterator[str]:
    """Wait until a started node can take pods; yields the names of images that it had to get."""
    deadline = time.monotonic() + timeout
    node.wait_for("containerd", node.containerd_ready, deadline)
    missing = node.missing_images(images)
    if missing:
        node.say(f"importing {len(missing)} images")
        node.import_images(missing)
    node.wait_for("the API server", node.api_ready, deadline)
    node.wait_for("the node", node.node_ready, deadline)
    yield from (image.name for image in missing)


def _unified() -> bool:
    return Path("/sys/fs/cgroup/cgroup.controllers").exists()


def _beside_python(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
