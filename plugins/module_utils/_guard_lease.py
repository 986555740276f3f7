# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One operator at a time: what the Lease of the last holder means for a run that wants it. Pure."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum

DURATION = 45  # seconds that a lease stays good without being renewed
RENEW = 12  # seconds between two renewals: three may fail before the lease is lost


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who runs: enough to find the process, and to tell one run from the next on the same machine."""

    user: str
    host: str
    pid: int
    started: int

    @property
    def identity(self) -> str:
        return f"{self.user}@{self.host}/{self.pid}/{self.started}"

    @classmethod
    def parse(cls, identity: str) -> Holder | None:
        """The holder that an identity names; None for one that we have not written."""
        who, _slash, rest = identity.partition("/")
        user, at_sign, host = who.rpartition("@")
        pid, _slash, started = rest.partition("/")
        if not at_sign or not pid.isdigit() or not started.isdigit():
            return None
        return cls(user, host, int(pid), int(started))

    def __str__(self) -> str:
        return f"{self.user}@{self.host}, process {self.pid}"


@dataclasses.dataclass(frozen=True)
class Lease:
    """What the Lease object says."""

    identity: str
    duration: int
    renewed: dt.datetime | None
    transitions: int = 0


class Verdict(enum.Enum):
    """What to do about a lease."""

    TAKE = "free, ours, or released"
    TAKE_OVER = "its holder is dead"
    WATCH = "looks dead by our clock: see whether it is renewed"
    REFUSE = "held by a living run"


def judge(lease: Lease | None, me: Holder, now: dt.datetime, alive: bool | None) -> Verdict:
    """What ``me`` may do. ``alive``: does the holder's process live; None where that cannot be known (another machine)."""
    if lease is None or not lease.identity or lease.identity == me.identity:
        return Verdict.TAKE
    if alive is False:
        return Verdict.TAKE_OVER
    if lease.renewed is not None and (now - lease.renewed).total_seconds() <= lease.duration:
        return Verdict.REFUSE
    return Verdict.REFUSE if alive else Verdict.WATCH


def held_message(lease: Lease, now: dt.datetime) -> str:
    """Who holds it, and what to do."""
    holder = Holder.parse(lease.identity)
    age = f"{(now - lease.renewed).total_seconds():.0f} s ago" if lease.renewed else "never"
    return (
        f"another run is at work on this cluster: {holder or lease.identity}, last seen {age}. Wait for it to end;"
        f" the lock goes with the run, {lease.duration} s after its last sign of life at the latest"
    )
