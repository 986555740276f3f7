# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Flows as a NetworkPolicy."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._flows import network_policy


def test_exactly_what_is_named() -> None:
    peer = {"namespace": "web", "name": "gateway"}
    flows = {
        "ingress": [{"from": [{"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}], "ports": [8443]}],
        "egress": [{"to": [peer], "ports": ["8080"], "protocols": ["TCP", "UDP"]}],
        "dns": {"ports": [53]},
    }
    spec = network_policy(flows, "traefik", "edge")["spec"]
    assert spec["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "traefik"}}
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [
        {"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}], "ports": [{"protocol": "TCP", "port": 8443}]}
    ]
    dns, gateway = spec["egress"]
    assert dns["ports"] == [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    assert dns["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}]
    assert gateway["to"][0]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "gateway"}}
    assert [port["port"] for port in gateway["ports"]] == [8080, 8080]


def test_nothing_named_nothing_allowed() -> None:
    spec = network_policy({}, "a", "b", pods="webhook")["spec"]
    assert (spec["ingress"], spec["egress"]) == ([], [])
    assert spec["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "webhook"}}


@pytest.mark.parametrize(
    ("flows", "complaint"),
    [
        ({"ingres": []}, "ingres is not known"),
        ({"ingress": [{"from": [], "ports": [1]}]}, "needs from and ports"),
        ({"egress": [{"to": [{"name": "x"}]}]}, "needs to and ports"),
    ],
)
def test_a_rule_that_would_open_everything_is_refused(flows: dict[str, Any], complaint: str) -> None:
    with pytest.raises(PlatformError, match=complaint):
        network_policy(flows, "a", "b")
