# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A message from Discord to the dashboard, and who may not see it.

How to send an event in a running platform, where `discord-fake` is installed (any way to its port 8080 will do):

    kubectl -n dcm-services port-forward service/discord-fake 18080:8080 &
    curl -sX POST localhost:18080/_control/messages -H 'Content-Type: application/json' \
         -d '{"guild_id": "111111111111111111", "content": "join discord.gg/spam"}'
    curl -s localhost:18080/_control/deleted
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest

from tests.support.common import Answer, eventually, request
from tests.support.stack import GUILD_A, GUILD_B, SUSPENDED, Stack
from tests.support.traces import TraceReceiver

PROMISED_SECONDS = 2.0
SECONDS = 15.0  # where it is not about speed: the machine may be busy
INVITE = "come to https://discord.gg/freestuff now"


def cleaned_message(stack: Stack) -> str:
    """A message that a rule has caught."""
    message_id = stack.say(GUILD_A, INVITE)
    eventually(lambda: stack.actions(GUILD_A, message_id), SECONDS, "the message is cleaned")
    return message_id


class Browser:
    """Just enough of one: cookies, and the CSRF field of the form."""

    def __init__(self, stack: Stack) -> None:
        self.base = f"http://127.0.0.1:{stack.processes['dashboard'].http}"
        self.cookies: dict[str, str] = {}

    def go(self, method: str, path: str, form: dict[str, str] | None = None, **headers: str) -> Answer:
        """One request; cookies are kept."""
        sent = {"Cookie": "; ".join(f"{key}={value}" for key, value in self.cookies.items()), **headers}
        answer = request(method, self.base + path, urlencode(form) if form is not None else None, sent)
        for line in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = line.split(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
        return answer

    def log_in(self, token: str) -> Answer:
        """As a person does it: open the form, paste the token, send."""
        self.go("GET", "/login")
        return self.go("POST", "/login", {"token": token, "csrf": self.cookies["dcm_csrf"]})


def test_an_invitation_is_deleted_and_shown_within_two_seconds(stack: Stack) -> None:
    browser = Browser(stack)
    assert browser.log_in(stack.token(GUILD_A)).status == 303
    cleaned_message(stack)  # the first one warms up caches and connections
    message_id = stack.say(GUILD_A, INVITE)

    def shown() -> bool:
        return f'data-message="{message_id}"' in browser.go("GET", f"/guilds/{GUILD_A}").text

    eventually(shown, PROMISED_SECONDS, "the action is on the page of guild A")
    [deletion] = stack.deleted(message_id)
    assert deletion["guild_id"] == str(GUILD_A)
    assert deletion["reason"] == "no-invites: invitation freestuff"
    [action] = stack.actions(GUILD_A, message_id)
    assert (action["action"], action["rule"], action["event_id"]) == ("deleted", "no-invites", f"{message_id}:create")
    assert f'data-message="{message_id}"' in browser.go("GET", f"/guilds/{GUILD_A}/actions").text


def test_an_edited_message_is_cleaned_too(stack: Stack) -> None:
    message_id = stack.say(GUILD_A, "an innocent text")
    assert stack.control("POST", "edits", {"message_id": message_id, "content": INVITE}).status == 200
    eventually(lambda: stack.deleted(message_id), SECONDS, "the edited message is deleted")
    eventually(lambda: stack.actions(GUILD_A, message_id), SECONDS)


def test_an_innocent_message_stays(stack: Stack) -> None:
    innocent, last = stack.say(GUILD_A, "hello, see you at discord.com"), stack.say(GUILD_A, INVITE)
    eventually(lambda: stack.deleted(last), SECONDS, "the message after it is deleted")
    assert stack.deleted(innocent) == []
    assert stack.actions(GUILD_A, innocent) == []


def test_another_guild_sees_nothing_of_it(stack: Stack) -> None:
    message_id = cleaned_message(stack)
    foreign = stack.token(GUILD_B)
    assert stack.api("GET", f"/v1/guilds/{GUILD_A}/actions", foreign).status == 403
    assert stack.actions(GUILD_B, message_id) == []
    browser = Browser(stack)
    browser.log_in(foreign)
    page = browser.go("GET", f"/guilds/{GUILD_A}")
    assert page.status == 403
    assert message_id not in page.text


@pytest.mark.parametrize("role", [f"guild_{GUILD_B}_app", "dcm_directory", None])
def test_no_other_role_reads_the_tables(stack: Stack, role: str | None) -> None:
    for table in ("cleanup_action", "cleanup_rule", "settings"):
        with stack.postgres.service() as connection:
            if role:
                connection.execute("SELECT set_config('role', %s, true)", (role,))
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for schema"):
                connection.execute(f"SELECT * FROM guild_{GUILD_A}.{table}")


def test_the_role_of_the_guild_cannot_rewrite_its_record(stack: Stack) -> None:
    for statement in ("DELETE FROM cleanup_action", "UPDATE cleanup_action SET reason = ''", "TRUNCATE cleanup_action"):
        with stack.postgres.service() as connection:
            settings = (f"guild_{GUILD_A}_app", f"guild_{GUILD_A}")
            connection.execute("SELECT set_config('role', %s, true), set_config('search_path', %s, true)", settings)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        (f"/v1/guilds/{GUILD_A}/actions", None, 401),
        (f"/v1/guilds/{GUILD_A}/actions", "not.a.token", 401),
        (f"/v1/guilds/{GUILD_A}/actions", [GUILD_B], 403),
        (f"/v1/guilds/{SUSPENDED}/actions", [SUSPENDED], 423),
        ("/v1/guilds/999999999999999999/actions", [999999999999999999], 404),
        ("/v1/guilds/0/actions", [GUILD_A], 422),
        ("/v1/guilds/-1/rules", [GUILD_A], 422),
        ("/v1/guilds/1%3Bdrop/settings", [GUILD_A], 422),
        ("/v1/guilds/%D9%A3/settings", [GUILD_A], 422),
        ("/v1/guilds/18446744073709551616/rules", [GUILD_A], 422),
        (f"/v1/guilds/{GUILD_A}/actions?limit=0", [GUILD_A], 422),
        (f"/v1/guilds/{GUILD_A}/actions?limit=201", [GUILD_A], 422),
        (f"/v1/guilds/{GUILD_A}/rules/none-such", [GUILD_A], 404),
        (f"/v1/guilds/{GUILD_A}/settings", [GUILD_A], 200),
        ("/v1/nothing", None, 404),
        ("/v1/ping", None, 200),
    ],
)
def test_the_api_refuses_by_name(stack: Stack, path: str, token: list[int] | str | None, status: int) -> None:
    answer = stack.api("GET", path, stack.token(*token) if isinstance(token, list) else token)
    assert answer.status == status, answer.text
    assert status < 400 or answer.json["error"]
    assert answer.headers["X-Trace-Id"]


