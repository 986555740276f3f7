# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to be done for each guild, from what is wanted and what is there. Pure: no Ansible, no database."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_ids import schema_name
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import MigrationSet, segments
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import (
    ABSENT,
    ACTIVE,
    CREATE,
    ERASE,
    MIGRATE,
    MIGRATED,
    MOVING,
    NOTHING,
    ONBOARDING,
    PRESENT,
    SUSPENDED,
    UPDATE,
    Current,
    GuildPlan,
    Segment,
    Wanted,
)

SHARE = re.compile(r"(?P<number>[1-9][0-9]{0,8})(?P<percent>%?)", re.ASCII)
Ledger = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class PlanContext:
    """What all guilds of a run share."""

    migrations: MigrationSet
    default_plan: str = "free"
    default_placement: str = "default"
    confirm_erase: frozenset[int] = frozenset()
    migrate_present: bool = False


def plan_fleet(
    context: PlanContext,
    wanted: Iterable[Wanted],
    current: Mapping[int, Current],
    orphans: Mapping[int, str],
    ledger_of: Callable[[int], Ledger],
) -> list[GuildPlan]:
    """One plan for each wanted guild, unchanged ones included. Erasing without confirmation stops everything."""
    asked = list(wanted)
    _refuse_unconfirmed(context, asked, current)
    planner = _Planner(context, current, orphans, ledger_of)
    return [planner.plan(guild) for guild in asked]


def _refuse_unconfirmed(context: PlanContext, wanted: list[Wanted], current: Mapping[int, Current]) -> None:
    missing = [g.guild_id for g in wanted if g.state == ABSENT and g.guild_id in current and g.guild_id not in context.confirm_erase]
    if missing:
        names = ", ".join(map(str, missing[:10]))
        raise PlatformError(
            f"refusing to erase {len(missing)} guild(s) with all their data: {names}; list each of them in confirm_erase if this is meant"
        )


class _Planner:
    def __init__(
        self, context: PlanContext, current: Mapping[int, Current], orphans: Mapping[int, str], ledger_of: Callable[[int], Ledger]
    ) -> None:
        self.context = context
        self.current = current
        self.orphans = orphans
        self.ledger_of = ledger_of
        self.fresh = segments(context.migrations.migrations, "", "")
        self.shared: dict[str, tuple[Segment, ...] | str] = {}

    def plan(self, guild: Wanted) -> GuildPlan:
        now = self.current.get(guild.guild_id)
        try:
            return self._known(guild, now) if now else self._unknown(guild)
        except PlatformError as problem:
            return _refused(guild, now, str(problem))

    def _unknown(self, guild: Wanted) -> GuildPlan:
        found = self.orphans.get(guild.guild_id)
        if found:
            raise PlatformError(f"{found} exists, but the registry does not know the guild: drop it, or repair the registry")
        if guild.state == ABSENT:
            return GuildPlan(guild.guild_id, NOTHING, None, ABSENT, "", "")
        if guild.state != PRESENT:
            raise PlatformError(f"the guild is not registered, so it cannot become '{guild.state}': onboard it with state 'present'")
        plan, placement = guild.plan or self.context.default_plan, self.context.default_placement
        if guild.placement and guild.placement != placement:
            raise PlatformError(f"placement '{guild.placement}' is another server: this one is '{placement}' (default_placement)")
        return GuildPlan(guild.guild_id, CREATE, None, ACTIVE, plan, placement, self.fresh, grant_member=True)

    def _known(self, guild: Wanted, now: Current) -> GuildPlan:
        if now.state == MOVING:
            raise PlatformError("it is on its way to another placement: let guild_move finish that, or take it back, first")
        if guild.state == ABSENT:
            return GuildPlan(guild.guild_id, ERASE, now, ABSENT, now.plan, now.placement)
        _refuse_damaged(now)
        if guild.placement and guild.placement != now.placement:
            raise PlatformError(f"the guild lives on placement '{now.placement}': moving it to '{guild.placement}' is a work of its own")
        target = self._target_state(guild, now)
        wants_newest = guild.state == MIGRATED or now.state == ONBOARDING or (guild.state == PRESENT and self.context.migrate_present)
        todo = self._segments(now, wants_newest)
        made = GuildPlan(guild.guild_id, NOTHING, now, target, guild.plan or now.plan, now.placement, todo if wants_newest else ())
        made = replace(made, grant_member=target == ACTIVE and not now.has_member)
        return replace(made, action=_action(made, now))

    def _target_state(self, guild: Wanted, now: Current) -> str:
        if guild.state == SUSPENDED:
            return SUSPENDED
        if guild.state == MIGRATED and now.state == SUSPENDED:
            return SUSPENDED
        return ACTIVE

    def _segments(self, now: Current, wants_newest: bool) -> tuple[Segment, ...]:
        """Guilds with the same digest have the same history: judged once, whatever the size of the fleet."""
        if now.digest not in self.shared:
            self.shared[now.digest] = self._judge(now)
        found = self.shared[now.digest]
        if isinstance(found, str) and wants_newest:
            raise PlatformError(found)
        return () if isinstance(found, str) else found

    def _judge(self, now: Current) -> tuple[Segment, ...] | str:
        every = self.context.migrations
        known = every.prefixes.get(now.digest)
        try:
            pending = every.migrations[known:] if known is not None else every.pending(self.ledger_of(now.guild_id))
        except PlatformError as problem:
            return str(problem)
        return segments(pending, now.digest, now.version)


