# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What goes wrong in operation: killed processes, cut connections, limits, rotated passwords, servers that are away."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.support.common import eventually, request
from tests.support.stack import GUILD_A, GUILD_B, SUSPENDED, WITHOUT_SCHEMA, Process, Stack

INVITE = "discord.gg/freestuff"
SECONDS = 20.0


@pytest.fixture(autouse=True)
def _in_order(stack: Stack) -> Iterator[None]:
    """Faults off, and everything ready, before and after each test."""
    stack.control("POST", "faults", {})
    yield
    stack.control("POST", "faults", {})
    for process in stack.processes.values():
        process.wait_ready()


def cleaned(stack: Stack, guild_id: int) -> str:
    """Send a message, wait until it is cleaned, and return its id."""
    message_id = stack.say(guild_id, INVITE)
    eventually(lambda: stack.actions(guild_id, message_id), SECONDS, f"message {message_id} is cleaned")
    return message_id


def entries(stack: Stack, stream: str) -> list[dict[Any, Any]]:
    """The newest entries of a stream."""
    return [dict(fields or {}) for _, fields in stack.redis.client().xrevrange(stream, count=100) or []]


def deleting(stack: Stack) -> list[str]:
    """Deletions that the fake holds now."""
    held: list[str] = stack.control("GET", "state").json["deleting"]
    return held


def restart(process: Process) -> None:
    """Start a process that has ended."""
    process.start()
    process.wait_ready()


def test_an_event_of_a_killed_worker_is_processed_once(stack: Stack) -> None:
    worker = stack.processes["worker"]
    stack.control("POST", "faults", {"delete_delay_seconds": 60})
    message_id = stack.say(GUILD_A, INVITE)
    eventually(lambda: message_id in deleting(stack), SECONDS, "the worker is in the middle of it")
    worker.kill()
    assert stack.actions(GUILD_A, message_id) == []
    stack.control("POST", "faults", {})
    restart(worker)
    eventually(lambda: stack.actions(GUILD_A, message_id), SECONDS, "the event is taken over")
    eventually(lambda: stack.redis.client().xpending("dcm:events", "workers")["pending"] == 0, SECONDS, "nothing is pending")
    assert len(stack.deleted(message_id)) == 1
    with stack.postgres.admin() as connection:
        query = f"SELECT count(*) FROM guild_{GUILD_A}.cleanup_action WHERE message_id = %s"
        assert connection.execute(query, (int(message_id),)).fetchone() == (1,)


def test_an_entry_that_comes_twice_is_processed_once(stack: Stack) -> None:
    message_id = cleaned(stack, GUILD_A)
    worker = stack.processes["worker"]
    before = worker.metric("dcm_events_processed_total", outcome="duplicate")
    [fields] = [fields for fields in entries(stack, "dcm:events") if fields["message_id"] == message_id]
    stack.redis.client().xadd("dcm:events", fields)
    eventually(lambda: worker.metric("dcm_events_processed_total", outcome="duplicate") == before + 1, SECONDS)
    assert len(stack.actions(GUILD_A, message_id)) == 1


def test_a_cut_connection_is_resumed_and_nothing_is_missed(stack: Stack) -> None:
    before = stack.control("GET", "state").json
    assert stack.control("POST", "disconnect").json["disconnected"] == 1
    ids = [stack.say(GUILD_A, INVITE) for _ in range(3)]
    eventually(lambda: all(stack.actions(GUILD_A, message_id) for message_id in ids), SECONDS, "the messages of the gap are cleaned")
    after = stack.control("GET", "state").json
    assert after["counts"] == {"identify": before["counts"]["identify"], "resume": before["counts"]["resume"] + 1}
    assert after["budget"]["remaining"] == before["budget"]["remaining"]


def test_a_stopped_worker_finishes_what_it_holds(stack: Stack) -> None:
    worker = stack.processes["worker"]
    stack.control("POST", "faults", {"delete_delay_seconds": 4})
    message_id = stack.say(GUILD_A, INVITE)
    eventually(lambda: message_id in deleting(stack), SECONDS)
    started = time.monotonic()
    worker.signal(signal.SIGTERM)
    eventually(lambda: worker.get_ops("/readyz").status == 503, 3, "it says that it is leaving")
    assert worker.wait(20) == 0
    assert time.monotonic() - started < 20
    assert stack.redis.client().xpending("dcm:events", "workers")["pending"] == 0
    assert stack.actions(GUILD_A, message_id)
    restart(worker)


@pytest.mark.parametrize("name", ["gateway", "dashboard", "bot"])
def test_every_process_ends_in_order(stack: Stack, name: str) -> None:
    process = stack.processes[name]
    process.signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert process.log()[-1]["message"] == "stopped"
    restart(process)
    cleaned(stack, GUILD_A)


