# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the API takes and gives. Discord ids are strings: JavaScript cannot hold them as numbers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from dcm_service.rules import Kind

Id = Annotated[str, BeforeValidator(str)]
RuleName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


class Model(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(extra="forbid")


class Guild(Model):
    """A guild of the token."""

    id: Id
    state: str
    plan: str
    schema_version: str | None


class Guilds(Model):
    """The guilds of the token that the platform knows."""

    guilds: list[Guild]


class Action(Model):
    """Something that a rule did."""

    id: int
    event_id: str
    rule: str | None
    channel_id: Id
    message_id: Id
    author_id: Id
    action: Literal["deleted", "flagged"]
    reason: str
    trace_id: str | None
    occurred_at: datetime


class Actions(Model):
    """A page of actions, newest first; `next_before` asks for the next page."""

    actions: list[Action]
    next_before: int | None


class RuleIn(Model):
    """What a rule shall be."""

    kind: Kind
    params: dict[str, Any] = Field(default_factory=dict)
    enabled: bool = True


class RuleOut(RuleIn):
    """A rule as it is."""

    name: str
    created_at: datetime


class Rules(Model):
    """The rules of a guild."""

    rules: list[RuleOut]


class GuildSettings(Model):
    """The settings of a guild."""

    settings: dict[str, Any]


class Problem(Model):
    """Why a request was not answered as wished."""

    error: str
    trace_id: str | None = None