def _refuse_damaged(now: Current) -> None:
    parts = ((now.has_schema, "its schema"), (now.has_owner, "its owner role"), (now.has_app, "its application role"))
    missing = [name for there, name in parts if not there]
    if missing:
        raise PlatformError(
            f"registered at version {now.version or 'none'}, but {' and '.join(missing)} is gone from the server: restore the guild from a "
            "backup, or erase it (state absent, confirm_erase) and onboard it again, empty"
        )


def _action(made: GuildPlan, now: Current) -> str:
    if made.segments:
        return MIGRATE
    changed = (made.state, made.plan) != (now.state, now.plan) or made.grant_member
    drop_member = made.state == SUSPENDED and now.has_member
    return UPDATE if changed or drop_member else NOTHING


def _refused(guild: Wanted, now: Current | None, reason: str) -> GuildPlan:
    plan, placement = (now.plan, now.placement) if now else (guild.plan or "", guild.placement or "")
    return GuildPlan(guild.guild_id, NOTHING, now, now.state if now else "", plan, placement, refusal=reason)


def describe(plan: GuildPlan) -> str:
    """One line for people: the plan, the diff and the report use it."""
    if plan.refusal:
        return f"guild {plan.guild_id}: refused: {plan.refusal}"
    steps = {
        CREATE: f"create schema {schema_name(plan.guild_id)} at {plan.version}",
        MIGRATE: f"migrate {plan.before.version or 'nothing' if plan.before else ''} -> {plan.version}",
        ERASE: "erase schema, roles and all data",
        UPDATE: _update(plan),
        NOTHING: "nothing to do",
    }
    return f"guild {plan.guild_id}: {steps[plan.action]} ({plan.state}, plan {plan.plan}, placement {plan.placement})"


def _update(plan: GuildPlan) -> str:
    before = plan.before.state if plan.before else ""
    if plan.state == SUSPENDED and before != SUSPENDED:
        return "take it out of the services' reach, keep its data"
    return "take it back into service" if before == SUSPENDED and plan.state == ACTIVE else "update the registry"


def diff_sides(plan: GuildPlan) -> tuple[str, str]:
    """The guild before and after, as the lines of a diff."""
    before = plan.before
    old = _side(plan.guild_id, before.state, before.version, before.plan, before.placement) if before else ""
    new = "" if plan.action == ERASE else _side(plan.guild_id, plan.state, plan.version, plan.plan, plan.placement)
    return old, new


def _side(guild_id: int, state: str, version: str, plan: str, placement: str) -> str:
    return f"guild {guild_id}: {state}, schema {version or 'none'}, plan {plan}, placement {placement}\n"


def split_waves(plans: Sequence[GuildPlan], waves: Sequence[str]) -> list[list[GuildPlan]]:
    """Waves as numbers of guilds or shares of the fleet, each counted from the start; the last one is everything."""
    ends: list[int] = []
    for text in waves:
        match = SHARE.fullmatch(text)
        if not match or (match["percent"] and int(match["number"]) > 100):
            raise PlatformError(f"waves: {text!r} is neither a number of guilds nor a share such as '10%'")
        number = int(match["number"])
        ends.append(-(-len(plans) * number // 100) if match["percent"] else number)
    if ends != sorted(ends):
        raise PlatformError(f"waves: {', '.join(waves)} must grow: each counts from the first guild on")
    bounds = [0, *(min(end, len(plans)) for end in ends), len(plans)]
    return [list(plans[start:end]) for start, end in itertools.pairwise(bounds) if end > start]
