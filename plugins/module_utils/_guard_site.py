# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guards that need the world: the cluster, the terminal, other operators."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils import _guard as rules
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guard_lease import Holder
from ansible_collections.dcm.platform.plugins.module_utils._guard_lock import RunLock, is_running


def refuse(site: str, problems: list[str]) -> None:
    """Raise one error with all problems, if there are any."""
    if problems:
        raise PlatformError(rules.refusal(site, problems))


class SiteGuard:
    """Checks a run against its site. What the same run has shown already is noted in the lock file and not asked again."""

    def __init__(self, site: Mapping[str, Any], access: rules.Access, run: Holder, *, check_mode: bool) -> None:
        self._site = site
        self._id: str = site["platform_site_id"]
        self._access = access
        self._run = run
        self._check_mode = check_mode
        self._looking = check_mode or access == "read"
        self._lock = RunLock(Path(site["platform_state_dir"]), run)
        self._noted = self._lock.peek()

    def check(self, ask: Callable[[str], str], say: Callable[[str], None]) -> dict[str, Any]:
        """Refuse, or take the locks. Returns what is known about the cluster."""
        refuse(self._id, rules.protection_problems(self._access, self._site["platform_deletion_protection"], self._id))
        self._confirm(ask)
        known = self._identify(say)
        if not self._looking:
            self._take_locks(known, say)
        return {"site": self._id, "cluster_uid": known.get("cluster_uid", "")}

    def _confirm(self, ask: Callable[[str], str]) -> None:
        needed = rules.needs_confirmation(self._access, self._site["platform_confirmation"], self._check_mode)
        if needed and self._noted.get("confirmed") not in (self._access, "destroy"):
            action = "DESTROY" if self._access == "destroy" else "change"
            typed = self._site["platform_confirm"] or ask(f"This run is going to {action} the site '{self._id}'. Type its id to go on: ")
            refuse(self._id, rules.confirmation_problems(typed, self._id, self._access))

    def _identify(self, say: Callable[[str], None]) -> dict[str, Any]:
        """Which cluster is behind the kubeconfig? Nothing is known before there is one."""
        path = Path(self._site["platform_kubeconfig"])
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            who = f"cannot be read by {self._run.user} ({error.strerror})"
            raise PlatformError(f"platform_kubeconfig = '{path}' {who}: run as its owner (root for the embedded provider)") from error
        digest = hashlib.sha256(content + self._site["platform_kube_context"].encode()).hexdigest()
        if self._noted.get("kubeconfig") == digest and (self._looking or is_running(self._noted.get("lease_keeper", 0))):
            return self._noted
        # Only where a cluster is to be asked.
        from ansible_collections.dcm.platform.plugins.module_utils._guard_kube import Cluster
        from ansible_collections.dcm.platform.plugins.module_utils._kube_api import KubeError

        try:
            uid = Cluster(str(path), self._site["platform_kube_context"]).uid()
        except KubeError as error:
            say(f"guard: the cluster of {path} cannot be identified yet: {error}")
            return {}
        refuse(self._id, rules.identity_problems(self._site["platform_environment"], self._site["platform_cluster_uid"], uid, str(path)))
        return {"kubeconfig": digest, "cluster_uid": uid}

    def _take_locks(self, known: Mapping[str, Any], say: Callable[[str], None]) -> None:
        try:
            noted = self._lock.acquire()
            now = {**noted, **known, "confirmed": self._access}
            if known and not is_running(noted.get("lease_keeper", 0)):
                now["lease_keeper"] = self._take_lease(say)
            if not noted:
                now["keeper"] = self._lock.keep()
            if now != noted:
                self._lock.note(now)
        finally:
            self._lock.close()

    def _take_lease(self, say: Callable[[str], None]) -> int:
        from ansible_collections.dcm.platform.plugins.module_utils import _guard_kube, _guard_operator

        where = (self._site["platform_kubeconfig"], self._site["platform_kube_context"])
        _guard_operator.take_lease(_guard_kube.Cluster(*where), self._run, lambda text: say(f"guard: {text}"))
        return _guard_operator.keep_lease(*where, self._run)
