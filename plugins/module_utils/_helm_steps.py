# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is done with one release: recover, definitions, install or upgrade, repair, uninstall. Each step has its dry run."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._helm_chart import Chart, chart_files, crd_objects
from ansible_collections.dcm.platform.plugins.module_utils._helm_cli import Helm, HelmError
from ansible_collections.dcm.platform.plugins.module_utils._helm_plan import (
    Decision,
    Record,
    Release,
    release_labels,
    upgrade_arguments,
    wait_arguments,
)
from ansible_collections.dcm.platform.plugins.module_utils._helm_progress import Watch
from ansible_collections.dcm.platform.plugins.module_utils._helm_records import ReleaseApi
from ansible_collections.dcm.platform.plugins.module_utils._helm_values import (
    Masker,
    comparable,
    load_yaml,
    manifest_objects,
    object_changes,
    object_name,
)

CRD_MANAGER = "dcm-platform"
CRD_BOUND = 60.0
RETRY_PAUSE = 3.0
READY_PAUSE = 1.0
_SIGNS = {"add": "+", "change": "~", "remove": "-"}
_UNKNOWN_KIND = re.compile(r"no matches for kind|resource mapping not found|could not find the requested resource")
_PASSING = re.compile(
    r"failed calling webhook|connection refused|connection reset|i/o timeout|TLS handshake timeout|leader changed|"
    r"server is currently unable to handle|no endpoints available|etcdserver: request timed out|http2: client connection lost"
)
_HINTS = (
    (r"don't meet the specifications|values\.schema", "Correct the value at the path that Helm names."),
    (
        r"exists and cannot be imported|invalid ownership metadata",
        "Another owner made this object: remove it, or set take_ownership: true.",
    ),
    (r"conflict with|conflicts? with", "Another manager owns these fields: give them up there, or set force_conflicts: true."),
    (r"no matches for kind|ensure CRDs", "Install the release that brings this kind first (depends_on)."),
    (r"violates PodSecurity", "Make the pod satisfy the Pod Security level of the namespace."),
    (
        r"deadline exceeded|timed out|not ready|not come back",
        "Mend what the pods above wait for, or give it longer (timeout), then run again.",
    ),
    (r"forbidden|[Uu]nauthorized", "Give the user of this kubeconfig the right that Helm names."),
    (r"namespaces? \".*\" not found", "Create the namespace first, or set create_namespace: true."),
    (r"parse error|execution error|template:", "Mend the chart's template, or the value that it stumbles over."),
)


@dataclass
class Outcome:
    """What is reported of one release; the same in check mode."""

    changed: bool = False
    status: str = "unknown"
    revision: int = 0
    chart: str = ""
    app_version: str = ""
    action: str = "none"
    reason: str = ""
    duration_s: float = 0.0
    objects: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)
    msg: str = ""


@dataclass(frozen=True)
class Job:
    """One release with everything that was found out about it."""

    key: str
    release: Release
    chart: Chart
    digest: str
    history: Sequence[Record]
    decision: Decision

    @property
    def last(self) -> Record | None:
        return self.history[-1] if self.history else None

    @property
    def revision(self) -> int:
        """The newest revision there is, or 0."""
        return self.history[-1].revision if self.history else 0

    @property
    def next_revision(self) -> int:
        """The number that Helm gives to the coming revision."""
        before = self.revision
        moves = {"rollback": before + 2, "discard": 1, "uninstall": 1}
        return moves.get(self.decision.recover, before + 1)


