# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a Helm release should be, what it is, and therefore what has to be done: pure decisions of the chart engine."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

# Part of every digest. Raise it when the engine starts to install the same input differently.
ENGINE_REVISION = "1"
LABEL_DIGEST = "dcm.platform/digest"
LABEL_REVISION = "dcm.platform/revision"
LABEL_OWNER = "dcm.platform/owner"

WAIT_STRATEGIES = ("hookOnly", "legacy", "watcher")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


@dataclass(frozen=True)
class Release:
    """One wanted release; the names are those of the module's options."""

    name: str
    namespace: str
    state: str = "present"
    chart_ref: str = ""
    chart_version: str = ""
    chart_repo_url: str = ""
    chart_digest: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    create_namespace: bool = False
    wait: bool = True
    wait_strategy: str = "legacy"
    wait_for_jobs: bool = False
    timeout: int = 300
    atomic: bool = True
    cleanup_on_fail: bool = False
    crds: str = "apply"
    disable_hook: bool = False
    drift: bool = False
    force: bool = False
    force_conflicts: bool = False
    server_side: str = ""
    history_max: int = 10
    insecure_skip_tls_verify: bool = False
    keep_crds: bool = True
    keep_pvcs: bool = True
    lock_timeout: int = 0
    plain_http: bool = False
    post_renderer: str = ""
    retries: int = 2
    skip_schema_validation: bool = False
    take_ownership: bool = False
    depends_on: tuple[str, ...] = ()

    @property
    def strategy(self) -> str:
        """How Helm waits: never by its own default."""
        return self.wait_strategy if self.wait else "hookOnly"

    @property
    def lock_bound(self) -> int:
        """Seconds after which a pending record of an unknown owner counts as dead."""
        return self.lock_timeout or max(600, 2 * self.timeout)


@dataclass(frozen=True)
class Record:
    """One stored revision of a release, from the metadata of its Secret."""

    revision: int
    status: str
    secret: str
    modified: float
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def bound_to_revision(self) -> bool:
        """Whether our labels were written for this very revision; Helm copies labels to later ones that others make."""
        return self.labels.get(LABEL_REVISION) == str(self.revision)

    @property
    def digest(self) -> str:
        return self.labels.get(LABEL_DIGEST, "") if self.bound_to_revision else ""

    @property
    def owner(self) -> str:
        return self.labels.get(LABEL_OWNER, "") if self.bound_to_revision else ""

    @property
    def locked(self) -> bool:
        return self.status.startswith("pending-") or self.status == "uninstalling"


@dataclass(frozen=True)
class Decision:
    """What to do with one release: recover first (rollback to a revision, or discard the records), then the action."""

    action: str
    reason: str
    recover: str = ""
    rollback_to: int = 0

    @property
    def changes(self) -> bool:
        return self.action != "none"


def parse_duration(text: str | int, where: str) -> int:
    """Seconds of a Go duration (5m0s, 1h30m, 90s) or of a plain number."""
    value = str(text).strip()
    if value.isdigit():
        return int(value)
    match = _DURATION.fullmatch(value)
    if not value or not match:
        raise PlatformError(f"{where}: {text!r} is not a duration. Write it like 90s, 5m or 1h30m.")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return max(1, int(hours * 3600 + minutes * 60 + seconds))


def parse_digest(text: str, where: str) -> str:
    """The 64 hexadecimal digits of a sha256, with or without the prefix; empty stays empty."""
    match = _SHA256.fullmatch(text.strip().lower())
    if text and not match:
        raise PlatformError(f"{where}: {text!r} is not a sha256. Write the 64 hexadecimal digits that `sha256sum CHART.tgz` prints.")
    return match.group(1) if match else ""


def check_release(release: Release) -> None:
    """Refuse what cannot work, before anything is read or changed."""
    where = f"release {release.name!r}"
    if not _NAME.fullmatch(release.name) or len(release.name) > 53:
        raise PlatformError(f"release_name {release.name!r} is not valid: at most 53 lower case letters, digits, '-' and '.'.")
    if not _NAME.fullmatch(release.namespace) or "." in release.namespace or len(release.namespace) > 63:
        raise PlatformError(f"{where}: release_namespace {release.namespace!r} is not the name of a namespace.")
    if release.state == "present" and not release.chart_ref:
        raise PlatformError(f"{where}: chart_ref is required when release_state is present.")
    if release.force and (release.force_conflicts or release.server_side):
        raise PlatformError(f"{where}: force cannot be combined with force_conflicts or server_side.")
    if release.force_conflicts and release.server_side == "false":
        raise PlatformError(f"{where}: force_conflicts needs server-side apply, but server_side is false.")


def release_keys(releases: Sequence[Release]) -> dict[str, Release]:
    """Releases by the name under which they are reported: their name, or namespace/name where a name occurs twice."""
    names = [release.name for release in releases]
    keyed: dict[str, Release] = {}
    for release in releases:
        key = release.name if names.count(release.name) == 1 else f"{release.namespace}/{release.name}"
        if key in keyed:
            raise PlatformError(f"release {release.name!r} in namespace {release.namespace!r} is listed twice. Keep one of the entries.")
        keyed[key] = release
    return keyed


def dependency_graph(releases: Mapping[str, Release]) -> dict[str, set[str]]:
    """Which releases each one waits for. What is removed goes in the opposite order: dependents first."""
    graph: dict[str, set[str]] = {key: set() for key in releases}
    for key, release in releases.items():
        for needed in release.depends_on:
            if needed not in releases:
                raise PlatformError(f"release {key!r} depends on {needed!r}, which is not in the list. Known: {', '.join(releases)}.")
            other = releases[needed]
            if release.state == "present" and other.state == "absent":
                raise PlatformError(f"release {key!r} depends on {needed!r}, which is to be removed (release_state: absent).")
            if release.state == other.state:
                first, second = (needed, key) if release.state == "present" else (key, needed)
                graph[second].add(first)
    return graph


