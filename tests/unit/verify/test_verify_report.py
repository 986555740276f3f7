# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report: whole, private, readable, and honest about what is broken."""

from __future__ import annotations

import datetime as dt
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._verify import BLOCKED, BROKEN, HELD, NOT_APPLICABLE, Outcome, Promise
from ansible_collections.dcm.platform.plugins.module_utils._verify_report import document, write

START = dt.datetime(2026, 11, 1, 12, 0, tzinfo=dt.UTC)


def report(*given: str, **more: str) -> dict[str, Any]:
    outcomes = [Outcome(Promise(f"data.{state[:3]}", f"<{state}>", lambda _site: "", "its log"), state, 1.5, **more) for state in given]
    return document("acme", "staging", "uid-1", outcomes, START, 3.21)


class Text(HTMLParser):
    """The text of a page, and what it would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.loads: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [f"{tag} {value}" for name, value in attrs if name in ("src", "href")]


def test_counts_and_verdict() -> None:
    good = report(HELD, HELD, NOT_APPLICABLE)
    assert good["kept"] is True
    assert good["counts"] == {HELD: 2, BROKEN: 0, BLOCKED: 0, NOT_APPLICABLE: 1}
    assert report(HELD, BROKEN)["kept"] is False
    assert report(HELD, BLOCKED)["kept"] is False


def test_both_files_are_private_and_latest_leads_to_them(tmp_path: Path) -> None:
    page = write(tmp_path / "reports", report(HELD))
    assert page == tmp_path / "reports" / "latest" / "report.html"
    for name in ("report.html", "report.json"):
        assert (tmp_path / "reports" / "latest" / name).stat().st_mode & 0o777 == 0o600
    assert json.loads(page.with_name("report.json").read_text())["site"] == "acme"
    assert sorted(path.name for path in page.parent.resolve().iterdir()) == ["report.html", "report.json"]


def test_latest_moves_on(tmp_path: Path) -> None:
    write(tmp_path, report(HELD))
    later = {**report(BROKEN), "started": "2026-11-02T12:00:00+00:00"}
    assert json.loads(write(tmp_path, later).with_name("report.json").read_text())["kept"] is False
    assert len([path for path in tmp_path.iterdir() if not path.is_symlink()]) == 2


def test_the_page_shows_all_and_loads_nothing(tmp_path: Path) -> None:
    page = Text(write(tmp_path, report(HELD, BROKEN, expected="<b>one</b>", found="two & three")).read_text())
    assert page.loads == []
    for part in ("Promises broken", "<held>", "<b>one</b>", "two & three", "its log", "uid-1", "3.2 s"):
        assert part in page.text
    assert "All promises kept" in Text(write(tmp_path, report(HELD)).read_text()).text
