# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Helm command line: the only place that starts helm."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._helm_plan import LABEL_OWNER, Release

# Log lines of the Kubernetes client, and what helm says below the level of an error.
_NOISE = re.compile(r"^[IW]\d{4} \d\d:|^level=(DEBUG|INFO|WARN)\b|^WARNING: Kubernetes configuration file is")
# The shell replaces itself by helm, so that its own process id, written into the label, is helm's.
_OWNED = 'exec "$@" --labels "{label}={host}.$$"'


class HelmError(PlatformError):
    """Helm refused or failed; ``output`` is what it said."""

    def __init__(self, output: str, status: int) -> None:
        super().__init__(last_lines(output) or f"helm ended with status {status} and said nothing")
        self.output = output


def last_lines(output: str, count: int = 8) -> str:
    """The last useful lines of what a program said."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    lines = [line for line in lines if not _NOISE.search(line)] or lines
    return "\n".join(lines[-count:])


def host_id() -> str:
    """Names this machine, this boot and this process namespace: only here does a process id mean something."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def owner_state(owner: str) -> str:
    """Whether the helm process that a label names is alive or gone; unknown where that cannot be seen from here."""
    host, _dot, number = owner.partition(".")
    if host != host_id() or not number.isdigit():
        return "unknown"
    try:
        os.kill(int(number), 0)
        return "alive" if b"upgrade" in Path(f"/proc/{number}/cmdline").read_bytes() else "gone"
    except (ProcessLookupError, OverflowError):
        return "gone"
    except (FileNotFoundError, PermissionError):
        return "alive"


class Helm:
    """One helm binary with one kubeconfig context. Its version is asked for once."""

    def __init__(self, binary: str, kubeconfig: str, context: str, needed: bool = True) -> None:
        found = shutil.which(binary)
        if not found and needed:
            raise PlatformError(f"binary_path: helm is not at {binary!r}. Install Helm 4, or set binary_path (platform_helm_binary) to it.")
        self.binary = found or ""  # empty only in check mode, before the cluster and its programs are there
        self._connection = [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
        self._connection += [f"--kube-context={context}"] if context else []
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stop = threading.Event()
        self._major = 0
        driver = os.environ.get("HELM_DRIVER", "")
        if driver not in ("", "secret", "secrets"):
            raise PlatformError(f"HELM_DRIVER={driver}: helm_release reads releases from Secrets only. Unset it.")
        self._environment = {**os.environ, "HELM_DEBUG": "false", "HELM_DRIVER": "secret"}

    @property
    def field_manager(self) -> str:
        """Under which name Helm owns the fields that it applies."""
        return Path(self.binary).name

    @property
    def major(self) -> int:
        """The major version; asked for once."""
        with self._lock:
            if not self._major:
                text = subprocess.run(
                    [self.binary, "version", "--template={{.Version}}"], capture_output=True, text=True, check=False
                ).stdout
                number = text.strip().lstrip("v").partition(".")[0]
                if not number.isdigit() or int(number) < 3:
                    raise PlatformError(f"{self.binary} is not Helm 3 or 4: `helm version` says {text.strip()[:100]!r}.")
                self._major = int(number)
            return self._major

    def pause(self, seconds: float) -> None:
        """Sleep, unless the run was interrupted."""
        if self._stop.wait(seconds):
            raise PlatformError("interrupted")

    def run(self, arguments: Sequence[str], stdin: str = "", bound: float = 600.0, owned: bool = False) -> str:
        """Run helm and return what it printed. ``owned`` leaves helm's process id in the release's labels."""
        command = [self.binary, *arguments, *self._connection]
        if owned:
            command = ["/bin/sh", "-c", _OWNED.format(label=LABEL_OWNER, host=host_id()), "sh", *command]
        with self._lock:
            if self._stop.is_set():
                raise PlatformError("interrupted before helm was started")
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment,
                cwd=tempfile.gettempdir(),
            )
            self._running.add(process)
        try:
            output, errors = process.communicate(stdin.encode(), timeout=bound)
        except subprocess.TimeoutExpired:
            self._end([process], 10.0)
            raise HelmError(f"helm did not come back within {bound:.0f} s, its own timeout notwithstanding, and was ended", -1) from None
        finally:
            with self._lock:
                self._running.discard(process)
        if process.returncode != 0:
            raise HelmError(errors.decode(errors="replace") or output.decode(errors="replace"), process.returncode)
        return output.decode(errors="replace")

    def json(self, arguments: Sequence[str], stdin: str = "", bound: float = 600.0, owned: bool = False) -> dict[str, Any]:
        """Run helm with ``--output=json`` and return the object; some versions print progress before it."""
        text = self.run(arguments, stdin, bound, owned)
        start = text.find("{")
        try:
            document = json.loads(text[start:]) if start >= 0 else {}
        except ValueError as error:
            raise PlatformError(f"helm {arguments[0]} printed something that is not JSON: {last_lines(text, 2)[:300]}") from error
        return document if isinstance(document, dict) else {}

    def stop(self, grace: float = 5.0) -> None:
        """End every helm process that runs and start no other: an interrupted run leaves none behind."""
        with self._lock:
            self._stop.set()
            running = list(self._running)
        self._end(running, grace)

    @staticmethod
    def _end(processes: Sequence[subprocess.Popen[bytes]], grace: float) -> None:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        end = time.monotonic() + grace
        for process in processes:
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def pull_chart(helm: Helm, release: Release, cache: Path) -> str:
    """The path of a chart that is not on this machine: from the cache, or pulled into it. An unpinned version is always pulled."""
    identity = json.dumps([release.chart_ref, release.chart_repo_url, release.chart_version, release.chart_digest])
    folder = cache / hashlib.sha256(identity.encode()).hexdigest()[:24]
    kept = sorted(folder.glob("*.tgz"))
    if kept and _pinned(release):
        return str(kept[-1])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".pull-") as work:
        try:
            helm.run(_pull_arguments(release, work))
        except HelmError as error:
            source = release.chart_repo_url or "its own address"
            raise PlatformError(
                f"release {release.name!r}: chart {release.chart_ref} {release.chart_version} cannot be fetched from {source}: {error}. "
                "Check the name and version, or point chart_ref at a local .tgz."
            ) from error
        package = next(Path(work).glob("*.tgz"), None)
        if not package:
            raise PlatformError(f"release {release.name!r}: helm pull {release.chart_ref} brought no .tgz.")
        return str(package.replace(folder / package.name))


def _pull_arguments(release: Release, folder: str) -> list[str]:
    arguments = ["pull", release.chart_ref, f"--destination={folder}"]
    arguments += [f"--repo={release.chart_repo_url}"] if release.chart_repo_url else []
    arguments += [f"--version={release.chart_version}"] if release.chart_version else []
    arguments += ["--plain-http"] if release.plain_http else []
    return arguments + (["--insecure-skip-tls-verify"] if release.insecure_skip_tls_verify else [])


def _pinned(release: Release) -> bool:
    """Whether the wanted package can never be another one: a digest, or a whole version and not a range."""
    return bool(release.chart_digest) or bool(re.fullmatch(r"v?\d+\.\d+\.\d+([-+].*)?", release.chart_version))