class Steps:
    """Carries out jobs. Used from several threads at once, one job each."""

    def __init__(self, helm: Helm, kube: ReleaseApi | None, check: bool, want_objects: bool) -> None:
        self._helm = helm
        self._kube = kube
        self._check = check
        self._want_objects = want_objects or check

    def carry_out(self, job: Job) -> Outcome:
        """Do what was decided, or predict it in check mode."""
        started = time.monotonic()
        outcome = self._outcome(job)
        masker = Masker([job.release.values])
        try:
            if job.decision.action == "uninstall":
                self._uninstall(job, outcome, masker)
            elif job.decision.changes:
                self._recover(job)
                self._definitions(job, outcome, masker)
                self._upgrade(job, outcome, masker)
            elif job.release.drift and job.release.state == "present":
                self._definitions(job, outcome, masker)
                self._repair(job, outcome, masker)
        except PlatformError as error:
            outcome.status, outcome.msg = "failed", masker.text(str(error))
        outcome.duration_s = round(time.monotonic() - started, 2)
        return outcome

    def _outcome(self, job: Job) -> Outcome:
        last, chart, decision = job.last, job.chart, job.decision
        status = last.status if last and last.status != "uninstalled" else "absent"
        return Outcome(decision.changes, status, job.revision, chart.label, chart.app_version, decision.action, decision.reason)

    @property
    def _api(self) -> ReleaseApi:
        """The cluster, where there has to be one."""
        if not self._kube:
            raise PlatformError("there is no cluster to work on")
        return self._kube

    # -- objects and differences ----------------------------------------------------------------------------------------

    def _stored(self, job: Job) -> dict[str, Any]:
        """What Helm stored of the revision that is in force."""
        good = [record for record in job.history if record.status in ("deployed", "superseded")] or list(job.history)
        return self._kube.release_document(job.release.namespace, good[-1]) if self._kube and good else {}

    def _note(self, outcome: Outcome, changes: Sequence[Mapping[str, str]], key: str) -> None:
        outcome.objects += [f"{_SIGNS[change['change']]} {change['object']}" for change in changes]
        outcome.diff += [
            {
                "before_header": f"{key}: {change['object']}",
                "after_header": f"{key}: {change['object']}",
                "before": change["before"],
                "after": change["after"],
            }
            for change in changes
        ]

    # -- recover --------------------------------------------------------------------------------------------------------

    def _recover(self, job: Job) -> None:
        """Get rid of a dead lock."""
        release, decision = job.release, job.decision
        if self._check or not decision.recover:
            return
        if decision.recover == "rollback":
            self._rollback(release, decision.rollback_to, replace(release, wait=False))
        elif decision.recover == "uninstall":
            self._helm_uninstall(release)
        elif self._kube:
            for record in job.history:
                self._kube.discard_record(release.namespace, record)

    def _rollback(self, release: Release, revision: int, waiting: Release) -> None:
        arguments = ["rollback", release.name, str(revision), f"--namespace={release.namespace}", f"--history-max={release.history_max}"]
        self._helm.run([*arguments, *wait_arguments(waiting, self._helm.major)], bound=_bound(release))

    # -- custom resource definitions ------------------------------------------------------------------------------------

    def _definitions(self, job: Job, outcome: Outcome, masker: Masker) -> None:
        """Apply the chart's definitions, on upgrades too, which Helm never does."""
        if job.release.crds != "apply" or not job.chart.path:
            return
        wanted = crd_objects(chart_files(job.chart.path), job.release.values)
        before, after = [], []
        for document in wanted:
            live, result = self._apply(document, job.release, CRD_MANAGER)
            before += [comparable(live)] if live else []
            after.append(comparable(result))
        changes = object_changes(before, after, job.release.namespace, masker)
        self._note(outcome, changes, job.key)
        outcome.changed = outcome.changed or bool(changes)
        if changes and self._kube and not self._check:
            self._await_definitions([document for document in wanted if document.get("kind") == "CustomResourceDefinition"])

    def _apply(self, document: dict[str, Any], release: Release, manager: str) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """The object before and after a server-side apply (a dry run in check mode)."""
        path = self._kube.path_of(document, release.namespace) if self._kube else None
        if not self._kube or not path:
            return None, document
        return self._kube.get(path), self._kube.apply(path, document, manager, self._check)

    def _await_definitions(self, definitions: Sequence[dict[str, Any]]) -> None:
        end = time.monotonic() + CRD_BOUND
        waiting = {str(document["metadata"]["name"]) for document in definitions}
        while waiting:
            for name in sorted(waiting):
                live = self._api.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}") or {}
                conditions = (live.get("status") or {}).get("conditions") or []
                if any(item.get("type") == "Established" and item.get("status") == "True" for item in conditions):
                    waiting.discard(name)
            if waiting and time.monotonic() > end:
                raise PlatformError(
                    f"these definitions were applied but not established within {CRD_BOUND:.0f} s: {', '.join(sorted(waiting))}."
                )
            self._helm.pause(0.1 if waiting else 0)
        self._api.forget_kinds()

    # -- install and upgrade --------------------------------------------------------------------------------------------

    def _upgrade(self, job: Job, outcome: Outcome, masker: Masker) -> None:
        release = job.release
        before = self._stored(job) if self._want_objects else {}
        masker.learn(before.get("config") or {})
        started = time.monotonic()
        try:
            after = self._render(job) if self._check else self._install_retrying(job)
        except HelmError as error:
            raise PlatformError(self._failure(job, error, masker, time.monotonic() - started)) from error
        if self._want_objects:
            sides = [manifest_objects(str(side.get("manifest", ""))) for side in (before, after)]
            self._note(outcome, object_changes(sides[0], sides[1], release.namespace, masker), job.key)
        outcome.status = str((after.get("info") or {}).get("status", "deployed")) if not self._check else "deployed"
        outcome.revision = job.next_revision if self._check else int(after.get("version", job.next_revision))

    def _install_retrying(self, job: Job) -> dict[str, Any]:
        """Install, again after errors that pass by themselves: a webhook or an API that is just starting."""
        attempt = job
        for _count in range(job.release.retries):
            try:
                return self._install(attempt)
            except HelmError as error:
                if not _PASSING.search(error.output):
                    raise
            self._helm.pause(RETRY_PAUSE)
            attempt = replace(job, history=self._history(job.release), decision=replace(job.decision, recover=""))
        return self._install(attempt)

    def _history(self, release: Release) -> list[Record]:
        pair = (release.namespace, release.name)
        return self._api.release_history([pair])[pair]

    def _install(self, job: Job) -> dict[str, Any]:
        labels = release_labels(job.digest, job.next_revision)
        arguments = upgrade_arguments(job.release, job.chart.path, labels, self._helm.major)
        return self._helm.json(arguments, json.dumps(job.release.values), _bound(job.release), owned=True)

    def _render(self, job: Job) -> dict[str, Any]:
        """What an upgrade would install, as far as it can be known: kinds that another release brings are not there yet."""
        release, values = job.release, json.dumps(job.release.values)
        if not self._helm.binary:
            return {}
        arguments = upgrade_arguments(release, job.chart.path, {}, self._helm.major)
        if self._kube and not job.decision.recover:
            try:
                return self._helm.json([*arguments, "--dry-run=server"], values)
            except HelmError as error:
                if not _UNKNOWN_KIND.search(error.output):
                    raise
            if self._helm.major >= 4:
                return self._helm.json([*arguments, "--dry-run=client"], values)
        switches = ["--no-hooks", "--skip-crds", *(["--is-upgrade"] if job.decision.action == "upgrade" else [])]
        switches += ["--skip-schema-validation"] if release.skip_schema_validation else []
        switches += ["--dry-run=server"] if self._kube else []
        command = ["template", release.name, job.chart.path, f"--namespace={release.namespace}", "--values=-", *switches]
        return {"manifest": self._helm.run(command, values)}

    def _failure(self, job: Job, error: HelmError, masker: Masker, seconds: float) -> str:
        """One message: what, where, what Helm said, which pods are not ready and why, what was done, what to do."""
        release, said = job.release, str(error)
        what = "would fail" if self._check else f"failed after {seconds:.0f} s"
        lines = [f"release {release.name!r} in namespace {release.namespace!r}: {job.decision.action} {what}.", f"Helm said: {said}"]
        if not self._check and self._kube:
            lines += self._not_ready(job)
            lines.append(self._undo(job))
        advice = next(
            (text for pattern, text in _HINTS if re.search(pattern, "\n".join(lines))),
            "Mend the cause and run again: it goes on from here.",
        )
        return masker.text("\n".join([*lines, f"What to do: {advice}"]))

    def _not_ready(self, job: Job) -> list[str]:
        try:
            history = self._history(job.release)
            reasons = Watch(self._api, job.release, history[-1].revision).explain() if history else []
        except PlatformError as error:
            reasons = [f"(not readable: {error})"]
        return [f"Not ready: {reason}" for reason in reasons]

    def _undo(self, job: Job) -> str:
        """Put back what was before, if wanted. Not left to Helm: its own flag forces the watcher on, and hides why pods failed."""
        release = job.release
        history = self._history(release)
        if not release.atomic or not history:
            return "Nothing was rolled back." if history else "Nothing was installed."
        if history[-1].locked:
            return f"It is left as it is ({history[-1].status}); the next run recovers it."
        good = [record for record in history if record.status in ("deployed", "superseded")]
        if history[-1].status == "deployed":
            return f"Revision {history[-1].revision} is in force as before."
        try:
            if good:
                self._rollback(release, good[-1].revision, release)
                return f"It was rolled back to revision {good[-1].revision}."
            self._helm_uninstall(release)
            return "What had been installed was removed again."
        except HelmError as error:
            return f"Putting it back failed too: {error}"

    # -- drift ----------------------------------------------------------------------------------------------------------

    def _repair(self, job: Job, outcome: Outcome, masker: Masker) -> None:
        """Compare the live objects with the release's manifest through the server, and put back what differs."""
        if not self._kube:
            return
        stored = self._stored(job)
        masker.learn(stored.get("config") or {})
        objects = manifest_objects(str(stored.get("manifest", "")))
        before, after = [], []
        for document in objects:
            pair = self._drifted(document, objects, job.release)
            if pair:
                before += [pair[0]] if pair[0] else []
                after.append(pair[1])
        self._note(outcome, object_changes(before, after, job.release.namespace, masker), job.key)
        if after and not self._check and job.release.strategy != "hookOnly":
            self._await_ready(job)
        if after:
            outcome.changed, outcome.action, outcome.reason = (
                True,
                "repair",
                f"{len(after)} live objects differ from revision {outcome.revision}",
            )

    def _await_ready(self, job: Job) -> None:
        """Wait for what was repaired. Jobs are not waited for: they may have run and gone."""
        watch, end = Watch(self._api, job.release, job.revision), time.monotonic() + job.release.timeout
        while any(not state.done for state in watch.poll() if not state.name.startswith("Job ")):
            if time.monotonic() > end:
                where = f"release {job.release.name!r} in namespace {job.release.namespace!r}"
                reasons = "\n".join(f"Not ready: {reason}" for reason in watch.explain())
                raise PlatformError(f"{where}: repaired, but not ready after {job.release.timeout} s (timeout).\n{reasons}")
            self._helm.pause(READY_PAUSE)

    def _drifted(
        self, document: dict[str, Any], objects: Sequence[dict[str, Any]], release: Release
    ) -> tuple[dict[str, Any] | None, dict[str, Any]] | None:
        path = self._api.path_of(document, release.namespace)
        if not path:
            raise PlatformError(
                f"release {release.name!r}: {object_name(document)}: the server does not know this kind any more. "
                "Install its definition again."
            )
        live = self._api.get(path)
        if live is None and document.get("kind") == "Job":
            return None  # finished jobs may be cleaned up
        wanted = _as_helm_applies(document, release, live if _autoscaled(document, objects) else None)
        result = self._api.apply(path, wanted, self._helm.field_manager, dry_run=True)
        if live and comparable(live) == comparable(result):
            return None
        if not self._check:
            self._api.apply(path, wanted, self._helm.field_manager, dry_run=False)
        return comparable(live) if live else None, comparable(result)

    # -- uninstall ------------------------------------------------------------------------------------------------------

    def _helm_uninstall(self, release: Release) -> None:
        arguments = ["uninstall", release.name, f"--namespace={release.namespace}", *(["--no-hooks"] if release.disable_hook else [])]
        waits = [flag for flag in wait_arguments(release, self._helm.major) if flag != "--wait-for-jobs"]
        waits += ["--cascade=foreground"] if release.strategy != "hookOnly" else []  # pods too are gone when it comes back
        self._helm.run([*arguments, *waits], bound=_bound(release))

    def _uninstall(self, job: Job, outcome: Outcome, masker: Masker) -> None:
        release, last = job.release, job.history[-1]
        document = self._api.release_document(release.namespace, last)
        objects = manifest_objects(str(document.get("manifest", "")))
        kept = [item for item in objects if _stays(item, release)]
        masker.learn(document.get("config") or {})
        self._note(outcome, object_changes([item for item in objects if item not in kept], [], release.namespace, masker), job.key)
        outcome.status = "absent"
        if self._check:
            return
        try:
            if release.keep_pvcs and any(item.get("kind") == "PersistentVolumeClaim" for item in objects):
                self._keep_claims(release, last, document)
            self._helm_uninstall(release)
        except HelmError as error:
            raise PlatformError(
                f"release {release.name!r} in namespace {release.namespace!r}: uninstall failed.\nHelm said: {error}"
            ) from error
        self._remove_rest(release, document, objects)

    def _keep_claims(self, release: Release, last: Record, document: dict[str, Any]) -> None:
        """Mark the claims of the stored manifest as to be kept: Helm looks there, not at the live objects."""
        parts = []
        for item in manifest_objects(str(document.get("manifest", ""))):
            if item.get("kind") == "PersistentVolumeClaim":
                metadata = item.setdefault("metadata", {})
                metadata["annotations"] = {**(metadata.get("annotations") or {}), "helm.sh/resource-policy": "keep"}
            parts.append(json.dumps(item))
        self._api.store_release_document(release.namespace, last, {**document, "manifest": "".join(f"---\n{part}\n" for part in parts)})

    def _remove_rest(self, release: Release, document: dict[str, Any], objects: Sequence[dict[str, Any]]) -> None:
        """What Helm leaves: definitions and the claims of StatefulSets. Both hold data, so each needs its switch."""
        doomed: list[str] = []
        if not release.keep_crds:
            doomed += [path for item in _stored_definitions(document) if (path := self._api.path_of(item, ""))]
        if not release.keep_pvcs:
            doomed += [path for item in objects if item.get("kind") == "StatefulSet" for path in self._claims(item, release)]
        for path in doomed:
            if self._api.get(path) is not None:
                self._api.request("DELETE", path)

    def _claims(self, stateful_set: Mapping[str, Any], release: Release) -> list[str]:
        metadata = stateful_set.get("metadata") or {}
        base = f"/api/v1/namespaces/{metadata.get('namespace') or release.namespace}/persistentvolumeclaims"
        templates = (stateful_set.get("spec") or {}).get("volumeClaimTemplates") or []
        patterns = [re.compile(rf"{re.escape(template['metadata']['name'])}-{re.escape(metadata['name'])}-\d+") for template in templates]
        names = [str(item["metadata"]["name"]) for item in self._api.items(base)]
        return [f"{base}/{name}" for name in names if any(pattern.fullmatch(name) for pattern in patterns)]


