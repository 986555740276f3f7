# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan for generated Secrets: tables of what is there, what is wanted, and what is written."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._generated_secret import (
    CHARSETS,
    Change,
    KeySpec,
    Ref,
    describe_diff,
    parse,
    plan,
    references,
    still_to_rotate,
)

REDIS = Ref("data", "redis")
SERVICE = Ref("services", "service")


def entry(keys: dict[str, Any] | None = None, **other: Any) -> dict[str, Any]:
    return {"namespace": "data", "name": "redis", "keys": {"password": {}} if keys is None else keys, **other}


COPIES = {"copies": [{"namespace": "services", "name": "service", "keys": {"redis-password": "password"}}]}


def planned(
    entries: list[dict[str, Any]], found: dict[Ref, dict[str, bytes]] | None = None, rotate: list[str] | None = None
) -> list[Change]:
    wanted = parse(entries)
    there = {ref: (found or {}).get(ref) for ref in references(wanted)}
    return plan(wanted, there, rotate or [], lambda spec: b"new" * spec.length)


def written(changes: list[Change]) -> dict[str, dict[str, bytes]]:
    return {str(change.ref): change.values for change in changes}


NEW = b"new" * 32

TABLE = [
    ("absent", [entry()], {}, [], {"data/redis": {"password": NEW}}),
    ("key missing", [entry()], {REDIS: {"other": b"x"}}, [], {"data/redis": {"password": NEW}}),
    ("there", [entry()], {REDIS: {"password": b"short"}}, [], {}),
    ("empty is a value too", [entry()], {REDIS: {"password": b""}}, [], {}),
    ("length", [entry({"password": {"length": 20}})], {}, [], {"data/redis": {"password": b"new" * 20}}),
    ("copied at once", [entry(**COPIES)], {}, [], {"data/redis": {"password": NEW}, "services/service": {"redis-password": NEW}}),
    ("copy missing", [entry(**COPIES)], {REDIS: {"password": b"old"}}, [], {"services/service": {"redis-password": b"old"}}),
    (
        "copy differs",
        [entry(**COPIES)],
        {REDIS: {"password": b"old"}, SERVICE: {"redis-password": b"older", "k": b"v"}},
        [],
        {"services/service": {"redis-password": b"old"}},
    ),
    ("taken over", [entry(adopt="services/service")], {SERVICE: {"password": b"old"}}, [], {"data/redis": {"password": b"old"}}),
    ("nothing to take over", [entry(adopt="services/service")], {SERVICE: {"x": b"y"}}, [], {"data/redis": {"password": NEW}}),
    ("taken over once", [entry(adopt="services/service")], {REDIS: {"password": b"now"}, SERVICE: {"password": b"old"}}, [], {}),
    (
        "rotated after it was taken over",
        [entry(adopt="services/service")],
        {REDIS: {"password": b"now"}, SERVICE: {"password": b"old"}},
        ["data/redis"],
        {"data/redis": {"password": NEW}},
    ),
    ("copy equal", [entry(**COPIES)], {REDIS: {"password": b"old"}, SERVICE: {"redis-password": b"old"}}, [], {}),
    ("copy of what others made", [entry({}, **COPIES)], {REDIS: {"password": b"x"}}, [], {"services/service": {"redis-password": b"x"}}),
    (
        "rotated with its copy",
        [entry({"password": {}, "other": {}}, **COPIES)],
        {REDIS: {"password": b"old", "other": b"o"}, SERVICE: {"redis-password": b"old"}},
        ["data/redis/password"],
        {"data/redis": {"password": NEW}, "services/service": {"redis-password": NEW}},
    ),
    (
        "a whole Secret rotated",
        [entry({"a": {}, "b": {}})],
        {REDIS: {"a": b"1", "b": b"2"}},
        ["data/redis"],
        {"data/redis": {"a": NEW, "b": NEW}},
    ),
    ("required key there", [entry({}, required_keys=["token"])], {REDIS: {"token": b"t"}}, [], {}),
    ("given value", [entry({}, public_values={"user": "me"})], {REDIS: {"user": b"you"}}, [], {"data/redis": {"user": b"me"}}),
    ("given value there", [entry({}, secret_values={"token": "t"})], {REDIS: {"token": b"t"}}, [], {}),
]


