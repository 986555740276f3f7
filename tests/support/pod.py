# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pod of a lite chart as processes of this machine: its ConfigMap, its environment, its commands, with the real servers."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.charts.charting import merged, render, workload

SECONDS = 60


class Pod:
    """Folders of this machine in place of the volumes. The first container is the server; others are started by name."""

    def __init__(
        self, chart: str, files: Mapping[str, Mapping[str, str]], values: dict[str, Any], shared: Mapping[str, Path] | None = None
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.chart, self.values = chart, {"port": self.port}
        self.folder = Path(tempfile.mkdtemp(prefix="dcm-pod-"))
        self.shared = dict(shared or {})
        self.places: dict[str, Path] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.configure(values)
        for volume, content in files.items():
            for name, text in content.items():
                self.set_file(volume, name, text)

    def configure(self, values: dict[str, Any]) -> None:
        """What an upgrade of the release with these values brings; it holds from the next start on."""
        self.values = merged(self.values, values)
        objects = render(self.chart, self.values, release="server")
        containers = workload(objects)["spec"]["template"]["spec"]["containers"]
        self.containers = {container["name"]: container for container in containers}
        self.container = containers[0]
        mounts = [mount for container in containers for mount in container["volumeMounts"] if mount["name"] != "tmp"]
        self.places = {mount["mountPath"]: self.shared.get(mount["name"], self.folder / mount["name"]) for mount in mounts}
        for place in self.places.values():
            place.mkdir(exist_ok=True)
        for name, text in objects["ConfigMap", "server"]["data"].items():
            (self.folder / "config" / name).write_text(self.placed(text))
        if os.geteuid() == 0:
            for place in (self.folder, *self.shared.values()):
                for path in (place, *place.rglob("*")):
                    os.chown(path, *_account())

    def placed(self, text: str) -> str:
        """Paths in the pod, as paths of this machine; a pod has an address of its own, a test keeps to the loopback."""
        text = text.replace("listen_addresses = '*'", "listen_addresses = '127.0.0.1'").replace("bind * -::*", "bind 127.0.0.1")
        for inside, outside in self.places.items():
            text = text.replace(inside, str(outside))
        return text

    def set_file(self, volume: str, name: str, text: str) -> None:
        path = self.folder / volume / name
        path.write_text(text)
        if os.geteuid() == 0:
            os.chown(path, *_account())

    def set_secret(self, key: str, value: str) -> None:
        self.set_file("secrets", key, value)

    def login(self) -> dict[str, Any]:
        """How a superuser connects to the Postgres in it."""
        password = (self.folder / "secrets" / "password").read_text()
        return {"host": "127.0.0.1", "port": self.port, "user": "postgres", "password": password, "dbname": "dcm"}

    def command(self, command: list[str], container: str = "") -> dict[str, Any]:
        entries = (self.containers[container] if container else self.container)["env"]
        environment = {entry["name"]: self.placed(entry["value"]) for entry in entries}
        owner: dict[str, Any] = dict(zip(("user", "group"), _account(), strict=True), extra_groups=[]) if os.geteuid() == 0 else {}
        return {"args": [self.placed(word) for word in command], "env": {"PATH": os.environ["PATH"], **environment}, "cwd": "/", **owner}

    def words(self, *command: str) -> list[str]:
        """The same as one list of words, for whoever runs commands by himself."""
        found = self.command(list(command))
        owner = [f"--reuid={found['user']}", f"--regid={found['group']}", "--clear-groups"] if "user" in found else []
        lend = ["setpriv", *owner] if owner else []
        return [*lend, "env", "-i", "-C", "/", *(f"{name}={value}" for name, value in found["env"].items()), *found["args"]]

    def start(self, container: str = "") -> None:
        name = container or self.container["name"]
        with (self.folder / f"log.{name}").open("ab") as log:
            command = self.command(self.containers[name]["command"], name)
            self.processes[name] = subprocess.Popen(**command, stdout=log, stderr=log, start_new_session=True)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The server's."""
        return self.processes[self.container["name"]]

    def probe(self) -> subprocess.CompletedProcess[str]:
        command = self.command(self.container["readinessProbe"]["exec"]["command"])
        return subprocess.run(**command, capture_output=True, text=True, check=False)

    def wait_ready(self, seconds: float = SECONDS) -> None:
        end = time.monotonic() + seconds
        while self.probe().returncode:
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < end, self.log()
            time.sleep(0.1)

    def stop(self, container: str = "") -> int:
        """As Kubernetes does: SIGTERM to process 1."""
        process = self.processes[container or self.container["name"]]
        process.send_signal(signal.SIGTERM)
        return process.wait(SECONDS)

    def kill(self, container: str = "") -> None:
        """As the kernel does when a container is out of memory or its node is gone: all of it, at once."""
        process = self.processes[container or self.container["name"]]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(SECONDS)

    def log(self, container: str = "") -> str:
        return (self.folder / f"log.{container or self.container['name']}").read_text(errors="replace")

    def remove(self) -> None:
        for name, process in self.processes.items():
            if process.poll() is None:
                self.kill(name)
        shutil.rmtree(self.folder)


def _account() -> tuple[int, int]:
    """Postgres refuses to run as root; a test run as root lends it another account."""
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid
