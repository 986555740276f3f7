# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Metrics as Prometheus reads them, and where they go."""

from __future__ import annotations

import http.server
import stat
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _guild_metrics as metrics
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import CREATE, MIGRATE, NOTHING, GuildPlan, Outcome

from tests.support.prometheus import values

FIRST = 1_100_000_000_000_000_001


def plan(number: int, action: str, refusal: str = "") -> GuildPlan:
    return GuildPlan(FIRST + number, action, None, "active", "free", "default", refusal=refusal)


def run_of(*outcomes: Outcome, total: int = 6) -> metrics.RunMetrics:
    clock = iter([1000.0, *[1012.5] * 9])
    made = metrics.RunMetrics(total, "20261101090100", lambda: next(clock))
    for outcome in outcomes:
        made.count(outcome)
    return made


OUTCOMES = (
    Outcome(plan(0, CREATE), 0.02),
    Outcome(plan(1, MIGRATE), 40.0),
    Outcome(plan(2, MIGRATE), 0.3, "violated [23514]", sqlstate="23514"),
    Outcome(plan(3, NOTHING)),
    Outcome(plan(4, NOTHING, "its schema is gone"), error="its schema is gone"),
)


def test_a_run_as_prometheus_reads_it() -> None:
    found = values(metrics.render(run_of(*OUTCOMES).metrics(running=True)))
    assert found["dcm_guild_run_guilds{state=done}"] == 2
    assert found["dcm_guild_run_guilds{state=failed}"] == 2
    assert found["dcm_guild_run_guilds{state=unchanged}"] == 1
    assert found["dcm_guild_run_guilds{state=waiting}"] == 1
    assert found["dcm_guild_run_changes{action=create}"] == found["dcm_guild_run_changes{action=migrate}"] == 1
    assert found["dcm_guild_run_failures{sqlstate_class=23}"] == found["dcm_guild_run_failures{sqlstate_class=refused}"] == 1
    assert found["dcm_guild_run_guild_duration_seconds_bucket{le=0.025}"] == 1
    assert found["dcm_guild_run_guild_duration_seconds_bucket{le=30}"] == 2
    assert found["dcm_guild_run_guild_duration_seconds_bucket{le=+Inf}"] == found["dcm_guild_run_guild_duration_seconds_count"] == 3
    assert found["dcm_guild_run_guild_duration_seconds_sum"] == pytest.approx(40.32)
    assert (found["dcm_guild_run_in_progress"], found["dcm_guild_run_success"]) == (1, 0)
    assert (found["dcm_guild_run_start_timestamp_seconds"], found["dcm_guild_run_duration_seconds"]) == (1000, 12.5)
    assert found["dcm_guild_run_target_info{version=20261101090100}"] == 1
    assert metrics.LAST_SUCCESS not in found


def test_the_number_of_series_does_not_grow_with_guilds() -> None:
    many = [replace(outcome, plan=plan(number, outcome.plan.action)) for outcome in OUTCOMES[:3] for number in range(500)]
    few, all_of_them = (values(metrics.render(run_of(*some, total=5000).metrics(running=True))) for some in (OUTCOMES[:3], many))
    assert set(few) == set(all_of_them)
    assert str(FIRST) not in metrics.render(run_of(*many, total=5000).metrics(running=True))


def test_the_fleet_by_version_and_state() -> None:
    placed = {("default", "active", "2"): 7, ("default", "suspended", "1"): 2, ('od"d\\', "active", "1"): 1}
    found = values(metrics.render(metrics.fleet_metrics(placed, "2", 3, 1000.0)))
    assert found["dcm_guild_fleet_guilds{placement=default,state=active,version=2}"] == 7
    assert found['dcm_guild_fleet_guilds{placement=od"d\\,state=active,version=1}'] == 1
    assert (found["dcm_guild_fleet_outdated_guilds"], found["dcm_guild_fleet_drifted_guilds"]) == (3, 3)
    assert "dcm_guild_fleet_drifted_guilds" not in values(metrics.render(metrics.fleet_metrics(placed, "", None, 1000.0)))


