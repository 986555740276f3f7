# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Metrics of runs and of the fleet in Prometheus' text format: into a file for node_exporter's textfile collector, or to a Pushgateway.

Labels have few values, whatever the number of guilds: never a guild's id. A run replaces the file every few seconds and at its end; after
a kill it goes on saying that it is running, and node_textfile_mtime_seconds gets old.
"""

from __future__ import annotations

import http.client
import re
import threading
import time
import urllib.parse
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from ansible_collections.dcm.platform.plugins.module_utils import _files
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import NOTHING, Outcome

EVERY_SECONDS = 5.0
PUSH_SECONDS = 3.0
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LAST_SUCCESS = "dcm_guild_run_last_success_timestamp_seconds"
REFUSED, LOST_CONNECTION = "refused", "08"
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Metric:
    """One family with its samples: (suffix of the name, labels, value)."""

    name: str
    help: str
    samples: Sequence[tuple[str, Labels, float]]
    kind: str = "gauge"


def gauge(name: str, words: str, value: float) -> Metric:
    return Metric(name, words, [("", (), value)])


def gauges(name: str, words: str, label: str, values: Mapping[str, float]) -> Metric:
    return Metric(name, words, [("", ((label, key),), value) for key, value in sorted(values.items())])


def render(metrics: Sequence[Metric]) -> str:
    lines = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        lines += [f"{metric.name}{suffix}{_labels(labels)} {value:.15g}" for suffix, labels, value in metric.samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Labels) -> str:
    escaped = [(name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for name, value in labels]
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}" if labels else ""


@dataclass
class RunMetrics:
    """What a run of guild_schema counts."""

    total: int
    version: str
    clock: Callable[[], float] = time.time
    started: float = 0.0
    success: bool = False
    states: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    buckets: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.started = self.clock()

    def count(self, outcome: Outcome) -> None:
        action = outcome.plan.action
        if outcome.error:
            self.states["failed"] += 1
            self.failures[REFUSED if outcome.plan.refusal else outcome.sqlstate[:2] or LOST_CONNECTION] += 1
        elif action == NOTHING:
            self.states["unchanged"] += 1
        else:
            self.states["done"] += 1
            self.actions[action] += 1
        if action != NOTHING:
            self.seconds += outcome.seconds
            self.buckets[bisect_left(BUCKETS, outcome.seconds)] += 1

    def end(self, success: bool) -> None:
        self.success = success

    def metrics(self, running: bool) -> list[Metric]:
        now = self.clock()
        told = sum(self.states.values())
        states = {**dict.fromkeys(("done", "failed", "unchanged"), 0), **self.states, "waiting": self.total - told}
        found = [
            gauges("dcm_guild_run_guilds", "Guilds of the newest run by how far they are.", "state", states),
            gauges("dcm_guild_run_changes", "Guilds changed by the newest run, by what was done.", "action", self.actions),
            gauges("dcm_guild_run_failures", "Failed guilds of the newest run by class of SQLSTATE.", "sqlstate_class", self.failures),
            self._durations(),
            gauges("dcm_guild_run_target_info", "The schema version that the newest run works towards.", "version", {self.version: 1}),
            gauge("dcm_guild_run_in_progress", "Whether the newest run is going on.", running),
            gauge("dcm_guild_run_success", "Whether the newest run ended with no guild failed or left out.", self.success and not running),
            gauge("dcm_guild_run_start_timestamp_seconds", "When the newest run began.", self.started),
            gauge("dcm_guild_run_duration_seconds", "How long the newest run has taken.", now - self.started),
        ]
        if self.success and not running:
            found.append(last_success(now))
        return found

    def _durations(self) -> Metric:
        samples: list[tuple[str, Labels, float]] = []
        below = 0
        for number, bound in enumerate(BUCKETS):
            below += self.buckets[number]
            samples.append(("_bucket", (("le", f"{bound:g}"),), below))
        whole = below + self.buckets[len(BUCKETS)]
        samples += [("_bucket", (("le", "+Inf"),), whole), ("_sum", (), self.seconds), ("_count", (), whole)]
        return Metric("dcm_guild_run_guild_duration_seconds", "How long guilds took in the newest run.", samples, "histogram")


def last_success(moment: float) -> Metric:
    return gauge(LAST_SUCCESS, "When a run last ended with no guild failed or left out.", moment)


def fleet_metrics(placed: Mapping[tuple[str, str, str], int], newest: str, drifted: int | None, now: float) -> list[Metric]:
    """Of guild_info: guilds by (placement, state, version); how many are behind, where the newest version is known; how many drifted."""
    names = ("placement", "state", "version")
    samples = [("", tuple(zip(names, key, strict=True)), float(number)) for key, number in sorted(placed.items())]
    found = [
        Metric("dcm_guild_fleet_guilds", "Guilds of the registry by placement, state and schema version.", samples),
        gauge("dcm_guild_fleet_read_timestamp_seconds", "When the registry was read.", now),
    ]
    if newest:
        behind = sum(number for (_placement, _state, version), number in placed.items() if version != newest)
        found.append(gauge("dcm_guild_fleet_outdated_guilds", "Guilds that are not at the newest schema version.", behind))
    if drifted is not None:
        found.append(gauge("dcm_guild_fleet_drifted_guilds", "Guilds whose schema is not what its migrations make.", drifted))
    return found


@dataclass(frozen=True)
class Target:
    """Where metrics go; nowhere, where neither is given."""

    file: str | None = None
    url: str | None = None
    job: str = "dcm_guild_run"
    server: str = ""

    def __bool__(self) -> bool:
        return bool(self.file or self.url)

    def check(self) -> None:
        """Before anything is done; what goes wrong later is told, and stops nothing."""
        if self.file and not self.file.endswith(".prom"):
            raise PlatformError(f"metrics_file: {self.file} must end in .prom: the textfile collector reads no other file")
        if self.file and not Path(self.file).parent.is_dir():
            raise PlatformError(f"metrics_file: the folder {Path(self.file).parent} does not exist")
        if self.url:
            parts = urllib.parse.urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
                raise PlatformError(
                    "metrics_url: not the address of a Pushgateway such as http://pushgateway:9091, without login and query"
                )

    def write(self, metrics: Sequence[Metric]) -> str:
        """What went wrong, in one line; empty when all is well."""
        problems = []
        try:
            if self.file:
                _files.write(Path(self.file), render(self._labelled(self._with_last_success(metrics))).encode(), 0o644)
        except OSError as problem:
            problems.append(f"metrics_file: cannot write {self.file}: {problem.strerror}")
        try:
            if self.url:
                self._push(render(self._labelled(metrics)).encode())
        except (OSError, http.client.HTTPException) as problem:
            problems.append(f"metrics_url: {self.url} did not take the metrics: {str(problem) or type(problem).__name__}")
        return "; ".join(problems)

    def _labelled(self, metrics: Sequence[Metric]) -> Sequence[Metric]:
        """Of several servers each has its own samples: the same name with the same labels from two of them would be refused."""
        if not self.server:
            return metrics
        own = ("server", self.server)
        return [
            replace(metric, samples=[(suffix, (own, *labels), value) for suffix, labels, value in metric.samples]) for metric in metrics
        ]

    def _with_last_success(self, metrics: Sequence[Metric]) -> Sequence[Metric]:
        """A run that has not succeeded (yet) leaves the moment of the last one that did."""
        if self.job != "dcm_guild_run" or any(metric.name == LAST_SUCCESS for metric in metrics):
            return metrics
        file = Path(self.file or "")
        before = (
            re.search(rf"^{LAST_SUCCESS}(?:{{[^}}]*}})? ([0-9.]+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            if file.is_file()
            else None
        )
        return [*metrics, last_success(float(before[1]))] if before else metrics

    def _push(self, body: bytes) -> None:
        """POST replaces the metrics of the same names alone: the last success stays."""
        gateway = urllib.parse.urlsplit((self.url or "").rstrip("/"))
        path = f"{gateway.path}/metrics/job/{self.job}" + (f"/server/{self.server}" if self.server else "")
        secure = gateway.scheme == "https"
        connection = (http.client.HTTPSConnection if secure else http.client.HTTPConnection)(gateway.netloc, timeout=PUSH_SECONDS)
        try:
            connection.request("POST", path, body, {"Content-Type": "text/plain; version=0.0.4"})
            answer = connection.getresponse()
            if answer.status >= http.client.MULTIPLE_CHOICES:
                raise OSError(f"HTTP {answer.status} {answer.reason}")
        finally:
            connection.close()


class Publisher:
    """Writes while a run works, in a thread of its own: a slow Pushgateway slows nothing down."""

    def __init__(self, target: Target, make: Callable[[bool], Sequence[Metric]], every: float = EVERY_SECONDS) -> None:
        self.trouble = ""
        self._target = target
        self._make = make
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        if self._target:
            self._write(running=True)
            self._thread.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        if self._target:
            self._stop.set()
            self._thread.join()
            self._write(running=False)

    def _follow(self) -> None:
        while not self._stop.wait(self._every):
            self._write(running=True)

    def _write(self, running: bool) -> None:
        self.trouble = self._target.write(self._make(running))
