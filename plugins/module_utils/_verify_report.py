# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report of a verification: one JSON and one HTML file that holds everything it shows."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from ansible_collections.dcm.platform.plugins.module_utils._verify import BLOCKED, BROKEN, HELD, NOT_APPLICABLE, Outcome

TEMPLATE = Path(__file__).parents[2] / "roles/verify/templates/report.html.j2"
MARKS = {HELD: "ok", BROKEN: "BROKEN", BLOCKED: "BLOCKED", NOT_APPLICABLE: "n/a"}


def line(outcome: Outcome) -> str:
    """One line for the terminal; what was expected, found, and where to look on lines of their own."""
    text = f"{MARKS[outcome.state]:>8}  {outcome.promise.id:<28} {outcome.seconds:5.1f} s  {outcome.evidence or outcome.promise.title}"
    if not outcome.failed:
        return text
    pad = "\n" + " " * 10
    return f"{text}{pad}expected: {outcome.expected}{pad}found:    {outcome.found}{pad}look at:  {outcome.promise.look}"


def document(
    site: str, environment: str, cluster: str, outcomes: Sequence[Outcome], started: dt.datetime, seconds: float
) -> dict[str, Any]:
    """The report as data."""
    counts = {state: sum(outcome.state == state for outcome in outcomes) for state in MARKS}
    promises = [
        {
            "id": outcome.promise.id,
            "layer": outcome.promise.layer,
            "title": outcome.promise.title,
            "look": outcome.promise.look,
            **{key: value for key, value in vars(outcome).items() if key != "promise"},
        }
        for outcome in outcomes
    ]
    about = {"site": site, "environment": environment, "cluster_uid": cluster, "started": started.isoformat(timespec="seconds")}
    return {
        **about,
        "seconds": round(seconds, 1),
        "kept": not any(item.failed for item in outcomes),
        "counts": counts,
        "promises": promises,
    }


def write(folder: Path, report: dict[str, Any]) -> Path:
    """Write both files, whole or not at all, readable by their owner alone; ``latest`` leads to them. Returns the path of the HTML."""
    stamp = report["started"].replace(":", "").replace("+0000", "Z")
    target = folder / f"verify-{stamp}"
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    page = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    _write(target / "report.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    _write(target / "report.html", page.render(report=report, marks=MARKS))
    _link(folder / "latest", target.name)
    return folder / "latest" / "report.html"


def _write(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


def _link(path: Path, target: str) -> None:
    new = path.with_name(f".{path.name}-{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    new.symlink_to(target)
    new.replace(path)