def test_an_expired_or_foreign_token_is_refused(stack: Stack) -> None:
    expired = stack.token(GUILD_A, ttl=-60)
    assert stack.api("GET", "/v1/guilds", expired).json["error"] == "the token has expired"
    foreign = stack.token(GUILD_A)[:-4] + "AAAA"
    assert stack.api("GET", "/v1/guilds", foreign).json["error"] == "the token is not signed by this platform"


def test_the_guilds_of_a_token(stack: Stack) -> None:
    answer = stack.api("GET", "/v1/guilds", stack.token(GUILD_A, SUSPENDED, 999999999999999999))
    assert [(item["id"], item["state"]) for item in answer.json["guilds"]] == [(str(GUILD_A), "active"), (str(SUSPENDED), "suspended")]


def test_actions_come_in_pages(stack: Stack) -> None:
    ids = [stack.say(GUILD_A, INVITE) for _ in range(3)]
    eventually(lambda: all(stack.actions(GUILD_A, item) for item in ids), SECONDS)
    token, path = stack.token(GUILD_A), f"/v1/guilds/{GUILD_A}/actions?limit=2"
    first = stack.api("GET", path, token).json
    second = stack.api("GET", f"{path}&before={first['next_before']}", token).json
    numbers = [item["id"] for item in first["actions"] + second["actions"]]
    assert numbers == sorted(set(numbers), reverse=True)
    assert len(first["actions"]) == 2


