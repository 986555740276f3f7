# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Smaller pure pieces: passwords, error places, progress."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _guild_progress as progress
from ansible_collections.dcm.platform.plugins.module_utils import _guild_scram as scram
from ansible_collections.dcm.platform.plugins.module_utils import _guild_sql as build
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_migrations import parse_migration, segments
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import GuildPlan

# Made by a Postgres 15 for the password "correct horse".
VERIFIER = (
    "SCRAM-SHA-256$4096:fpuOEkK1BNvV+vQX/G/FeQ==$AM7FESxEq0uBld1GiCZnXA0GJh7fOJAOVviJb2OT+jc=:CzJ6AVRp9wQp18lxoYBwElGqGASojP603l9QK2TUcCM="
)
SESSION = build.Session("dcm_service", True, "00000000-0000-0000-0000-000000000000", "tester")


def test_recognises_a_password_by_its_verifier() -> None:
    assert scram.matches(VERIFIER, "correct horse")
    assert not scram.matches(VERIFIER, "correct horse ")


@pytest.mark.parametrize("verifier", [None, "", "md5abc", "SCRAM-SHA-256$4096:x"])
def test_other_verifiers_never_match(verifier: str | None) -> None:
    assert not scram.matches(verifier, "correct horse")


@pytest.mark.parametrize("password", ["short", "mit Umläuten", "line\nbreak", ""])
def test_refuses_passwords_that_clients_would_rewrite(password: str) -> None:
    with pytest.raises(PlatformError, match="service_password"):
        scram.check_password(password, "service_password")


def test_an_error_position_becomes_file_and_line() -> None:
    first = parse_migration("db/1_a.sql", "-- migrate:up\nCREATE TABLE a ();\nCREATE TABLE b ();\n-- migrate:down\n")
    second = parse_migration("db/2_b.sql", "-- one\n-- two\n-- migrate:up\n\nCREATE TABLE c ();\nbroken;\n")
    segment = segments([first, second], "", "")[0]
    script = build.create_script(GuildPlan(5, "create", None, "active", "free", "default", (segment,)), segment, "active", SESSION)
    for word, place in (("TABLE b", "db/1_a.sql, line 3"), ("TABLE c", "db/2_b.sql, line 5"), ("broken", "db/2_b.sql, line 6")):
        assert build.locate(script, segment, script.text.index(word) + 1) == place
    assert build.locate(script, segment, 1) == ""
    assert build.locate(script, segment, len(script.text)) == ""


def test_progress_tells_once_a_second_and_estimates(tmp_path: Path) -> None:
    clock = iter([0.0, *[n / 4 for n in range(1, 400)]])
    told = progress.Progress(str(tmp_path / "p"), 100, lambda: next(clock))
    for number in range(40):
        told.step(failed=number == 3)
    told.close()
    events = [json.loads(line) for line in (tmp_path / "p").read_text().splitlines()]
    assert 3 <= len(events) <= 15
    assert events[-1]["failed"] == 1
    assert events[-1]["left"] > 0


def test_progress_for_people() -> None:
    event = {"done": 4200, "total": 10000, "failed": 3, "elapsed": 81.2, "left": 112.1}
    assert progress.event_lines(event) == ["guild_schema: 4,200 of 10,000 guilds, 3 failed, 81 s, about 112 s left"]
    assert progress.event_lines({"plan": ["a", "b"]}) == ["guild_schema: the plan", "  a", "  b"]