@pytest.mark.parametrize(("entries", "found", "rotate", "expected"), [case[1:] for case in TABLE], ids=[case[0] for case in TABLE])
def test_plan(
    entries: list[dict[str, Any]], found: dict[Ref, dict[str, bytes]], rotate: list[str], expected: dict[str, dict[str, bytes]]
) -> None:
    assert written(planned(entries, found, rotate)) == expected


def test_a_plan_carried_out_is_empty() -> None:
    entries = [entry(public_values={"user": "me"}, **COPIES)]
    after = {change.ref: dict(change.values) for change in planned(entries)}
    assert planned(entries, after) == []


@pytest.mark.parametrize("charset", CHARSETS)
def test_generated_values(charset: str) -> None:
    values = {KeySpec(64, charset).generate() for _ in range(200)}
    assert len(values) == 200
    assert {len(value) for value in values} == {64}
    assert {chr(letter) for value in values for letter in value} == set(CHARSETS[charset])


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([entry({"password": {"size": 3}})], "key password of Secret data/redis is described by {'size': 3}"),
        ([entry({"password": "abc"})], "it takes length and charset"),
        ([entry({"password": {"length": 8}})], "length 8 is not a number from 16 to 1024"),
        ([entry({"password": {"length": True}})], "length True is not a number"),
        ([entry({"password": {"length": "32"}})], "length '32' is not a number"),
        ([entry({"password": {"charset": "emoji"}})], "no charset 'emoji'; use one of alphanumeric, hex, urlsafe"),
        ([entry(), entry()], "key password of Secret data/redis is set twice"),
        ([entry(public_values={"password": "x"})], "key password of Secret data/redis is set twice"),
        (
            [entry(**COPIES), entry({"redis-password": {}}, namespace="services", name="service")],
            "key redis-password of Secret services/service is",
        ),
        ([entry(public_values={"port": 5432})], "key port of Secret data/redis is given a value that is no text"),
        ([entry(secret_values={"token": ""})], "key token of Secret data/redis is given a value that is no text, or empty"),
        ([entry({}, required_keys=["token"])], "Secret data/redis has no key token: put it there"),
        ([entry({}, **COPIES)], "Secret data/redis has no key password, which services/service is to have as redis-password"),
    ],
)
def test_wrong_input_is_named(entries: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(PlatformError) as problem:
        planned(entries)
    assert words in str(problem.value)


@pytest.mark.parametrize("rotate", ["data/other", "data/redis/user", "password"])
def test_only_generated_keys_are_rotated(rotate: str) -> None:
    with pytest.raises(PlatformError, match=f"rotate names {rotate}, but only generated keys"):
        planned([entry(public_values={"user": "me"})], rotate=[rotate])


def test_nothing_shows_a_value() -> None:
    found = {REDIS: {"token": b"planted-old"}}
    changes = planned([entry(secret_values={"token": "planted-new"}, **COPIES)], found)
    wanted = parse([entry(secret_values={"token": "planted-new"})])
    shown = f"{wanted} {changes} {[change.describe() for change in changes]} {describe_diff(changes)}"
    assert "planted" not in shown
    assert NEW.decode() not in shown


def test_diff_tells_keys() -> None:
    changes = planned([entry(public_values={"user": "me"}, **COPIES)], {REDIS: {"user": b"you"}})
    assert describe_diff(changes) == {
        "before": "data/redis password: absent\ndata/redis user: present\nservices/service redis-password: absent\n",
        "after": "data/redis password: generated (32 characters, alphanumeric)\n"
        "data/redis user: set to the given value\n"
        "services/service redis-password: copied from data/redis, key password\n",
    }


def test_a_rotation_is_not_done_twice_after_a_lost_race() -> None:
    done = [Change(REDIS, True)]
    assert still_to_rotate(["data/redis", "data/redis/password", "data/redis-2", "services/service"], done) == [
        "data/redis-2",
        "services/service",
    ]
    assert still_to_rotate(["data/redis"], []) == ["data/redis"]
