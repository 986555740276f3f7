# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Decisions of the clean-up rules."""

from __future__ import annotations

import time
from typing import Any

import pytest

from dcm_service.events import MessageEvent
from dcm_service.rules import Kind, Rule, RuleError, compile_rule, first_hit


def event(content: str, mentions: int = 0) -> MessageEvent:
    """A message with this text."""
    ids = {"guild_id": "1", "channel_id": "2", "message_id": "3", "author_id": "4"}
    return MessageEvent(event_id="3:create", kind="message_create", content=content, mentions=mentions, created_ms=0, **ids)


def reason(kind: Kind, params: dict[str, Any], content: str, mentions: int = 0) -> str | None:
    """Why a rule catches a text; None when it does not."""
    hit = first_hit([compile_rule(Rule(1, "r", kind, params))], event(content, mentions))
    return hit.reason if hit else None


@pytest.mark.parametrize(
    ("kind", "params", "content", "expected"),
    [
        ("invite", {}, "discord.gg/abc", "r: invitation abc"),
        ("invite", {}, "https://discord.com/invite/aB-9", "r: invitation aB-9"),
        ("invite", {}, "DISCORDAPP.COM/INVITE/abc", "r: invitation abc"),
        ("invite", {}, "dis\u200bcord.gg/abc", "r: invitation abc"),
        ("invite", {}, "ｄｉｓｃｏｒｄ.gg/abc", "r: invitation abc"),
        ("invite", {}, "discord\\.gg/abc", "r: invitation abc"),
        ("invite", {"allow": ["abc"]}, "discord.gg/abc", None),
        ("invite", {"allow": ["abc"]}, "discord.gg/abc discord.gg/xyz", "r: invitation xyz"),
        ("invite", {}, "discord.com/channels/1", None),
        ("invite", {}, "", None),
        ("link", {}, "see https://x.org/a", "r: link to x.org"),
        ("link", {}, "https://user:pw@evil.example/", "r: link to evil.example"),
        ("link", {"allow": ["x.org"]}, "https://a.x.org https://x.org.", None),
        ("link", {"allow": ["x.org"]}, "https://notx.org", "r: link to notx.org"),
        ("link", {"allow": ["x.org"]}, "https://x.org.evil.example", "r: link to x.org.evil.example"),
        ("link", {"deny": ["bad.example"]}, "https://x.org", None),
        ("link", {"deny": ["bad.example"]}, "HTTPS://WWW.BAD.EXAMPLE", "r: link to www.bad.example"),
        ("link", {}, "no link here: x.org", None),
        ("regex", {"pattern": r"\bcasino\b"}, "CASINO!", "r: pattern"),
        ("regex", {"pattern": r"\bcasino\b", "ignore_case": False}, "CASINO!", None),
        ("caps", {}, "THIS IS VERY LOUD INDEED", "r: 20 of 20 letters are capitals"),
        ("caps", {}, "THIS IS LOUD", None),
        ("caps", {}, "这是一个没有大小写的很长的句子这是一个没有大小写的很长的句子", None),
        ("caps", {"min_letters": 5, "ratio": 0.5}, "ABCde", "r: 3 of 5 letters are capitals"),
    ],
)
def test_texts(kind: Kind, params: dict[str, Any], content: str, expected: str | None) -> None:
    assert reason(kind, params, content) == expected


@pytest.mark.parametrize(("mentions", "expected"), [(3, None), (4, "r: 4 mentions")])
def test_mentions(mentions: int, expected: str | None) -> None:
    assert reason("mention_spam", {"max_mentions": 3}, "hi", mentions) == expected


@pytest.mark.parametrize(
    ("kind", "params", "names"),
    [
        ("regex", {}, "params.pattern: Field required"),
        ("regex", {"pattern": "("}, "params.pattern: the pattern cannot be used"),
        ("regex", {"pattern": r"(a)\1"}, "params.pattern: the pattern cannot be used"),
        ("regex", {"pattern": "(?=a)"}, "params.pattern: the pattern cannot be used"),
        ("regex", {"pattern": "a" * 501}, "params.pattern: String should have at most"),
        ("regex", {"pattern": "((a{1,100}){1,100}){1,100}"}, "params.pattern: the pattern cannot be used"),
        ("invite", {"allow": ["a b"]}, "params.allow.0"),
        ("invite", {"action": "ban"}, "params.action"),
        ("link", {"allow": "x.org"}, "params.allow"),
        ("link", {"domain": []}, "params.domain: Extra inputs"),
        ("mention_spam", {"max_mentions": 0}, "params.max_mentions"),
        ("caps", {"ratio": 1.1}, "params.ratio"),
    ],
)
def test_wrong_parameters_are_named(kind: Kind, params: dict[str, Any], names: str) -> None:
    with pytest.raises(RuleError) as caught:
        compile_rule(Rule(1, "r", kind, params))
    assert str(caught.value).startswith(names)


def test_patterns_that_hang_other_engines_take_no_time() -> None:
    rule = compile_rule(Rule(1, "r", "regex", {"pattern": "^(a+)+$"}))
    started = time.monotonic()
    assert first_hit([rule], event("a" * 5000 + "!")) is None
    assert time.monotonic() - started < 0.5


def test_the_first_rule_decides_and_its_reason_is_one_short_line() -> None:
    flag = compile_rule(Rule(1, "first", "link", {"action": "flag"}))
    delete = compile_rule(Rule(2, "second", "invite", {}))
    hit = first_hit([flag, delete], event("https://discord.gg/abc"))
    assert hit is not None
    assert (hit.action, hit.rule.name) == ("flag", "first")
    long = first_hit([flag], event("https://" + "a" * 3000 + ".org/"))
    assert long is not None
    assert len(long.reason) == 200
    assert long.reason.isprintable()
