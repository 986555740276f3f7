# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One operator at a time on a cluster: take the Lease, keep it renewed while the run lives, give it back."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guard_kube import Cluster
from ansible_collections.dcm.platform.plugins.module_utils._guard_lease import RENEW, Holder, Verdict, held_message, judge
from ansible_collections.dcm.platform.plugins.module_utils._guard_lock import alive, fork_keeper

WATCHING = RENEW + 6  # seconds in which a living holder renews at least once


def take_lease(cluster: Cluster, run: Holder, say: Callable[[str], None]) -> None:
    """Make the Lease ours, or say who has it."""
    lease, version = cluster.lease()
    now = dt.datetime.now(dt.UTC)
    holder = Holder.parse(lease.identity) if lease else None
    verdict = judge(lease, run, now, alive(holder))
    if lease and verdict is Verdict.WATCH:
        say(f"the last run ({holder or lease.identity}) seems to be dead: watching its lock for {WATCHING} s")
        time.sleep(WATCHING)
        verdict = Verdict.TAKE_OVER if cluster.lease()[1] == version else Verdict.REFUSE
    if lease and verdict is Verdict.REFUSE:
        raise PlatformError(held_message(lease, now))
    if lease and verdict is Verdict.TAKE_OVER:
        say(f"the last run ({holder or lease.identity}) died without giving its lock back: taking it over")
    cluster.write_lease(run, lease.transitions + 1 if lease else 0, version)


def keep_lease(kubeconfig: str, context: str, run: Holder) -> int:
    """Leave the Lease to a keeper; returns its pid."""
    keeper = _LeaseKeeper(kubeconfig, context, run)
    return fork_keeper(run, keeper.release, every=RENEW, work=keeper.renew)


class _LeaseKeeper:
    """What the keeper does. The API server may be away for a while, or for good: the next renewal tries again."""

    def __init__(self, kubeconfig: str, context: str, run: Holder) -> None:
        self._where = (kubeconfig, context)
        self._run = run

    def renew(self) -> None:
        """Renew what is still ours; end where it is not."""
        self._write(self._run)

    def release(self) -> None:
        """Give back what is still ours."""
        self._write(None)

    def _write(self, holder: Holder | None) -> None:
        try:
            cluster = Cluster(*self._where)
            lease, version = cluster.lease()
            if lease is None or lease.identity != self._run.identity:
                raise SystemExit
            cluster.write_lease(holder, lease.transitions, version)
        except (PlatformError, OSError):
            return
