# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A tunnel to a server inside Kubernetes: one kubectl child on a free loopback port, ended whatever happens."""

from __future__ import annotations

import contextlib
import ctypes
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(?P<port>[0-9]+) ")
START_SECONDS = 30
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Tunnel:
    """Where to go in, and where to come out."""

    kubectl: str
    namespace: str
    service: str
    port: int
    kubeconfig: str | None = None
    context: str | None = None

    def command(self) -> list[str]:
        command = [self.kubectl]
        command += ["--kubeconfig", self.kubeconfig] if self.kubeconfig else []
        command += ["--context", self.context] if self.context else []
        command += ["--namespace", self.namespace, "port-forward", "--address", "127.0.0.1"]
        return [*command, f"service/{self.service}", f":{self.port}"]


@contextlib.contextmanager
def port_forward(tunnel: Tunnel) -> Iterator[int]:
    """The local port, for the length of a with block."""
    try:
        child = subprocess.Popen(
            tunnel.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - before any thread of ours
        )
    except OSError as problem:
        raise PlatformError(f"cannot start {tunnel.kubectl}: {problem.strerror}; set the option kubectl") from problem
    watch = threading.Timer(START_SECONDS, child.kill)
    try:
        watch.start()
        port = _wait_for_port(child, tunnel)
        watch.cancel()
        threading.Thread(target=_drain, args=(child,), daemon=True).start()
        yield port
    finally:
        watch.cancel()
        _end(child)


def _wait_for_port(child: subprocess.Popen[str], tunnel: Tunnel) -> int:
    said: list[str] = []
    for line in child.stdout or ():
        found = FORWARDING.search(line)
        if found:
            return int(found["port"])
        said.append(line.strip())
    reason = " ".join(said)[-300:] or f"no answer within {START_SECONDS} s"
    raise PlatformError(f"kubectl port-forward to service {tunnel.namespace}/{tunnel.service} failed: {reason}")


def _drain(child: subprocess.Popen[str]) -> None:
    """A full pipe would stop the tunnel."""
    if child.stdout is not None:
        with contextlib.suppress(ValueError):
            for _line in child.stdout:
                pass


def _end(child: subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _die_with_parent() -> None:
    """Linux ends the child even when this process is killed without a chance to clean up."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
