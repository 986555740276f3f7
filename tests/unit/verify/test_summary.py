# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is told at the end of a run."""

from __future__ import annotations

import json

from ansible_collections.dcm.platform.plugins.module_utils._summary import Live, report_line, summary

SITE = {
    "site": "local",
    "environment": "local",
    "profile": "lite",
    "inventory": "inventories/local",
    "kubeconfig": "/k",
    "programs_dir": "/bin",
    "access": "direct",
    "namespace_services": "dcm-services",
    "guilds": [{"id": "11"}],
}
LIVE = Live("v1", 1, {"dcm-data": [("postgres", 1, 1)]}, {"gateway": "10.0.0.1", "dashboard": "10.0.0.2", "discord-fake": "10.0.0.3"})


def test_addresses_where_they_can_be_opened() -> None:
    text = summary(SITE, LIVE, "")
    for part in ("postgres 1/1", "http://10.0.0.2:8080", "--guild 11", "http://10.0.0.3:8080/_control/messages"):
        assert part in text
    assert len(text.splitlines()) <= 20


def test_tunnels_where_they_cannot() -> None:
    text = summary({**SITE, "access": "port_forward"}, LIVE, "")
    assert "port-forward service/dashboard 8080" in text
    assert "10.0.0" not in text


def test_only_what_is_there() -> None:
    text = summary({**SITE, "guilds": []}, Live("v1", 1, {}, {}), "")
    assert "dashboard" not in text
    assert "token" not in text


def test_the_last_verification() -> None:
    counts = {"held": 3, "broken": 0, "blocked": 0}
    assert report_line(json.dumps({"counts": counts}), "/r") == "3 promises held: /r"
    assert report_line(json.dumps({"counts": {**counts, "broken": 1, "blocked": 1}}), "/r") == "3 promises held, 2 BROKEN: /r"
