# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The event that travels from the bot to the workers, and its form in a Redis stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from dcm_service.snowflake import Snowflake

MAX_CONTENT = 6000
TRACE_FIELDS = ("traceparent", "tracestate")


class MalformedEventError(ValueError):
    """An entry of the stream that is no event; it can never be processed."""


class MessageEvent(BaseModel):
    """A message was written or edited."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    event_id: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[0-9a-z:._-]+$")]
    kind: Literal["message_create", "message_edit"]
    guild_id: Snowflake
    channel_id: Snowflake
    message_id: Snowflake
    author_id: Snowflake
    content: Annotated[str, StringConstraints(max_length=MAX_CONTENT)]
    mentions: Annotated[int, Field(ge=0)]
    created_ms: Annotated[int, Field(ge=0)]

    def encode(self) -> dict[str, str]:
        """Fields of a stream entry."""
        return {name: str(value) for name, value in self.model_dump().items()}

    @property
    def guild(self) -> int:
        """The guild's id as a number."""
        return int(self.guild_id)


def decode(fields: Mapping[str, str]) -> MessageEvent:
    """Read a stream entry; raises MalformedEventError with the first reason."""
    try:
        return MessageEvent.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MalformedEventError(f"{where}: {first['msg']}") from None


def trace_headers(fields: Mapping[str, str]) -> dict[str, str]:
    """The W3C trace context that came with an entry."""
    return {name: fields[name] for name in TRACE_FIELDS if name in fields}
