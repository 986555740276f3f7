# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Action plugin: Helm releases from the controller, many at once, with progress while they are installed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._helm_cli import Helm
from ansible_collections.dcm.platform.plugins.module_utils._helm_engine import Engine, Options
from ansible_collections.dcm.platform.plugins.module_utils._helm_options import ARGUMENT_SPEC, build_releases
from ansible_collections.dcm.platform.plugins.module_utils._helm_records import ReleaseApi
from ansible_collections.dcm.platform.plugins.module_utils._helm_steps import Outcome
from ansible_collections.dcm.platform.plugins.module_utils._kube_login import read_kubeconfig


class Interrupted(BaseException):
    """Ansible wants this worker to end."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn the signals that end a worker into an exception, so that helm is ended first; then let them do their work."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for known in previous:
            signal.signal(known, signal.SIG_IGN)
        raise Interrupted(number)

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in previous:
        signal.signal(number, interrupt)
    try:
        yield
    except Interrupted as interrupted:
        for number, handler in previous.items():
            signal.signal(number, handler)
        os.kill(os.getpid(), interrupted.args[0])
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    _supports_check_mode = True
    _supports_async = False
    _supports_diff = True
    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _checked, options = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        try:
            with interruptible():
                outcomes = self._converge(options)
        except PlatformError as error:
            raise AnsibleActionFail(str(error)) from error
        return self._result(outcomes)

    def _converge(self, options: dict[str, Any]) -> dict[str, Outcome]:
        releases = build_releases(options, self._read_file, self._find_chart)
        check = bool(self._task.check_mode)
        kubeconfig = options["kubeconfig"] or os.environ.get("K8S_AUTH_KUBECONFIG") or os.environ.get("KUBECONFIG") or "~/.kube/config"
        kubeconfig, context = str(Path(kubeconfig).expanduser()), options["context"] or os.environ.get("K8S_AUTH_CONTEXT") or ""
        empty = check and not Path(kubeconfig).exists()
        if empty:
            self._display.warning(f"helm_release: there is no kubeconfig {kubeconfig} yet; predicting for an empty cluster.")
        helm = Helm(str(Path(options["binary_path"]).expanduser()), kubeconfig, context, needed=not empty)
        kube = None if empty else ReleaseApi(read_kubeconfig(kubeconfig, context))
        run = Options(check, bool(self._task.diff), options["parallel"], Path(options["chart_cache"]).expanduser())
        return Engine(helm, kube, run, self._display.display).run(releases)

    def _result(self, outcomes: dict[str, Outcome]) -> dict[str, Any]:
        releases = {key: dataclasses.asdict(outcome) for key, outcome in outcomes.items()}
        changed = [outcome for outcome in outcomes.values() if outcome.changed]
        failed = [outcome.msg for outcome in outcomes.values() if outcome.msg]
        result: dict[str, Any] = {"changed": bool(changed), "releases": releases}
        if self._task.diff:
            result["diff"] = [part for outcome in changed for part in outcome.diff]
        for release in releases.values():
            release["diff"] = release["diff"] if self._task.diff else []
        if failed:
            result |= {"failed": True, "msg": "\n\n".join(failed)}
        return result

    def _read_file(self, path: str) -> bytes:
        try:
            return Path(self._loader.get_real_file(self._find_needle("files", path))).read_bytes()
        except (AnsibleError, OSError) as error:
            raise PlatformError(f"values_files: {path!r} cannot be read: {error}") from error

    def _find_chart(self, reference: str, in_repository: bool) -> str:
        """A path for a chart on this machine; a name or an address stays what it is."""
        if in_repository or "://" in reference:
            return reference
        path = str(self._loader.path_dwim(reference))
        if Path(path).exists():
            return path
        if reference.startswith(("/", ".", "~")) or reference.endswith(".tgz") or reference.count("/") != 1:
            raise PlatformError(
                f"chart_ref: there is no chart {reference!r} ({path}). Give a chart folder, a .tgz, an oci:// address, or chart_repo_url."
            )
        return reference
