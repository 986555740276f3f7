# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""pgBackRest where the server runs: in its pod, through kubectl. Credentials stay in the pod."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils import _pgbackrest as words
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_kube import Kubectl

SCRIPT = ("/bin/sh", "/etc/dcm-postgres/pgbackrest.sh")
LOCKED = 50
SECONDS_BETWEEN = 5.0
EVERY_SECONDS = 2.0
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Pod:
    """One container of the server's pod."""

    kubectl: Kubectl
    namespace: str
    name: str
    container: str

    def command(self, *arguments: str) -> list[str]:
        inside = ("exec", self.name, "--container", self.container, "--", *SCRIPT, *arguments)
        return self.kubectl.command(self.namespace, *inside)


class PgBackRest:
    """Commands of pgBackRest. `command` turns its arguments into what is run here, so that a pod is not the only place."""

    def __init__(self, command: Callable[..., list[str]], tell: Tell, patience: float = 600.0) -> None:
        self.command = command
        self.tell = tell
        self.patience = patience

    def ask(self, *arguments: str) -> str:
        """What a short command prints."""
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise PlatformError(f"pgbackrest {arguments[-1]} failed: {_reason(done.stdout + done.stderr)}")
        return done.stdout

    def repository(self) -> words.Repository:
        return words.read_info(self.ask("--log-level-console=warn", "--output=json", "info"))

    def back_up(self, kind: str) -> words.Backup:
        """A base backup now; waits while another one is being made."""
        before = {backup.label for backup in self.repository().backups}
        end = time.monotonic() + self.patience
        while True:
            status, said = self._follow("--log-level-console=detail", f"--type={kind}", "backup")
            if not status:
                break
            if status != LOCKED or time.monotonic() > end:
                raise PlatformError(f"the {kind} backup failed: {_reason(said)}")
            self.tell("another backup is being made; waiting for it")
            time.sleep(SECONDS_BETWEEN)
        newest = self.repository().newest
        if newest.label in before:
            raise PlatformError(f"the {kind} backup ended without an error, but the newest one is still {newest.label}")
        return newest

    def verify(self, backup: words.Backup, last_wal: str = "", everything: bool = True) -> list[str]:
        """What of the repository is damaged or missing for a restore that begins with this backup; in words, empty when nothing is."""
        listing = self.ask("--log-level-console=warn", "--recurse", "repo-ls", f"archive/{self._stanza()}").splitlines()
        problems = [
            f"WAL segment {name} is missing between backup {backup.label} and the end of the archive"
            for name in words.missing_segments(listing, backup.first_wal, last_wal)
        ]
        if everything:
            problems += words.damaged_files(self.ask("--log-level-console=info", "--verbose", "--output=text", "verify"))
        return problems

    def _stanza(self) -> str:
        """The one that the pod is set up for; the folder of its archive."""
        names = [line.strip() for line in self.ask("--log-level-console=warn", "repo-ls", "archive").splitlines() if line.strip()]
        if len(names) != 1:
            raise PlatformError(f"the repository holds the archives of {', '.join(names) or 'no server'}: which one is meant?")
        return names[0]

    def _follow(self, *arguments: str) -> tuple[int, str]:
        """Runs a long command and tells its newest line every other second."""
        child = subprocess.Popen(
            self.command(*arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        said: list[str] = []
        told = time.monotonic()
        try:
            for line in child.stdout or ():
                said = [*said[-200:], line]
                if time.monotonic() - told >= EVERY_SECONDS:
                    told = time.monotonic()
                    self.tell(words.STAMP.sub("", line.strip())[:160])
        except BaseException:
            child.kill()
            raise
        finally:
            child.wait()
        return child.returncode, "".join(said)


def _reason(said: str) -> str:
    """Its own complaint, or the end of whatever was said."""
    return "; ".join(words.trouble_lines(said)) or " ".join(said.split())[-300:] or "it said nothing"


class Restored:
    """The server of a release that is being restored: waits until it is up, or tells from its log why it will not be."""

    def __init__(self, kubectl: Kubectl, namespace: str, release: str, restore: str, tell: Tell) -> None:
        self.kubectl, self.namespace, self.pod, self.restore, self.tell = kubectl, namespace, f"{release}-0", restore, tell

    def wait(self, seconds: float) -> float:
        """Seconds until the pod was ready."""
        start = told = time.monotonic()
        while time.monotonic() - start < seconds:
            state = self._state()
            if state == "ready":
                return time.monotonic() - start
            if state == "failed":
                raise PlatformError(f"pod {self.pod} could not restore: {_reason(self._log())}")
            if time.monotonic() - told >= SECONDS_BETWEEN:
                told = time.monotonic()
                self.tell(f"{state}, {told - start:.0f} s")
            time.sleep(0.5)
        raise PlatformError(
            f"pod {self.pod} was not ready within {seconds:.0f} s: {self._state()}; its log ends with: {self._log()[-300:]}"
        )

    def _state(self) -> str:
        try:
            pod = self.kubectl.get("pod", "the restore", f"{self.namespace}/{self.pod}")
        except PlatformError:
            return "waiting for the pod"
        statuses = pod.get("status", {}).get("containerStatuses") or []
        server = next((status for status in statuses if status["name"] == "postgres"), None)
        if pod["metadata"].get("deletionTimestamp") or server is None or not self._of_this_restore(pod):
            return "waiting for the pod"
        if server.get("ready"):
            return "ready"
        if server.get("restartCount") or "terminated" in server.get("state", {}):
            return "failed"
        return "restoring"

    def _of_this_restore(self, pod: dict[str, Any]) -> bool:
        """The pod from before may still be there, and ready."""
        entries = [entry for container in pod["spec"]["containers"] for entry in container.get("env") or []]
        return {"name": "RESTORE_ID", "value": self.restore} in entries

    def _log(self) -> str:
        """Of the container that ended, or of the one that runs."""
        for more in (("--previous",), ()):
            command = self.kubectl.command(self.namespace, "logs", self.pod, "--container", "postgres", "--tail=200", *more)
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if not done.returncode and done.stdout.strip():
                return done.stdout
        return ""


def describe(backups: Sequence[words.Backup]) -> list[dict[str, Any]]:
    return [backup.as_dict() for backup in backups]