def publish(target: metrics.Target, success: bool) -> metrics.Publisher:
    run = run_of(total=0)
    with metrics.Publisher(target, run.metrics) as publisher:
        run.end(success)
    return publisher


def test_a_file_is_whole_readable_and_keeps_the_last_success(tmp_path: Path) -> None:
    file = tmp_path / "dcm_guild_run.prom"
    target = metrics.Target(str(file))
    publish(target, success=False)
    assert metrics.LAST_SUCCESS not in values(file.read_text())
    publish(target, success=True)
    assert values(file.read_text())[metrics.LAST_SUCCESS] == 1012.5
    publish(target, success=False)
    found = values(file.read_text())
    assert (found[metrics.LAST_SUCCESS], found["dcm_guild_run_success"], found["dcm_guild_run_in_progress"]) == (1012.5, 0, 0)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_it_is_written_while_the_run_works(tmp_path: Path) -> None:
    file = tmp_path / "a.prom"
    written = threading.Event()

    def make(running: bool) -> Sequence[metrics.Metric]:
        if running and file.exists():
            written.set()
        return [metrics.gauge("dcm_guild_run_in_progress", "Whether.", running)]

    with metrics.Publisher(metrics.Target(str(file)), make, every=0.01):
        assert written.wait(10)
    assert values(file.read_text()) == {"dcm_guild_run_in_progress": 0}


def test_a_run_that_is_broken_off_is_not_in_progress_any_more(tmp_path: Path) -> None:
    file = tmp_path / "a.prom"
    run = run_of(*OUTCOMES)
    with pytest.raises(KeyboardInterrupt), metrics.Publisher(metrics.Target(str(file)), run.metrics):
        raise KeyboardInterrupt
    found = values(file.read_text())
    assert (found["dcm_guild_run_in_progress"], found["dcm_guild_run_success"]) == (0, 0)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (metrics.Target("/nonexistent/run.txt"), "must end in .prom"),
        (metrics.Target("/nonexistent/run.prom"), "the folder /nonexistent does not exist"),
        (metrics.Target(url="pushgateway:9091"), "not the address of a Pushgateway"),
        (metrics.Target(url="http://a:b@gateway:9091"), "not the address of a Pushgateway"),
    ],
)
def test_wrong_places_are_refused_before_the_run(target: metrics.Target, words: str) -> None:
    with pytest.raises(PlatformError, match=words):
        target.check()


class Gateway(http.server.BaseHTTPRequestHandler):
    got: ClassVar[list[tuple[str, str, str]]] = []
    answer = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.got.append((self.path, self.headers["Content-Type"], body))
        self.send_response(self.answer)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[str]:
    Gateway.got.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_pushgateway_gets_the_same(gateway: str) -> None:
    assert publish(metrics.Target(url=gateway), success=True).trouble == ""
    (path, kind, first), (_path, _kind, last) = Gateway.got
    assert (path, kind) == ("/metrics/job/dcm_guild_run", "text/plain; version=0.0.4")
    assert values(first)["dcm_guild_run_in_progress"] == 1
    assert values(last)[metrics.LAST_SUCCESS] == 1012.5


def test_what_does_not_take_metrics_is_told_and_stops_nothing(gateway: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Gateway, "answer", 400)
    assert (
        f"metrics_url: {gateway} did not take the metrics: HTTP 400 Bad Request"
        in publish(metrics.Target(url=gateway), success=True).trouble
    )
    gone = metrics.Target(str(tmp_path / "gone" / "a.prom"), "http://127.0.0.1:1")
    (tmp_path / "gone").write_text("a file, no folder")
    trouble = publish(gone, success=True).trouble
    assert f"metrics_file: cannot write {gone.file}" in trouble
    assert "metrics_url: http://127.0.0.1:1 did not take the metrics" in trouble


def test_servers_that_write_at_one_place_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "run_second.prom"
    target = metrics.Target(str(file), server="second")
    assert target.write([metrics.last_success(5.0)]) == ""
    assert target.write([metrics.gauges("dcm_x", "words", "state", {"done": 1})]) == ""
    assert 'dcm_x{server="second",state="done"} 1' in file.read_text()
    assert f'{metrics.LAST_SUCCESS}{{server="second"}} 5' in file.read_text()
