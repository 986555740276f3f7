# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What backups promise: that WAL leaves the server, that there is a recent backup, and that one was shown to bring everything back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ansible_collections.dcm.platform.plugins.module_utils import _restore_point as points
from ansible_collections.dcm.platform.plugins.module_utils import _restore_proof as proofs
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_kube import Kubectl
from ansible_collections.dcm.platform.plugins.module_utils._pgbackrest import Backup
from ansible_collections.dcm.platform.plugins.module_utils._pgbackrest_pod import PgBackRest, Pod
from ansible_collections.dcm.platform.plugins.module_utils._verify import Broken, NotApplicable, Promise, eventually
from ansible_collections.dcm.platform.plugins.module_utils._verify_data import administrator, connect
from ansible_collections.dcm.platform.plugins.module_utils._verify_site import Site

ARCHIVE_SECONDS = 60.0
# A new site makes its first backup right after its first start.
FIRST_BACKUP_SECONDS = 180.0


def wal_archived(site: Site) -> str:
    """Ends the WAL segment that is being written, and waits until it lies in the archive."""
    _refuse_others(site)
    with connect(site, *administrator(site)) as connection:
        connection.autocommit = True
        started = datetime.now(UTC)
        wal = points.flush(connection)
        try:
            points.wait_archived(connection, wal, ARCHIVE_SECONDS)
        except PlatformError as problem:
            raise Broken("WAL to reach the archive", str(problem)) from problem
    return f"WAL segment {wal} was in the archive {(datetime.now(UTC) - started).total_seconds():.1f} s after it ended"


def backup_fresh(site: Site) -> str:
    """Asks pgBackRest, where the server runs, for its newest base backup."""
    days = site.inputs.backup_days
    backups = _backups(site)
    age = datetime.now(UTC) - backups[-1].stopped
    if age > timedelta(days=days):
        raise Broken(f"a backup of the last {days} days", f"the newest, {backups[-1].label}, is {age.days} days old")
    return f"backup {backups[-1].label} is {_hours(age)} old; {len(backups)} are kept"


def restore_proven(site: Site) -> str:
    """The newest proof in the control schema. A site whose first backup is younger than a proof may be has time for its first drill."""
    days = site.inputs.backup_proof_days
    first = _backups(site)[0]
    with connect(site, *administrator(site)) as connection:
        known = connection.execute(proofs.NEWEST).fetchone()
    age = datetime.now(UTC) - (known[0] if known else first.stopped)
    if age > timedelta(days=days):
        found = f"the newest is {age.days} days old" if known else f"none, and there are backups since {first.stopped:%Y-%m-%d}"
        raise Broken(f"a restore that was compared in the last {days} days", found)
    if not known:
        raise NotApplicable(f"no drill yet, and the first backup is {_hours(age)} old: playbooks/restore_drill.yml")
    return f"backup {known[1]} was restored in {known[2]} s and compared {_hours(age)} ago, {known[3]} guilds row by row"


def _backups(site: Site) -> tuple[Backup, ...]:
    _refuse_others(site)
    inputs = site.inputs
    kubectl = Kubectl(inputs.kubectl, inputs.kubeconfig, inputs.context or None)
    pod = Pod(kubectl, inputs.namespace_data, f"{inputs.postgres_host.split('.')[0]}-0", "backup")
    tool = PgBackRest(pod.command, lambda _line: None)
    eventually(lambda: None if _there(tool) else "none", FIRST_BACKUP_SECONDS, "a first base backup", 2)
    return tool.repository().backups


def _there(tool: PgBackRest) -> bool:
    try:
        return bool(tool.repository().backups)
    except PlatformError:
        return False


def _refuse_others(site: Site) -> None:
    if site.inputs.backup_repository == "none":
        raise NotApplicable("this site makes no backups")
    if site.inputs.backup_repository == "foreign":
        raise NotApplicable("who runs the Postgres server makes its backups, and is not asked")


def _hours(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours"


PROMISES = (
    Promise(
        "data.wal_archived",
        "Every change leaves the server within a minute",
        wal_archived,
        "the log of pod postgres-0, containers postgres and backup: another server's repository, credentials, the store's address?",
        needs=("data.postgres_scram",),
    ),
    Promise(
        "data.backup_fresh",
        "There is a recent backup",
        backup_fresh,
        "the log of pod postgres-0, container backup; playbooks/backup.yml makes one now",
        needs=("data.wal_archived",),
    ),
    Promise(
        "data.restore_proven",
        "A restore was compared with what it should bring back",
        restore_proven,
        "playbooks/restore_drill.yml, and what it says",
        needs=("data.backup_fresh",),
    ),
)
