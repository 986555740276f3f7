# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs on the controller: tells what runs where, how to open it and what to try next, as the live cluster has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._kube_api import KubeApi
from ansible_collections.dcm.platform.plugins.module_utils._kube_login import read_kubeconfig
from ansible_collections.dcm.platform.plugins.module_utils._summary import INGRESS, Live, report_line, summary

display = Display()
TEXT = {"type": "str", "required": True}
PATH = {"type": "path", "required": True}
ARGUMENTS: dict[str, Any] = {
    "site": TEXT,
    "environment": TEXT,
    "profile": TEXT,
    "inventory": PATH,
    "kubeconfig": PATH,
    "context": {"type": "str", "default": ""},
    "programs_dir": PATH,
    "access": {"type": "str", "choices": ["direct", "port_forward"], "default": "port_forward"},
    "namespace_data": {"type": "str", "default": "dcm-data"},
    "namespace_services": {"type": "str", "default": "dcm-services"},
    "namespace_ingress": {"type": "str", "default": "traefik"},
    "hosts": {"type": "dict", "default": {}},
    "authority_file": {"type": "str", "default": ""},
    "guilds": {"type": "list", "elements": "raw", "default": []},
    "report_dir": PATH,
}


class ActionModule(ActionBase):
    """Reads and prints."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(ARGUMENTS)
        if not Path(arguments["kubeconfig"]).exists():
            return {**result, "skipped": True, "msg": "there is no cluster yet"}
        report = Path(arguments["report_dir"]) / "latest"
        found = report_line((report / "report.json").read_text(encoding="utf-8"), f"{report}/report.html") if report.exists() else ""
        try:
            text = summary(arguments, ask(arguments), found)
        except PlatformError as error:
            return {**result, "failed": True, "msg": str(error)}
        display.display(f"\n{text}\n")
        return {**result, "changed": False, "summary": text.splitlines()}


def ask(site: dict[str, Any]) -> Live:
    """What the cluster says about itself."""
    api = KubeApi(read_kubeconfig(site["kubeconfig"], site["context"]))
    workloads: dict[str, list[tuple[str, int, int]]] = {}
    for namespace in ("kube-system", site["namespace_ingress"], site["namespace_data"], site["namespace_services"]):
        sets = [item for kind in ("deployments", "statefulsets") for item in api.items(f"/apis/apps/v1/namespaces/{namespace}/{kind}")]
        if sets:
            workloads[namespace] = sorted(
                (item["metadata"]["name"], item["status"].get("readyReplicas", 0), item["spec"]["replicas"]) for item in sets
            )
    services = api.items(f"/api/v1/namespaces/{site['namespace_services']}/services")
    addresses = {item["metadata"]["name"]: item["spec"]["clusterIP"] for item in services if item["spec"]["clusterIP"] != "None"}
    entrances = api.items(f"/api/v1/namespaces/{site['namespace_ingress']}/services")
    ingress = next((item["spec"]["clusterIP"] for item in entrances if item["metadata"]["name"] == INGRESS), "")
    return Live(api.request("GET", "/version")["gitVersion"], len(api.items("/api/v1/nodes")), workloads, addresses, ingress)
