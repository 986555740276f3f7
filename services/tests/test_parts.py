# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Small parts: events in the stream, the bounded guild label, the bot's buffer, the fake's session budget, logs."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter
from redis.exceptions import ConnectionError as RedisConnectionError

from dcm_service import logs
from dcm_service.config import Settings
from dcm_service.discord_fake.state import Budget, Session
from dcm_service.events import MalformedEventError, MessageEvent, decode, trace_headers
from dcm_service.publisher import CAPACITY, Publisher
from dcm_service.stream import EventStream
from dcm_service.topguilds import TopGuilds

FIELDS = {
    "event_id": "3:create",
    "kind": "message_create",
    "guild_id": "1",
    "channel_id": "2",
    "message_id": "3",
    "author_id": "4",
    "content": "hello",
    "mentions": "0",
    "created_ms": "1700000000000",
}


def test_an_event_survives_the_stream() -> None:
    event = decode({**FIELDS, "traceparent": "00-a-b-01"})
    assert isinstance(event, MessageEvent)
    assert event.encode() == FIELDS


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"guild_id": "1; drop schema"}, "guild_id"),
        ({"guild_id": "٣"}, "guild_id"),
        ({"message_id": str(2**63)}, "message_id"),
        ({"event_id": "x" * 65}, "event_id"),
        ({"kind": "reaction"}, "kind"),
        ({"content": "x" * 6001}, "content"),
        ({"mentions": "-1"}, "mentions"),
        ({"created_ms": None}, "created_ms"),
    ],
)
def test_an_entry_that_is_no_event(change: dict[str, str | None], where: str) -> None:
    fields = {key: value for key, value in {**FIELDS, **change}.items() if value is not None}
    with pytest.raises(MalformedEventError, match=f"^{where}: "):
        decode(fields)


def test_trace_headers() -> None:
    assert trace_headers({**FIELDS, "traceparent": "a", "tracestate": "b"}) == {"traceparent": "a", "tracestate": "b"}
    assert trace_headers(FIELDS) == {}


class Labels:
    """A TopGuilds with a clock of its own."""

    def __init__(self, size: int) -> None:
        self.now = 0.0
        self.registry = CollectorRegistry()
        counter = Counter("events_total", "x", ["guild"], registry=self.registry)
        self.top = TopGuilds(counter, size, lambda: self.now)

    def values(self) -> dict[str, float]:
        """The series there are now."""
        samples = [sample for metric in self.registry.collect() for sample in metric.samples if sample.name == "events_total"]
        return {sample.labels["guild"]: sample.value for sample in samples}


def test_the_number_of_guild_labels_is_bounded() -> None:
    labels = Labels(3)
    for guild_id in range(1, 5001):
        labels.top.count(guild_id)
    values = labels.values()
    assert set(values) == {"1", "2", "3", "other"}
    assert sum(values.values()) == 5000


def test_a_busy_guild_earns_a_name_and_a_silent_one_loses_it() -> None:
    labels = Labels(1)
    for _ in range(10):
        labels.top.count(1)
    for _ in range(20):
        labels.top.count(2)
    assert set(labels.values()) == {"1", "other"}, "twice as much is not yet enough"
    labels.now = 6000.0
    for _ in range(5):
        labels.top.count(2)
    assert set(labels.values()) == {"2", "other"}


def test_no_guild_label_when_switched_off() -> None:
    labels = Labels(0)
    for guild_id in (1, 1, 1, 2):
        labels.top.count(guild_id)
    assert labels.values() == {"other": 4.0}


class FlakyStream(EventStream):
    """Fails some times before it takes an entry."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.taken: list[str] = []

    async def publish(self, fields: Any) -> str:
        """Fail, or take it."""
        if self.failures > 0:
            self.failures -= 1
            raise RedisConnectionError("away")
        self.taken.append(fields["event_id"])
        return "0-1"


def test_events_wait_for_redis_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcm_service.publisher.RETRY_SECONDS", 0.001)

    async def scenario() -> list[str]:
        stream = FlakyStream(3)
        publisher = Publisher(stream)
        for number in range(5):
            publisher.put({"event_id": str(number), "guild_id": "1"})
        writer = asyncio.create_task(publisher.run())
        await publisher.flush(5)
        writer.cancel()
        return stream.taken

    assert asyncio.run(scenario()) == ["0", "1", "2", "3", "4"]


def test_the_buffer_is_bounded() -> None:
    async def scenario() -> int:
        publisher = Publisher(FlakyStream(0))
        for number in range(CAPACITY + 7):
            publisher.put({"event_id": str(number), "guild_id": "1"})
        return publisher._buffer.qsize()

    assert asyncio.run(scenario()) == CAPACITY


def test_the_session_budget_is_counted_and_renewed() -> None:
    now = 0.0
    budget = Budget(lambda: now)
    budget.set(2, 10)
    assert [budget.use(), budget.use(), budget.use()] == [True, True, False]
    assert budget.limit()["remaining"] == 0
    assert budget.limit()["reset_after"] == 10_000
    now = 10.0
    assert budget.use()
    assert budget.limit()["remaining"] == 999


@pytest.mark.parametrize(("guild_id", "shard"), [(0 << 22, 0), (1 << 22, 1), (5 << 22, 1), (6 << 22, 0)])
def test_shards_of_the_fake(guild_id: int, shard: int) -> None:
    assert Session((shard, 2)).covers(guild_id)
    assert not Session((1 - shard, 2)).covers(guild_id)


def test_log_lines_of_libraries_have_the_same_form(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    output = io.StringIO()
    monkeypatch.setattr("sys.stdout", output)
    try:
        logs.configure(Settings.model_validate({"environment": "dev"}), "worker")
        logging.getLogger("some.library").warning("hello %s", "you")
        logs.get("own").info("done", guild_id=5, extra_field=1)
    finally:
        root.handlers[:], root.level = before, level
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [line["message"] for line in lines] == ["hello you", "done"]
    for line in lines:
        assert list(line)[:7] == list(logs.FIELDS)
        assert (line["service"], line["environment"]) == ("worker", "dev")
    assert lines[1]["guild_id"] == "5"
    assert lines[1]["extra_field"] == 1
