# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Flows as the first-party charts write them, as a NetworkPolicy: for components whose charts have none that can say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

Json = dict[str, Any]
NAMESPACE = "kubernetes.io/metadata.name"
NAME = "app.kubernetes.io/name"


def network_policy(flows: Mapping[str, Any], name: str, namespace: str, pods: str = "") -> Json:
    """The policy of the pods of that name (by default the policy's own): only what `ingress`, `egress` and `dns` name."""
    if unknown := sorted(set(flows) - {"ingress", "egress", "dns"}):
        raise PlatformError(f"flows of {name}: {', '.join(unknown)} is not known; there are ingress, egress and dns")
    dns = flows.get("dns") or {}
    asking: list[Json] = [{"protocols": ["UDP", "TCP"], "to": [{"namespace": "kube-system"}], **dns}] if dns else []
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"{name}-flows", "namespace": namespace, "labels": {NAME: name, "app.kubernetes.io/part-of": "dcm"}},
        "spec": {
            "podSelector": {"matchLabels": {NAME: pods or name}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [_rule(rule, "from", name) for rule in flows.get("ingress", [])],
            "egress": [_rule(rule, "to", name) for rule in [*asking, *flows.get("egress", [])]],
        },
    }


def _rule(rule: Mapping[str, Any], side: str, name: str) -> Json:
    if not rule.get(side) or not rule.get("ports"):
        raise PlatformError(f"flows of {name}: a rule needs {side} and ports, each with an entry; this one is {dict(rule)}")
    protocols: Sequence[str] = rule.get("protocols") or ["TCP"]
    ports = [{"protocol": protocol, "port": int(port)} for port in rule["ports"] for protocol in protocols]
    return {side: [_peer(peer) for peer in rule[side]], "ports": ports}


def _peer(peer: Mapping[str, Any]) -> Json:
    if "cidr" in peer:
        return {"ipBlock": {key: peer[key] for key in ("cidr", "except") if key in peer}}
    found: Json = {}
    if "namespace" in peer:
        found["namespaceSelector"] = {"matchLabels": {NAMESPACE: peer["namespace"]}}
    labels = {**peer.get("labels", {}), **({NAME: peer["name"]} if "name" in peer else {})}
    if labels:
        found["podSelector"] = {"matchLabels": labels}
    return found