def _bound(release: Release) -> float:
    """When helm itself is given up: its timeout counts per operation, and hooks, the release and a retry are three."""
    return 3.0 * release.timeout + 60.0


def _as_helm_applies(document: Mapping[str, Any], release: Release, autoscaled: Mapping[str, Any] | None) -> dict[str, Any]:
    """The object with the marks that Helm adds; without them an apply under Helm's name would take them away."""
    metadata = dict(document.get("metadata") or {})
    metadata["labels"] = {**(metadata.get("labels") or {}), "app.kubernetes.io/managed-by": "Helm"}
    marks = {"meta.helm.sh/release-name": release.name, "meta.helm.sh/release-namespace": release.namespace}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **marks}
    wanted = {**document, "metadata": metadata}
    if autoscaled and "replicas" in (wanted.get("spec") or {}):
        wanted["spec"] = {**wanted["spec"], "replicas": (autoscaled.get("spec") or {}).get("replicas", 1)}
    return wanted


def _autoscaled(document: Mapping[str, Any], objects: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an autoscaler of the same release sets this object's replicas."""
    targets = [(item.get("spec") or {}).get("scaleTargetRef") or {} for item in objects if item.get("kind") == "HorizontalPodAutoscaler"]
    name = (document.get("metadata") or {}).get("name")
    return any(target.get("kind") == document.get("kind") and target.get("name") == name for target in targets)


def _stays(document: Mapping[str, Any], release: Release) -> bool:
    annotations = (document.get("metadata") or {}).get("annotations") or {}
    return annotations.get("helm.sh/resource-policy") == "keep" or (release.keep_pvcs and document.get("kind") == "PersistentVolumeClaim")


def _stored_definitions(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The definitions that came with the chart of a stored revision."""
    files = ((document.get("chart") or {}).get("files")) or []
    contents = [load_yaml(_decode(file)) for file in files if str(file.get("name", "")).startswith("crds/")]
    return [item for content in contents for item in content if isinstance(item, dict)]


def _decode(file: Mapping[str, Any]) -> bytes:
    return base64.b64decode(str(file.get("data") or ""))
