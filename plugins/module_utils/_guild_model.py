# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the guild engine talks about. Pure data, no behaviour beyond reading itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

PRESENT, MIGRATED, SUSPENDED, ABSENT = "present", "migrated", "suspended", "absent"
WANTED_STATES = (PRESENT, MIGRATED, SUSPENDED, ABSENT)
ONBOARDING, ACTIVE, MOVING = "onboarding", "active", "moving"
CREATE, MIGRATE, UPDATE, ERASE, NOTHING = "create", "migrate", "update", "erase", "nothing"


class Unreachable(PlatformError):
    """The server, or the way to it, is not there (yet)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One guild as the operator asks for it; plan and placement None = leave as they are."""

    guild_id: int
    state: str = PRESENT
    plan: str | None = None
    placement: str | None = None


@dataclass(frozen=True, slots=True)
class Current:
    """One guild as the registry and the catalog know it."""

    guild_id: int
    state: str
    plan: str
    placement: str
    version: str
    digest: str
    has_schema: bool = True
    has_owner: bool = True
    has_app: bool = True
    has_member: bool = True


@dataclass(frozen=True, slots=True)
class Migration:
    """One dbmate file."""

    version: str
    name: str
    file: str
    up: str
    up_line: int
    checksum: str
    transactional: bool = True


@dataclass(frozen=True, slots=True)
class Segment:
    """Migrations that run together: one transaction, or exactly one statement outside of any."""

    migrations: tuple[Migration, ...]
    transactional: bool
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class GuildPlan:
    """Everything that will be done for one guild, and what it is built upon."""

    guild_id: int
    action: str
    before: Current | None
    state: str
    plan: str
    placement: str
    segments: tuple[Segment, ...] = ()
    grant_member: bool = False
    refusal: str = ""

    @property
    def version(self) -> str:
        if self.segments:
            return self.segments[-1].version
        return self.before.version if self.before else ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out for one guild."""

    plan: GuildPlan
    seconds: float = 0.0
    error: str = ""
    again: bool = False
    sqlstate: str = ""


@dataclass(slots=True)
class Tally:
    """Counts over a fleet; the keys are the same in check mode."""

    unchanged: int = 0
    created: int = 0
    migrated: int = 0
    updated: int = 0
    erased: int = 0
    failed: int = 0
    not_started: int = 0
    waiting: list[GuildPlan] = field(default_factory=list, repr=False)

    def count(self, action: str) -> None:
        name = {CREATE: "created", MIGRATE: "migrated", UPDATE: "updated", ERASE: "erased", NOTHING: "unchanged"}[action]
        setattr(self, name, getattr(self, name) + 1)

    def as_dict(self) -> dict[str, int]:
        names = ("unchanged", "created", "migrated", "updated", "erased", "failed", "not_started")
        return {name: getattr(self, name) for name in names}