def _put(stack: Stack, name: str, **rule: Any) -> Answer:
    return stack.api("PUT", f"/v1/guilds/{GUILD_B}/rules/{name}", stack.token(GUILD_B), rule)


def test_a_new_rule_is_used_and_a_removed_one_is_not(stack: Stack) -> None:
    assert _put(stack, "no-casino", kind="regex", params={"pattern": r"\bcasino\b", "action": "flag"}).status == 200

    def flagged() -> list[dict[str, Any]]:
        message_id = stack.say(GUILD_B, "the best CASINO in town")
        stack.process_all()
        return stack.actions(GUILD_B, message_id)

    [action] = eventually(flagged, SECONDS, "the rule is used")
    assert (action["action"], action["rule"]) == ("flagged", "no-casino")
    assert stack.deleted(action["message_id"]) == []
    path = f"/v1/guilds/{GUILD_B}/rules/no-casino"
    assert stack.api("DELETE", path, stack.token(GUILD_B)).status == 204
    assert stack.api("GET", path, stack.token(GUILD_B)).status == 404
    assert stack.actions(GUILD_B, action["message_id"])[0]["rule"] is None


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ({"kind": "regex", "params": {"pattern": "(a+)+("}}, "params.pattern"),
        ({"kind": "regex", "params": {"pattern": "(?=x)"}}, "params.pattern"),
        ({"kind": "regex"}, "params.pattern"),
        ({"kind": "magic"}, "body.kind"),
        ({"kind": "caps", "params": {"ratio": 3}}, "params.ratio"),
        ({"kind": "link", "params": {"allow": ["https://x.org"]}}, "params.allow.0"),
        ({"kind": "invite", "params": {"alow": []}}, "params.alow"),
        ({"kind": "invite", "enabled": "perhaps"}, "body.enabled"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_path(stack: Stack, rule: dict[str, Any], names: str) -> None:
    answer = _put(stack, "wrong", **rule)
    assert answer.status == 422
    assert names in answer.json["error"]


def test_a_large_body_is_refused(stack: Stack) -> None:
    assert _put(stack, "large", kind="regex", params={"pattern": "x" * 100_000}).status == 413


def test_the_api_describes_itself(stack: Stack) -> None:
    document = stack.api("GET", "/openapi.json").json
    assert "/v1/guilds/{guild_id}/actions" in document["paths"]
    assert document["components"]["securitySchemes"]


def test_one_trace_from_discord_to_postgres(stack: Stack, traces: TraceReceiver) -> None:
    message_id = stack.say(GUILD_A, INVITE)
    [action] = eventually(lambda: stack.actions(GUILD_A, message_id), SECONDS)
    wanted = {
        ("dcm-bot", "discord message_create"),
        ("dcm-worker", "process event"),
        ("dcm-worker", "discord delete message"),
        ("dcm-worker", "postgres record action"),
    }
    eventually(lambda: wanted <= {(span.service, span.name) for span in traces.of(action["trace_id"])}, 5, "the trace is whole")
    spans = traces.of(action["trace_id"])
    assert [span.name for span in spans if not span.parent_id] == ["discord message_create"]
    lines = [line for name in ("bot", "worker") for line in stack.processes[name].log() if line["trace_id"] == action["trace_id"]]
    assert {(line["service"], line["guild_id"]) for line in lines} == {("bot", str(GUILD_A)), ("worker", str(GUILD_A))}


def test_one_trace_from_the_dashboard_to_postgres(stack: Stack, traces: TraceReceiver) -> None:
    browser = Browser(stack)
    browser.log_in(stack.token(GUILD_A))
    trace_id = browser.go("GET", f"/guilds/{GUILD_A}").headers["X-Trace-Id"]
    wanted = {
        ("dcm-dashboard", "GET /guilds/{guild_id}"),
        ("dcm-gateway", "GET /v1/guilds/{guild_id}/actions"),
        ("dcm-gateway", "postgres list actions"),
    }
    eventually(lambda: wanted <= {(span.service, span.name) for span in traces.of(trace_id)}, 5, "the trace is whole")


def test_the_dashboard_is_careful(stack: Stack) -> None:
    browser = Browser(stack)
    assert browser.go("GET", "/").headers["Location"] == "/login"
    assert browser.go("GET", f"/guilds/{GUILD_A}").status == 303
    assert browser.log_in("garbage").status == 401
    token = stack.token(GUILD_A)
    answer = browser.log_in(token)
    [cookie] = [line for line in answer.headers.get_all("Set-Cookie") or [] if line.startswith("dcm_session=")]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    page = browser.go("GET", "/")
    assert str(GUILD_A) in page.text
    assert token not in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<script>" not in page.text
    for path in ("/static/style.css", "/static/refresh.js", "/static/icon.svg"):
        assert browser.go("GET", path).status == 200


def test_a_browser_can_tell_the_dashboard_where_a_form_comes_from(stack: Stack) -> None:
    # With "no-referrer" a browser sends "Origin: null" with its own page's form, which is refused as a foreign one.
    answer = Browser(stack).go("GET", "/login")
    assert answer.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({"csrf": ""}, {}),
        ({"csrf": "x" * 43}, {}),
        (None, {"Origin": "https://evil.example"}),
        (None, {"Sec-Fetch-Site": "cross-site"}),
    ],
)
def test_a_form_from_elsewhere_is_refused(stack: Stack, form: dict[str, str] | None, headers: dict[str, str]) -> None:
    browser = Browser(stack)
    browser.go("GET", "/login")
    values = {"token": stack.token(GUILD_A), **(form or {"csrf": browser.cookies["dcm_csrf"]})}
    assert browser.go("POST", "/login", values, **headers).status == 403
    assert "dcm_session" not in browser.cookies


