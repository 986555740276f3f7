# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lock is filled in from a real chart repository, and says when that one changes."""

from __future__ import annotations

import hashlib
import pathlib

from tests.integration.charts.conftest import Site


def digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_life_of_a_lock(site: Site) -> None:
    """Check, fill in, again, and what is not touched stays."""
    first, second = site.add("first"), site.add("second", app_version="1.10")
    site.write_lock("first", "second", second={"licence": "BSD-3-Clause"})
    before = site.lock.read_text()

    checked = site.playbook("charts_lock", "--check", "--diff")
    assert checked.returncode == 0, checked.stdout
    assert f"+    sha256: {digest(first)}" in checked.stdout
    assert site.lock.read_text() == before

    done = site.playbook("charts_lock")
    assert "changed=1" in done.stdout, done.stdout + done.stderr
    assert {name: entry["sha256"] for name, entry in site.charts().items()} == {"first": digest(first), "second": digest(second)}
    assert site.charts()["second"]["app_version"] == "1.10"
    kept = [line for line in before.splitlines() if "sha256" not in line and "app_version" not in line]
    assert [line for line in site.lock.read_text().splitlines() if "sha256" not in line and "app_version" not in line] == kept

    assert "changed=0" in site.playbook("charts_lock").stdout


def test_another_content_under_a_version_is_an_error(site: Site) -> None:
    """The others are done; the changed one is named and left, until somebody accepts it."""
    good, changed = site.add("good"), site.add("changed")
    site.write_lock("good", "changed", changed={"sha256": digest(changed)})
    locked = digest(changed)
    changed = site.add("changed", image="registry.example/web:evil")
    assert digest(changed) != locked

    done = site.playbook("charts_lock")
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert f"hands out another content for changed 1.0.0: sha256 {digest(changed)}, locked is {locked}" in said
    assert site.charts()["good"]["sha256"] == digest(good)
    assert site.charts()["changed"]["sha256"] == locked

    assert site.playbook("charts_lock", charts_accept=["changed"]).returncode == 0
    assert site.charts()["changed"]["sha256"] == digest(changed)


def test_verifying_writes_nothing(site: Site) -> None:
    package = site.add("locked")
    site.add("open")
    site.write_lock("locked", "open", locked={"sha256": digest(package), "app_version": '"7"'})
    before = site.lock.read_text()
    site.task("chart_lock", verify_only=True)
    assert site.result()["verified"] == ["locked"]
    assert site.result()["unlocked"] == ["open"]
    assert site.result()["changed"] is False
    assert site.lock.read_text() == before


def test_a_chart_that_is_not_there_is_named(site: Site) -> None:
    site.add("there")
    site.write_lock("there", "gone")
    site.task("chart_lock")
    assert [problem for problem in site.result()["problems"] if "chart gone 1.0.0 cannot be fetched" in problem]
    assert site.charts()["there"]["sha256"]
    site.task("chart_lock", names=["none"])
    assert "no chart named none is in the lock; there are there, gone" in site.result()["msg"]