def test_a_rate_limit_is_kept(stack: Stack) -> None:
    worker = stack.processes["worker"]
    before = worker.metric("dcm_discord_requests_total", status="429")
    stack.control("POST", "faults", {"rate_limit_next": 2, "retry_after": 0.5})
    started = time.monotonic()
    message_id = cleaned(stack, GUILD_A)
    assert time.monotonic() - started >= 1.0
    assert worker.metric("dcm_discord_requests_total", status="429") == before + 2
    assert len(stack.deleted(message_id)) == 1


def test_errors_of_discord_are_tried_again(stack: Stack) -> None:
    stack.control("POST", "faults", {"fail_next": 2})
    assert len(stack.deleted(cleaned(stack, GUILD_A))) == 1


def test_a_missing_permission_is_recorded(stack: Stack) -> None:
    stack.control("POST", "faults", {"forbid_next": 1})
    message_id = cleaned(stack, GUILD_A)
    [action] = stack.actions(GUILD_A, message_id)
    assert action["action"] == "flagged"
    assert "may not delete" in action["reason"]
    assert stack.deleted(message_id) == []


def dead_letters(stack: Stack) -> list[dict[str, Any]]:
    """The entries that were given up."""
    return entries(stack, "dcm:events:dead")


def test_an_entry_that_is_no_event_goes_to_the_dead_letters(stack: Stack) -> None:
    stack.redis.client().xadd("dcm:events", {"event_id": "x", "kind": "message_create", "guild_id": "1; drop schema"})
    [letter] = eventually(lambda: [item for item in dead_letters(stack) if item.get("event_id") == "x"], SECONDS)
    assert letter["dead_reason"].startswith("malformed: guild_id")
    cleaned(stack, GUILD_A)


def test_an_event_that_always_fails_goes_to_the_dead_letters(stack: Stack) -> None:
    worker = stack.processes["worker"]
    message_id = stack.say(WITHOUT_SCHEMA, INVITE)
    [letter] = eventually(lambda: [item for item in dead_letters(stack) if item.get("message_id") == message_id], SECONDS)
    assert letter["dead_deliveries"] == "3"
    assert f"guild_{WITHOUT_SCHEMA}_app" in letter["dead_reason"]
    assert worker.metric("dcm_events_dropped_total", reason="too_many_deliveries") >= 1
    cleaned(stack, GUILD_A)


@pytest.mark.parametrize(("guild_id", "reason"), [(SUSPENDED, "inactive_guild"), (555555555555555555, "unknown_guild")])
def test_events_of_guilds_that_are_not_served_are_dropped(stack: Stack, guild_id: int, reason: str) -> None:
    worker = stack.processes["worker"]
    before = worker.metric("dcm_events_dropped_total", reason=reason)
    message_id = stack.say(guild_id, INVITE)
    eventually(lambda: worker.metric("dcm_events_dropped_total", reason=reason) == before + 1, SECONDS)
    assert stack.deleted(message_id) == []


def test_a_rotated_database_password_is_used(stack: Stack) -> None:
    stack.write_secret("postgres-password", stack.postgres.change_password())
    cleaned(stack, GUILD_B)
    assert stack.api("GET", "/v1/guilds", stack.token(GUILD_B)).status == 200


def test_a_rotated_redis_password_is_used(stack: Stack) -> None:
    stack.write_secret("redis-password", stack.redis.change_password())
    cleaned(stack, GUILD_B)


def test_a_rotated_signing_key_leaves_the_old_tokens_valid(stack: Stack) -> None:
    old_key, old_token = stack.values["api-signing-key"], stack.token(GUILD_B)
    stack.write_secret("api-signing-key", f"{'n' * 40}\n{old_key}")
    assert stack.api("GET", "/v1/guilds", old_token).status == 200
    stack.write_secret("api-signing-key", "n" * 40)
    assert stack.api("GET", "/v1/guilds", old_token).status == 401
    assert stack.api("GET", "/v1/guilds", stack.token(GUILD_B)).status == 200
    stack.write_secret("api-signing-key", old_key)


def test_redis_away_loses_nothing(stack: Stack) -> None:
    bot, worker = stack.processes["bot"], stack.processes["worker"]
    with stack.redis.away():
        message_id = stack.say(GUILD_A, INVITE)
        for process in (bot, worker):
            states = eventually(partial(_unready, process), SECONDS, f"{process.name} is not ready")
            assert "ok" not in states["redis"]
            assert process.get_ops("/healthz").status == 200
            assert process.get_ops("/metrics").status == 200
        assert _states(worker)["postgres"] == "ok"
    eventually(lambda: stack.actions(GUILD_A, message_id), SECONDS, "the event came through")