def cycle_message(cycle: Sequence[str]) -> str:
    """How a dependency cycle is reported."""
    return f"depends_on goes in a circle: {' -> '.join(cycle)}. Remove one of these dependencies."


def release_digest(release: Release, chart: str) -> str:
    """A digest of everything that decides what Helm would install; a label value, so at most 63 characters."""
    content = {
        "engine": ENGINE_REVISION,
        "chart": chart,
        "values": release.values,
        "crds": release.crds,
        "hooks": not release.disable_hook,
        "post_renderer": release.post_renderer,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:48]


def release_labels(digest: str, revision: int) -> dict[str, str]:
    """Labels that let the next run see what a revision holds."""
    return {LABEL_DIGEST: digest, LABEL_REVISION: str(revision)}


def decide(release: Release, history: Sequence[Record], digest: str, lock_owner: str, now: float) -> Decision:
    """What to do, from the stored revisions (oldest first). ``lock_owner`` is alive, gone or unknown, of the newest record."""
    last = history[-1] if history else None
    if last is None or last.status == "uninstalled":
        return Decision("none", "not installed") if release.state == "absent" else Decision("install", "not installed")
    recover, rollback_to, reason = "", 0, ""
    if last.locked:
        recover, rollback_to, reason = _recovery(release, history, lock_owner, now)
    if release.state == "absent":
        return Decision("uninstall", reason or f"installed as revision {last.revision}")
    if last.status == "uninstalling":
        return Decision("install", reason, "uninstall")
    if recover:
        return Decision("install" if recover == "discard" else "upgrade", reason, recover, rollback_to)
    if last.status == "deployed" and digest and last.digest == digest:
        return Decision("none", f"revision {last.revision} has the same chart, values and options")
    return Decision("upgrade", _difference(last))


def _difference(last: Record) -> str:
    if last.status != "deployed":
        return f"revision {last.revision} is {last.status}"
    if not last.digest:
        return f"revision {last.revision} was not made by this engine"
    return f"chart, values or options differ from revision {last.revision}"


def _recovery(release: Release, history: Sequence[Record], lock_owner: str, now: float) -> tuple[str, int, str]:
    """How to get rid of a dead lock; a lock that may be alive is an error."""
    last, age = history[-1], max(0, int(now - history[-1].modified))
    if lock_owner == "alive" or (lock_owner == "unknown" and age < release.lock_bound):
        who = "its helm process is still running on this machine" if lock_owner == "alive" else f"who does it is not known ({age} s ago)"
        raise PlatformError(
            f"release {release.name!r} in namespace {release.namespace!r} is {last.status} (revision {last.revision}): {who}. "
            f"Wait until it ends; a lock of an unknown owner counts as dead after {release.lock_bound} s (lock_timeout)."
        )
    why = "its owner is gone" if lock_owner == "gone" else f"it is {age} s old"
    deployed = [record.revision for record in history[:-1] if record.status in ("deployed", "superseded")]
    reason = f"dead lock {last.status} of revision {last.revision} ({why})"
    return ("rollback", deployed[-1], reason) if deployed else ("discard", 0, reason)


def wait_arguments(release: Release, helm_major: int) -> list[str]:
    """The wait flags; Helm 3 knows one way to wait only."""
    if helm_major >= 4:
        flags = [f"--wait={release.strategy}"]
    elif release.strategy == "watcher":
        raise PlatformError(f"release {release.name!r}: wait_strategy watcher needs Helm 4; use legacy with Helm {helm_major}.")
    else:
        flags = ["--wait"] if release.strategy == "legacy" else []
    jobs = ["--wait-for-jobs"] if release.wait_for_jobs and release.strategy != "hookOnly" else []
    return [*flags, *jobs, f"--timeout={release.timeout}s"]


def upgrade_arguments(release: Release, chart_path: str, labels: Mapping[str, str], helm_major: int) -> list[str]:
    """Arguments of ``helm upgrade --install``; values come on stdin, so that no secret is on a command line."""
    arguments = ["upgrade", "--install", release.name, chart_path, f"--namespace={release.namespace}", "--values=-", "--output=json"]
    arguments += [f"--labels={','.join(f'{key}={value}' for key, value in sorted(labels.items()))}"] if labels else []
    arguments += ["--reset-values", f"--history-max={release.history_max}", *wait_arguments(release, helm_major)]
    switches = {
        "--create-namespace": release.create_namespace,
        "--skip-crds": release.crds != "helm",
        "--no-hooks": release.disable_hook,
        "--cleanup-on-fail": release.cleanup_on_fail,
        "--take-ownership": release.take_ownership,
        "--skip-schema-validation": release.skip_schema_validation,
        f"--post-renderer={release.post_renderer}": bool(release.post_renderer),
    }
    return arguments + [flag for flag, wanted in switches.items() if wanted] + _apply_flags(release, helm_major)


def _apply_flags(release: Release, helm_major: int) -> list[str]:
    if release.force:
        return ["--server-side=false", "--force-replace"] if helm_major >= 4 else ["--force"]
    flags = [f"--server-side={release.server_side}"] if release.server_side else []
    flags += ["--force-conflicts"] if release.force_conflicts else []
    if flags and helm_major < 4:
        raise PlatformError(f"release {release.name!r}: server_side and force_conflicts need Helm 4, found Helm {helm_major}.")
    return flags
