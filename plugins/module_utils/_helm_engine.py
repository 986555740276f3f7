# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The chart engine: many releases in one run, in the order of their dependencies, as many at once as allowed."""

from __future__ import annotations

import concurrent.futures
import contextlib
import graphlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._helm_chart import NO_CHART, Chart, read_chart
from ansible_collections.dcm.platform.plugins.module_utils._helm_cli import Helm, owner_state, pull_chart
from ansible_collections.dcm.platform.plugins.module_utils._helm_plan import (
    Record,
    Release,
    check_release,
    cycle_message,
    decide,
    dependency_graph,
    release_digest,
    release_keys,
)
from ansible_collections.dcm.platform.plugins.module_utils._helm_progress import Watch, progress_line
from ansible_collections.dcm.platform.plugins.module_utils._helm_records import ReleaseApi
from ansible_collections.dcm.platform.plugins.module_utils._helm_steps import Job, Outcome, Steps

POLL = 2.0  # seconds between two looks at the workloads
REPEAT = 15.0  # seconds after which an unchanged progress line is printed again


@dataclass(frozen=True)
class Options:
    """How a run is made, apart from what is to be installed."""

    check: bool = False
    diff: bool = False
    parallel: int = 4
    chart_cache: Path = Path()


@dataclass
class _Running:
    """A release that is being worked on, and what was last said about it."""

    job: Job
    started: float = field(default_factory=time.monotonic)
    watch: Watch | None = None
    said: str = ""
    said_at: float = field(default_factory=time.monotonic)


class Engine:
    """One run over a list of releases."""

    def __init__(self, helm: Helm, kube: ReleaseApi | None, options: Options, say: Callable[[str], None]) -> None:
        self._helm = helm
        self._kube = kube
        self._options = options
        self._say = say

    def run(self, releases: list[Release]) -> dict[str, Outcome]:
        """Bring every release to what is wanted; nothing is changed before all of them are understood."""
        for release in releases:
            check_release(release)
        keyed = release_keys(releases)
        graph = dependency_graph(keyed)
        sorter = graphlib.TopologicalSorter(graph)
        try:
            sorter.prepare()
        except graphlib.CycleError as error:
            raise PlatformError(cycle_message(list(reversed(error.args[1])))) from error
        return self._carry_out(self._jobs(keyed), graph, sorter)

    # -- finding out ----------------------------------------------------------------------------------------------------

    def _jobs(self, releases: Mapping[str, Release]) -> dict[str, Job]:
        charts = self._charts(releases)
        pairs = {(release.namespace, release.name) for release in releases.values()}
        histories = self._kube.release_history(pairs) if self._kube and pairs else {}
        return {
            key: self._job(key, release, charts.get(key, NO_CHART), histories.get((release.namespace, release.name), []))
            for key, release in releases.items()
        }

    @staticmethod
    def _job(key: str, release: Release, chart: Chart, history: list[Record]) -> Job:
        digest = release_digest(release, chart.digest) if chart.digest else ""
        last = history[-1] if history else None
        owner = owner_state(last.owner) if last and last.locked else "unknown"
        return Job(key, release, chart, digest, history, decide(release, history, digest, owner, time.time()))

    def _charts(self, releases: Mapping[str, Release]) -> dict[str, Chart]:
        """Read every chart, fetching those that are not on this machine; all digests are checked here."""
        present = {key: release for key, release in releases.items() if release.state == "present"}
        with concurrent.futures.ThreadPoolExecutor(max(1, self._options.parallel)) as pool:
            return dict(zip(present, pool.map(self._chart, present.values()), strict=True))

    def _chart(self, release: Release) -> Chart:
        if Path(release.chart_ref).exists():
            return read_chart(release.chart_ref, release.chart_digest)
        path = pull_chart(self._helm, release, self._options.chart_cache)
        try:
            return read_chart(path, release.chart_digest)
        except PlatformError:
            with contextlib.suppress(OSError):
                Path(path).unlink()
            raise

    # -- carrying out ---------------------------------------------------------------------------------------------------

    def _carry_out(
        self, jobs: Mapping[str, Job], graph: Mapping[str, set[str]], sorter: graphlib.TopologicalSorter[str]
    ) -> dict[str, Outcome]:
        steps = Steps(self._helm, self._kube, self._options.check, self._options.diff)
        outcomes: dict[str, Outcome] = {}
        running: dict[concurrent.futures.Future[Outcome], _Running] = {}
        pool = concurrent.futures.ThreadPoolExecutor(max(1, self._options.parallel))
        try:
            while sorter.is_active():
                for key in sorter.get_ready():
                    failed = sorted(needed for needed in graph[key] if outcomes[needed].msg)
                    if failed:
                        outcomes[key] = _skipped(jobs[key], failed)
                        sorter.done(key)
                    elif _idle(jobs[key]):
                        outcomes[key] = steps.carry_out(jobs[key])
                        sorter.done(key)
                    else:
                        running[pool.submit(steps.carry_out, jobs[key])] = _Running(jobs[key])
                for key, outcome in self._finished(running):
                    outcomes[key] = outcome
                    sorter.done(key)
            return {key: outcomes[key] for key in jobs}
        except BaseException:
            self._helm.stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _finished(self, running: dict[concurrent.futures.Future[Outcome], _Running]) -> list[tuple[str, Outcome]]:
        """Wait a moment for releases to finish, telling how far the others are."""
        if not running:
            return []
        done, _others = concurrent.futures.wait(running, timeout=POLL, return_when=concurrent.futures.FIRST_COMPLETED)
        finished = []
        for future in done:
            state, outcome = running.pop(future), future.result()
            if state.said or outcome.msg:
                verb = "failed" if outcome.msg else outcome.status
                self._say(f"helm_release: {state.job.key} {verb}, {time.monotonic() - state.started:.0f} s")
            finished.append((state.job.key, outcome))
        if not done and not self._options.check:
            for future, state in running.items():
                if future.running():
                    self._tell(state)
        return finished

    def _tell(self, state: _Running) -> None:
        """One progress line, when something changed or has not been said for a while."""
        if not self._kube:
            return
        job, now = state.job, time.monotonic()
        state.watch = state.watch or Watch(self._kube, job.release, job.next_revision if job.decision.changes else job.revision)
        try:
            workloads = state.watch.poll() if job.decision.action != "uninstall" else []
        except PlatformError:
            return  # progress is a courtesy; the work itself reports its errors
        content = progress_line(job.key, workloads, 0)
        if content != state.said or now - state.said_at >= REPEAT:
            state.said, state.said_at = content, now
            self._say(progress_line(job.key, workloads, now - state.started))


def _idle(job: Job) -> bool:
    return not job.decision.changes and not job.release.drift


def _skipped(job: Job, failed: list[str]) -> Outcome:
    text = f"release {job.key!r} was not touched: it depends on {', '.join(failed)}, which failed."
    chart = job.chart
    return Outcome(False, "skipped", job.revision, chart.label, chart.app_version, "none", "a dependency failed", msg=text)