def test_postgres_away_loses_nothing(stack: Stack) -> None:
    with stack.postgres.away():
        message_id = stack.say(GUILD_A, INVITE)
        for name in ("worker", "gateway"):
            states = eventually(partial(_unready, stack.processes[name]), SECONDS, f"{name} is not ready")
            assert "no connection" in states["postgres"]
        answer = stack.api("GET", f"/v1/guilds/{GUILD_A}/actions", stack.token(GUILD_A))
        assert (answer.status, answer.json["error"]) == (503, "the database is away")
    for name in ("worker", "gateway"):
        stack.processes[name].wait_ready()
    eventually(lambda: stack.actions(GUILD_A, message_id), 2 * SECONDS, "the event came through")
    assert [item for item in dead_letters(stack) if item.get("message_id") == message_id] == []


def _states(process: Process) -> dict[str, str]:
    states: dict[str, str] = process.get_ops("/readyz").json["dependencies"]
    return states


def _unready(process: Process) -> dict[str, str]:
    answer = process.get_ops("/readyz")
    return answer.json["dependencies"] if answer.status == 503 else {}


def test_a_dashboard_without_the_api_says_so(stack: Stack) -> None:
    dashboard = stack.another("dashboard", DCM_GATEWAY_URL="http://127.0.0.1:9")
    dashboard.start()
    states = eventually(lambda: _try_unready(dashboard), SECONDS)
    assert "the API does not answer" in states["gateway"]
    page = request("GET", f"http://127.0.0.1:{dashboard.http}/", headers={"Cookie": "dcm_session=x"})
    assert page.status == 502
    assert "the API does not answer" in page.text
    dashboard.kill()


def _try_unready(process: Process) -> dict[str, str]:
    try:
        return _unready(process)
    except OSError:
        return {}


def test_no_session_is_started_when_the_budget_is_used_up(stack: Stack) -> None:
    fake = stack.another("discord-fake")
    restart(fake)
    control = f"http://127.0.0.1:{fake.http}/_control"
    request("POST", f"{control}/budget", {"remaining": 0, "reset_after_seconds": 3600})
    bot = stack.another("bot", DCM_DISCORD_API_URL=f"http://127.0.0.1:{fake.http}")
    bot.start()
    [refusal] = eventually(lambda: _lines(bot, "no session is started"), SECONDS)
    assert "0 of 1000 session starts are left; the count resets at 2" in refusal["error"]
    assert 3000 < refusal["wait_seconds"] <= 3600
    assert request("GET", f"{control}/state").json["counts"]["identify"] == 0
    assert "no live session" in _states(bot)["discord"]
    for process in (bot, fake):
        process.kill()


def test_a_lost_session_is_made_anew_when_the_budget_allows_it(stack: Stack) -> None:
    fake = stack.another("discord-fake")
    restart(fake)
    control = f"http://127.0.0.1:{fake.http}/_control"
    bot = stack.another("bot", DCM_DISCORD_API_URL=f"http://127.0.0.1:{fake.http}")
    restart(bot)
    request("POST", f"{control}/budget", {"remaining": 0, "reset_after_seconds": 10})
    request("POST", f"{control}/disconnect", {"forget": True})
    eventually(lambda: _lines(bot, "no session is started"), 10, "the lost session is not replaced")
    assert request("GET", f"{control}/state").json["counts"]["identify"] == 1
    bot.wait_ready()
    assert request("GET", f"{control}/state").json["counts"]["identify"] == 2
    for process in (bot, fake):
        process.kill()


def _lines(process: Process, start: str) -> list[dict[str, Any]]:
    return [line for line in process.log() if line["message"].startswith(start)] if process.log_file.exists() else []


def test_a_bot_with_a_wrong_token_says_so(stack: Stack) -> None:
    bot = stack.another("bot", DCM_SECRETS_DIR=str(_other_secrets(stack)))
    bot.start()
    [*_, line] = eventually(lambda: _lines(bot, "no session on Discord"), SECONDS)
    assert "Improper token" in line["error"]
    bot.kill()


def _other_secrets(stack: Stack) -> Any:
    directory = stack.directory / "other-secrets"
    directory.mkdir()
    for name, value in {**stack.values, "discord-token": "wrong"}.items():
        (directory / name).write_text(value, encoding="utf-8")
    return directory


def test_no_secret_is_in_any_log(stack: Stack) -> None:
    for process in stack.everything:
        text = process.log_file.read_text(encoding="utf-8")
        for name, value in stack.values.items():
            assert value not in text, f"{name} in the log of {process.name}"
        assert "eyJ" not in text, f"a token in the log of {process.name}"
        assert "freestuff" not in text.replace("invitation freestuff", ""), f"what people write in the log of {process.name}"
