# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Clean-up rules: pure decisions about a text. Patterns run on RE2, whose time is linear in the text: none can hang a worker."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import re2
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from dcm_service.events import MessageEvent

Kind = Literal["invite", "link", "regex", "mention_spam", "caps"]
MAX_REASON = 200
_RE2_MEMORY = 1 << 20

Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{2,64}$")]
Domain = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$", max_length=253)]


class RuleError(ValueError):
    """A rule that cannot be used; the text says which parameter is wrong."""


class Params(BaseModel):
    """Parameters of every kind of rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    action: Literal["delete", "flag"] = "delete"


class InviteParams(Params):
    """Invitations to other servers; `allow` lists codes that may stay."""

    allow: list[Code] = Field(default_factory=list, max_length=200)


class LinkParams(Params):
    """Links: to the domains in `deny`, or, when that is empty, to all but those in `allow` (subdomains included)."""

    allow: list[Domain] = Field(default_factory=list, max_length=500)
    deny: list[Domain] = Field(default_factory=list, max_length=500)


class RegexParams(Params):
    """A pattern in RE2 syntax."""

    pattern: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    ignore_case: bool = True

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        _compile(value, ignore_case=True)
        return value


class MentionParams(Params):
    """More mentions of users, roles and everyone than `max_mentions`."""

    max_mentions: int = Field(5, ge=1, le=100)


class CapsParams(Params):
    """Shouting: a share of at least `ratio` capitals among at least `min_letters` letters."""

    min_letters: int = Field(20, ge=5, le=2000)
    ratio: float = Field(0.7, gt=0, le=1)


PARAMS: dict[Kind, type[Params]] = {
    "invite": InviteParams,
    "link": LinkParams,
    "regex": RegexParams,
    "mention_spam": MentionParams,
    "caps": CapsParams,
}


@dataclass(frozen=True)
class Rule:
    """A row of cleanup_rule."""

    rule_id: int
    name: str
    kind: Kind
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Hit:
    """A rule that caught a message, and why."""

    rule: Rule
    action: Literal["delete", "flag"]
    reason: str


Finder = Callable[[MessageEvent, str], str | None]


@dataclass(frozen=True)
class Compiled:
    """A rule that is ready to run."""

    rule: Rule
    action: Literal["delete", "flag"]
    find: Finder


def _compile(pattern: str, ignore_case: bool) -> Any:
    options = re2.Options()
    options.max_mem = _RE2_MEMORY
    options.log_errors = False
    options.case_sensitive = not ignore_case
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        text = error.args[0] if error.args else "not valid"
        reason = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        raise ValueError(f"the pattern cannot be used: {reason} (RE2 syntax: no look-around, no back-references)") from None


_INVITE = _compile(r"(?:discord(?:app)?\.com/invite|discord\.gg|discord\.me|dsc\.gg)/+([a-z0-9-]{2,64})", ignore_case=True)
_LINK = _compile(r"https?://(?:[^\s/@]*@)?([a-z0-9.-]+)", ignore_case=True)


def normalise(text: str) -> str:
    """Undo what is used to hide from filters: full-width letters, invisible characters, escaped markdown."""
    folded = unicodedata.normalize("NFKC", text)
    return "".join(char for char in folded if unicodedata.category(char) != "Cf" and char != "\\")


def validate_params(kind: Kind, params: Mapping[str, Any]) -> Params:
    """Check the parameters of one kind; raises RuleError that names what is wrong."""
    try:
        return PARAMS[kind].model_validate(dict(params))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(["params", *(str(part) for part in first["loc"])])
        raise RuleError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None


def _invite(params: InviteParams) -> Finder:
    allowed = frozenset(params.allow)

    def find(_event: MessageEvent, text: str) -> str | None:
        return next((f"invitation {match[1]}" for match in _INVITE.finditer(text) if match[1] not in allowed), None)

    return find


def _within(host: str, domains: Iterable[str]) -> bool:
    return any(host == domain or host.endswith("." + domain) for domain in domains)


def _link(params: LinkParams) -> Finder:
    def find(_event: MessageEvent, text: str) -> str | None:
        for match in _LINK.finditer(text):
            host = match[1].lower().rstrip(".")
            if _within(host, params.deny) if params.deny else not _within(host, params.allow):
                return f"link to {host}"
        return None

    return find


def _regex(params: RegexParams) -> Finder:
    pattern = _compile(params.pattern, params.ignore_case)

    def find(_event: MessageEvent, text: str) -> str | None:
        return "pattern" if pattern.search(text) else None

    return find


def _mentions(params: MentionParams) -> Finder:
    def find(event: MessageEvent, _text: str) -> str | None:
        return f"{event.mentions} mentions" if event.mentions > params.max_mentions else None

    return find


def _caps(params: CapsParams) -> Finder:
    def find(_event: MessageEvent, text: str) -> str | None:
        letters = [char for char in text if char.isupper() or char.islower()]
        capitals = sum(char.isupper() for char in letters)
        return f"{capitals} of {len(letters)} letters are capitals" if _shouts(capitals, len(letters)) else None

    def _shouts(capitals: int, letters: int) -> bool:
        return letters >= params.min_letters and capitals / letters >= params.ratio

    return find


def compile_rule(rule: Rule) -> Compiled:
    """Make a stored rule ready to run; raises RuleError when its parameters are wrong."""
    params = validate_params(rule.kind, rule.params)
    match params:
        case InviteParams():
            find = _invite(params)
        case LinkParams():
            find = _link(params)
        case RegexParams():
            find = _regex(params)
        case MentionParams():
            find = _mentions(params)
        case CapsParams():
            find = _caps(params)
        case _:
            raise RuleError(f"kind {rule.kind!r} is not known")
    return Compiled(rule, params.action, find)


def first_hit(rules: Iterable[Compiled], event: MessageEvent) -> Hit | None:
    """The first rule that catches the message; its reason is one line of at most 200 characters."""
    text = normalise(event.content)
    for compiled in rules:
        detail = compiled.find(event, text)
        if detail is not None:
            reason = "".join(char for char in f"{compiled.rule.name}: {detail}" if char.isprintable())
            return Hit(compiled.rule, compiled.action, reason[:MAX_REASON])
    return None
