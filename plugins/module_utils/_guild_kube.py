# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The little the guild modules ask Kubernetes: a Secret, a Service's address, a tunnel. Through kubectl; what it says stays in memory."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Unreachable

FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(?P<port>[0-9]+) ")
REFERENCE = re.compile(r"(?P<namespace>[a-z0-9-]{1,63})/(?P<name>[a-z0-9.-]{1,253})", re.ASCII)
SECONDS = 30
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Kubectl:
    """The binary and the cluster it talks to."""

    binary: str
    kubeconfig: str | None = None
    context: str | None = None

    def command(self, namespace: str, *arguments: str) -> list[str]:
        command = [self.binary]
        command += ["--kubeconfig", self.kubeconfig] if self.kubeconfig else []
        command += ["--context", self.context] if self.context else []
        return [*command, "--namespace", namespace, *arguments]

    def get(self, kind: str, option: str, reference: str) -> dict[str, Any]:
        """One object by namespace/name."""
        named = REFERENCE.fullmatch(reference)
        if not named:
            raise PlatformError(f"{option}: {reference!r} is not of the form namespace/name")
        self._check()
        arguments = ("get", kind, named["name"], "--output", "json", f"--request-timeout={SECONDS}s")
        done = subprocess.run(self.command(named["namespace"], *arguments), capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unreachable(f"{option}: cannot read {kind} {reference}: {' '.join(done.stderr.split())[-300:]}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def secret(self, option: str, reference: str, *keys: str) -> list[str]:
        data = self.get("secret", option, reference).get("data") or {}
        missing = [key for key in keys if not data.get(key)]
        if missing:
            raise PlatformError(f"{option}: Secret {reference} holds no key {missing[0]!r}")
        return [base64.b64decode(data[key]).decode() for key in keys]

    def cluster_address(self, option: str, reference: str) -> str:
        address = str(self.get("service", option, reference).get("spec", {}).get("clusterIP") or "None")
        if address == "None":
            raise PlatformError(f"{option}: Service {reference} has no cluster address; use access: port_forward")
        return address

    def _check(self) -> None:
        if self.kubeconfig and not Path(self.kubeconfig).is_file():
            raise Unreachable(f"kubeconfig {self.kubeconfig} does not exist: has the cluster been made?")
        if "/" in self.binary and not Path(self.binary).is_file():
            raise Unreachable(f"kubectl {self.binary} does not exist: has the cluster been made?")


@contextlib.contextmanager
def port_forward(kubectl: Kubectl, option: str, reference: str, port: int, kind: str = "service") -> Iterator[int]:
    """A free loopback port that leads to a Service or a pod, for the length of a with block."""
    kubectl.get(kind, option, reference)
    namespace, name = reference.split("/")
    child = subprocess.Popen(
        kubectl.command(namespace, "port-forward", "--address", "127.0.0.1", f"{kind}/{name}", f":{port}"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - before any thread of ours
    )
    watch = threading.Timer(SECONDS, child.kill)
    try:
        watch.start()
        local = _wait_for_port(child, reference)
        watch.cancel()
        threading.Thread(target=_drain, args=(child,), daemon=True).start()
        yield local
    finally:
        watch.cancel()
        _end(child)


def _wait_for_port(child: subprocess.Popen[str], reference: str) -> int:
    said: list[str] = []
    for line in child.stdout or ():
        found = FORWARDING.search(line)
        if found:
            return int(found["port"])
        said.append(line.strip())
    reason = " ".join(said)[-300:] or f"no answer within {SECONDS} s"
    raise Unreachable(f"kubectl port-forward to Service {reference} failed: {reason}")


def _drain(child: subprocess.Popen[str]) -> None:
    """A full pipe would stop the tunnel."""
    with contextlib.suppress(ValueError):
        for _line in child.stdout or ():
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