def test_what_a_user_writes_is_shown_as_text(stack: Stack) -> None:
    assert _put(stack, "links", kind="link", params={"action": "flag"}).status == 200
    path, token = f"/v1/guilds/{GUILD_B}/actions", stack.token(GUILD_B)

    def caught() -> bool:
        stack.say(GUILD_B, "http://x.org/<script>alert(1)</script>")
        return any(item["rule"] == "links" for item in stack.api("GET", path, token).json["actions"])

    eventually(caught, SECONDS)
    browser = Browser(stack)
    browser.log_in(token)
    assert "<script>alert" not in browser.go("GET", f"/guilds/{GUILD_B}").text
    assert stack.api("DELETE", f"/v1/guilds/{GUILD_B}/rules/links", token).status == 204


def test_metrics_name_routes_and_few_guilds(stack: Stack) -> None:
    cleaned_message(stack)
    worker, gateway, bot = (stack.processes[name] for name in ("worker", "gateway", "bot"))
    eventually(lambda: worker.metric("dcm_events_processed_total", outcome="deleted") >= 1, SECONDS)
    assert worker.metric("dcm_rule_hits_total", kind="invite", action="deleted") >= 1
    assert worker.metric("dcm_db_pool_connections", state="idle") >= 1
    assert worker.metric("dcm_queue_lag") == 0
    route = "/v1/guilds/{guild_id}/actions"
    assert gateway.metric("dcm_http_requests_total", method="GET", route=route, status="200") >= 1
    assert gateway.metric("dcm_http_requests_total", method="GET", route="unmatched", status="404") >= 0
    text = bot.get_ops("/metrics").text
    labels = {line.split('guild="')[1].split('"')[0] for line in text.splitlines() if line.startswith("dcm_guild_events_total{")}
    assert len(labels) <= 2
    for process in (worker, gateway):
        assert str(GUILD_A) not in process.get_ops("/metrics").text


def test_every_log_line_has_the_agreed_fields(stack: Stack) -> None:
    for name, process in stack.processes.items():
        for line in process.log():
            assert list(line)[:7] == ["time", "level", "service", "environment", "guild_id", "trace_id", "message"]
            assert (line["service"], line["environment"]) == (name, "local")


def test_unprivileged_metrics_and_health_need_nothing(stack: Stack) -> None:
    for process in stack.processes.values():
        assert process.get_ops("/healthz").json == {"alive": True}
        states = process.get_ops("/readyz").json
        assert states["ready"] is True
        assert set(states["dependencies"].values()) <= {"ok"}
