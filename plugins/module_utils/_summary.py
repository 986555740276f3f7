# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is told at the end of a run: what runs where, how to open it, what to try next. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

INGRESS = "traefik"
LOCAL_PORT = 8443


@dataclasses.dataclass(frozen=True)
class Live:
    """What the cluster says about itself."""

    version: str
    nodes: int
    workloads: Mapping[str, Sequence[tuple[str, int, int]]]  # by namespace: name, ready, wanted
    addresses: Mapping[str, str]  # of Services in the services' namespace
    ingress: str = ""  # address of the ingress controller's Service


def report_line(text: str, path: str) -> str:
    """The outcome of the last verification."""
    report = json.loads(text)
    counts = report["counts"]
    held = f"{counts['held']} promises held"
    broken = counts["broken"] + counts["blocked"]
    return f"{held}{f', {broken} BROKEN' if broken else ''}: {path}"


def summary(site: Mapping[str, Any], live: Live, report: str) -> str:
    """The text."""
    lines = [f"Site '{site['site']}' ({site['environment']}, {site['profile']}): Kubernetes {live.version}, nodes: {live.nodes}", ""]
    for namespace, workloads in live.workloads.items():
        lines.append(f"  {namespace:<14}" + "  ".join(f"{name} {ready}/{wanted}" for name, ready, wanted in workloads))
    lines += ["", "Open it", *_rows(_open(site, live)), "", "Try next", *_rows(_next(site, live))]
    return "\n".join(lines + (["", f"Verified: {report}"] if report else []))


def _rows(rows: Sequence[tuple[str, str]]) -> list[str]:
    return [f"  {name:<10}{text}" for name, text in rows]


def _open(site: Mapping[str, Any], live: Live) -> list[tuple[str, str]]:
    rows = [("kubectl", f"export KUBECONFIG={site['kubeconfig']} PATH={site['programs_dir']}:$PATH")]
    for service, title in (("dashboard", "dashboard"), ("gateway", "API")):
        if service in live.addresses:
            rows.append((title, _host_url(site, live, service) or _url(site, live, service)))
    if live.ingress and site.get("hosts") and site["access"] == "direct":
        browser = f"kubectl -n {site['namespace_ingress']} port-forward service/{INGRESS} {LOCAL_PORT}:443"
        rows.append(("browser", f"{browser}, then https://{next(reversed(site['hosts'].values()))}:{LOCAL_PORT}"))
    if "gateway" in live.addresses:
        mint = f"kubectl -n {site['namespace_services']} exec deploy/gateway -- /usr/bin/python3 -m dcm_service token"
        rows.append(("token", f"{mint} --guild {_guild(site)}"))
    return rows


def _next(site: Mapping[str, Any], live: Live) -> list[tuple[str, str]]:
    rows = []
    if "discord-fake" in live.addresses and site["access"] == "direct":
        message = json.dumps({"guild_id": _guild(site), "content": "join discord.gg/free"})
        rows.append(("message", f"curl -d '{message}' {_url(site, live, 'discord-fake')}/_control/messages"))
    play = f"-i {site['inventory']}"
    rows.append(("onboard", f"ansible-playbook playbooks/guild_onboard.yml {play} -e guild_id=1100000000000000099"))
    rows.append(("verify", f"ansible-playbook playbooks/verify.yml {play}"))
    return rows


def _url(site: Mapping[str, Any], live: Live, service: str) -> str:
    if site["access"] == "direct":
        return f"http://{live.addresses[service]}:8080"
    return f"kubectl -n {site['namespace_services']} port-forward service/{service} 8080, then http://127.0.0.1:8080"


def _host_url(site: Mapping[str, Any], live: Live, service: str) -> str:
    """By the service's host name, with what it takes where no DNS server of this machine knows it."""
    host = site.get("hosts", {}).get(service)
    if not host or not live.ingress:
        return ""
    if site["access"] != "direct":
        return f"https://{host}"
    authority = f" --cacert {site['authority_file']}" if site.get("authority_file") else ""
    return f"curl{authority} --resolve {host}:443:{live.ingress} https://{host}/"


def _guild(site: Mapping[str, Any]) -> str:
    guilds = site["guilds"]
    first = guilds[0] if guilds else "GUILD_ID"
    return str(first["id"] if isinstance(first, Mapping) else first)
