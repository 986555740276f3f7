# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the documents say of upstream charts is what the lock says."""

from __future__ import annotations

import re

from ansible_collections.dcm.platform.plugins.module_utils._chart_lock import LockedChart, read_lock

from tests.repo.tree import ROOT, roles, under

CHARTS = read_lock((ROOT / "charts/lock.yml").read_text(encoding="utf-8"))


def row(chart: LockedChart) -> str:
    return f"| {chart.name} | {chart.version} | {chart.app_version} | {chart.licence} | {chart.repository} |"


def test_table_of_the_guide_says_what_the_lock_says() -> None:
    text = (ROOT / "docs/guides/air-gap.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- charts:.*?-->\n(.*?)<!-- end of charts -->", text, re.DOTALL)
    assert found, "docs/guides/air-gap.md has no table of charts between its two comments"
    wanted = "\n".join(
        ["", "| chart | version | software | licence | repository |", "|---|---|---|---|---|", *map(row, CHARTS.values()), ""]
    )
    assert found[1].strip() == wanted.strip(), f"the table should be:\n{wanted}"


def test_roles_name_charts_that_are_locked() -> None:
    for role in roles():
        for path in under(f"roles/{role.name}", ".yml"):
            for name in re.findall(r"locked_chart',\s*'([^']+)'", path.read_text(encoding="utf-8")):
                assert name in CHARTS, f"{path}: {name}"


def test_a_package_is_no_part_of_the_repository() -> None:
    assert not under("charts", ".tgz")
