# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The end of guilds on a real server: nothing goes before its day, and what is certified as gone is gone."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ansible_collections.dcm.platform.plugins.module_utils import _guild_ending as ending
from ansible_collections.dcm.platform.plugins.module_utils import _guild_offboard as offboard
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

from .conftest import CONTROL, PASSWORD, Site

LATER = "UPDATE dcm.guild_offboarding SET erase_after = now() - interval '1 s', requested_at = now() - interval '1 h' RETURNING 1"


class Ending:
    """Runs of the module's code, with its defaults."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.options: dict[str, Any] = {
            "guilds_file": None,
            "migrations_dir": site.migrations,
            "control_migrations_dir": CONTROL,
            "reason": "asked by mail",
            "grace_days": 30,
            "skip_grace": False,
            "archive_dir": str(folder / "archives"),
            "export": True,
            "without_archive": False,
            "certificate_dir": str(folder / "certificates"),
            "service_role": site.service,
        }

    def __call__(self, state: str, ids: list[int], check: bool = False, **other: Any) -> dict[str, Any]:
        options = {**self.options, "state": state, "guilds": [str(guild_id) for guild_id in ids], **other}
        return ending.end(options, self.site.access(), "00000000-0000-0000-0000-000000000001", "tester", check)


@pytest.fixture
def end(site: Site, tmp_path: Path) -> Ending:
    site.run(site.ids(3))
    return Ending(site, tmp_path)


def reach(site: Site, guild_id: int) -> None:
    with site.as_service() as conn:
        conn.execute(f"SET LOCAL ROLE guild_{guild_id}_app")


def test_a_request_suspends_and_moves_no_second_time(site: Site, end: Ending) -> None:
    one, two, _three = site.ids(3)
    assert end("requested", [one], check=True)["changed"]
    reach(site, one)
    first = end("requested", [one])
    assert (first["guilds"][0]["state"], first["guilds"][0]["reason"]) == ("suspended", "asked by mail")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reach(site, one)
    reach(site, two)
    again = end("requested", [one], grace_days=0, reason="other")
    assert not again["changed"]
    assert again["guilds"] == first["guilds"]
    back = end("cancelled", [one])
    assert (back["changed"], back["guilds"][0]["state"], back["guilds"][0]["erase_after"]) == (True, "active", "")
    reach(site, one)
    assert not end("cancelled", [one])["changed"]


def test_nothing_is_erased_while_one_guild_may_not_be(site: Site, end: Ending) -> None:
    one, two, three = site.ids(3)
    end("requested", [one, two])
    unknown = site.ids(9)[8]
    cases: list[tuple[list[int], dict[str, Any], str]] = [
        ([one, three], {"skip_grace": True}, f"guild {three}: nobody asked for its end"),
        ([one], {}, f"guild {one}: its grace period lasts until"),
        ([one, unknown], {"skip_grace": True}, f"guild {unknown}: it is not registered, and was never erased here"),
        ([one], {"skip_grace": True, "export": False}, "is no whole archive"),
        ([one], {"skip_grace": True, "archive_dir": None}, "no archive_dir is given"),
    ]
    for ids, options, words in cases:
        for check in (True, False):
            with pytest.raises(PlatformError, match="nothing was erased") as refused:
                end("erased", ids, check, **options)
            assert words in str(refused.value)
    site.run([one])
    with pytest.raises(PlatformError, match="it is active, not suspended"):
        end("erased", [one], skip_grace=True)
    assert site.query("SELECT count(*) FROM dcm.guild") == [(3,)]


def test_an_erasure_is_certified_and_repeatable(site: Site, end: Ending) -> None:
    one, two, three = site.ids(3)
    end("requested", [one, two])
    site.query(LATER)
    result = end("erased", [one, two])
    assert result["failure"] == ""
    file = Path(result["certificates"][0]["file"])
    certificate = json.loads(file.read_text())
    assert file.stat().st_mode & 0o777 == 0o600
    assert (certificate["guild"], certificate["remains"], certificate["reason"]) == (str(one), [], "asked by mail")
    assert f"table guild_{one}.cleanup_rule with 1 rows" in certificate["removed"]
    assert len(certificate["archive"]) == 64
    assert site.query("SELECT guild_id FROM dcm.guild") == [(three,)]
    assert site.query("SELECT count(*) FROM dcm.guild_erasure") == [(2,)]
    again = end("erased", [one, two])
    assert (again["changed"], again["failure"]) == (False, "")
    assert json.loads(file.read_text()) == certificate
    assert site.query("SELECT count(*) FROM dcm.guild_erasure") == [(2,)]


def test_what_remains_is_named_and_not_certified(site: Site, end: Ending, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that forgot a role: the certificate is not written."""
    one = site.ids(1)[0]
    end("requested", [one])
    real = offboard.erase

    def forgetful(access: Any, asked: Any, terms: Any, session: Any, engine: Any) -> dict[str, Any]:
        def leaves_a_role(ids: list[int]) -> dict[str, Any]:
            done: dict[str, Any] = engine(ids)
            with site.connect() as conn:
                conn.execute(f"CREATE ROLE guild_{one}_app")
            return done

        return real(access, asked, terms, session, leaves_a_role)

    monkeypatch.setattr(offboard, "erase", forgetful)
    result = end("erased", [one], skip_grace=True)
    assert result["failure"] == f"not everything is gone: guild {one}: role guild_{one}_app"
    assert not list(Path(end.options["certificate_dir"]).glob("*"))
    monkeypatch.undo()
    with site.connect() as conn:
        conn.execute(f"DROP ROLE guild_{one}_app")
    assert end("erased", [one], skip_grace=True)["failure"] == ""


def test_killed_at_any_moment_the_next_run_ends_it(site: Site, end: Ending) -> None:
    ids = site.ids(3)
    end("requested", ids)
    for delay in (0.05, 0.15, 0.25, 0.35):
        child = os.fork()
        if child == 0:
            try:
                end("erased", ids, skip_grace=True)
            finally:
                os._exit(0)
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    result = end("erased", ids, skip_grace=True)
    assert result["failure"] == ""
    assert [found["remains"] for found in result["certificates"]] == [[], [], []]
    assert site.query("SELECT count(*), count(DISTINCT guild_id) FROM dcm.guild_erasure") == [(3, 3)]
    assert len(list(Path(end.options["certificate_dir"]).glob("erasure-*.json"))) == 3


def test_without_a_superuser(site: Site, tmp_path: Path) -> None:
    boss = f"boss_{site.number}"
    with site.connect() as conn:
        conn.execute("DO $$ BEGIN CREATE ROLE dcm_directory NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        conn.execute(f"CREATE ROLE {boss} LOGIN CREATEROLE PASSWORD '{PASSWORD}'; GRANT dcm_directory TO {boss} WITH ADMIN OPTION")
        conn.execute(f"ALTER DATABASE {site.database} OWNER TO {boss}")
    site.user, site.password = boss, PASSWORD
    one = site.ids(1)[0]
    site.run([one])
    end = Ending(site, tmp_path)
    end("requested", [one])
    result = end("erased", [one], skip_grace=True)
    assert (result["failure"], result["certificates"][0]["remains"]) == ("", [])
