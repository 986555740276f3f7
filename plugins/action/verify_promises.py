# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs on the controller: asks the running platform, from outside, whether its promises hold."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._verify import Outcome, Round, choose
from ansible_collections.dcm.platform.plugins.module_utils._verify_report import document, line, write

display = Display()
REQUIRED_PATH = {"type": "path", "required": True}
REQUIRED = {"type": "str", "required": True}
COMPONENTS: dict[str, Any] = {
    "namespace_ingress": {"type": "str", "default": "traefik"},
    "namespace_cert_manager": {"type": "str", "default": "cert-manager"},
    "namespace_dns": {"type": "str", "default": "external-dns"},
    "domain": REQUIRED,
    "service_hosts": {"type": "dict", "default": {}},
    "gateway": {"type": "str", "default": "dcm"},
    "certificate_issuer": REQUIRED,
    "certificate_authority": {"type": "str", "default": ""},
    "dns_own": {"type": "bool", "default": False},
    "dns_dry_run": {"type": "bool", "default": False},
}
ARGUMENTS: dict[str, Any] = {
    "site": REQUIRED,
    "environment": REQUIRED,
    "provider": REQUIRED,
    "kubeconfig": REQUIRED_PATH,
    "context": {"type": "str", "default": ""},
    "kubectl": {"type": "path", "default": "kubectl"},
    "access": {"type": "str", "choices": ["direct", "port_forward"], "default": "port_forward"},
    "namespace_data": {"type": "str", "default": "dcm-data"},
    "namespace_services": {"type": "str", "default": "dcm-services"},
    "audit_log": {"type": "str", "default": ""},
    "postgres_host": REQUIRED,
    "postgres_pooler_host": REQUIRED,
    "postgres_port": {"type": "int", "default": 5432},
    "postgres_database": {"type": "str", "default": "dcm"},
    "postgres_admin_secret": {"type": "str", "default": "postgres-admin", "no_log": False},
    "backup_repository": {"type": "str", "choices": ["none", "posix", "s3"], "default": "none"},
    "backup_days": {"type": "int", "default": 2},
    "backup_proof_days": {"type": "int", "default": 30},
    "service_secret": {"type": "str", "default": "dcm-service", "no_log": False},
    "service_secret_namespace": {"type": "str", "default": "dcm-services", "no_log": False},
    "service_role": {"type": "str", "default": "dcm_service"},
    "secrets_source": {"type": "str", "choices": ["vault", "kubernetes"], "default": "kubernetes"},
    "vault_service": {"type": "str", "default": "vault/vault"},
    "vault_port": {"type": "int", "default": 8200},
    "redis_host": REQUIRED,
    "redis_port": {"type": "int", "default": 6379},
    "redis_secret": {"type": "str", "default": "redis-auth", "no_log": False},
    "discord_url": {"type": "str", "default": ""},
    "components": {"type": "dict", "required": True, "options": COMPONENTS},
    "migrations_dir": REQUIRED_PATH,
    "placements": {"type": "list", "elements": "dict", "default": []},
    "guilds": {"type": "list", "elements": "raw", "default": []},
    "event_seconds": {"type": "float", "default": 5.0},
    "probe_image": {"type": "str", "default": ""},
    "only": {"type": "list", "elements": "str", "default": []},
    "at_once": {"type": "int", "default": 6},
    "report_dir": REQUIRED_PATH,
}
NOT_FOR_CHECKS = ("site", "components", "guilds", "only", "at_once", "report_dir")


class ActionModule(ActionBase):
    """A line per promise, a report, and a failure when one is broken."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(ARGUMENTS)
        if self._task.check_mode:
            return {**result, "skipped": True, "msg": "promises are proven by doing; check mode does nothing"}
        try:
            return {**result, "changed": False, **verify(arguments)}
        except PlatformError as error:
            return {**result, "failed": True, "msg": str(error)}


def verify(arguments: dict[str, Any]) -> dict[str, Any]:
    """Check, tell, and report."""
    # The catalogue brings clients for everything that is asked: load them in this task alone.
    from ansible_collections.dcm.platform.plugins.module_utils._verify_catalog import all_promises
    from ansible_collections.dcm.platform.plugins.module_utils._verify_site import Inputs, Site

    promises = choose(all_promises(), arguments["only"])
    if not Path(arguments["kubeconfig"]).exists():
        raise PlatformError(
            f"there is nothing to verify: kubeconfig {arguments['kubeconfig']} does not exist; run playbooks/cluster.yml first"
        )
    inputs = {key: value for key, value in arguments.items() if key not in NOT_FOR_CHECKS}
    site = Site(Inputs(**inputs, **arguments["components"], guilds=active_guilds(arguments["guilds"])))
    started, clock = dt.datetime.now(dt.UTC), time.monotonic()
    outcomes = Round(promises, site, arguments["at_once"]).run(tell)
    seconds = time.monotonic() - clock
    report = document(arguments["site"], arguments["environment"], site.uid(), outcomes, started, seconds)
    page = write(Path(arguments["report_dir"]), report)
    broken = [outcome.promise.id for outcome in outcomes if outcome.failed]
    counts = ", ".join(f"{number} {state}" for state, number in report["counts"].items() if number)
    message = f"{len(outcomes)} promises in {seconds:.1f} s: {counts}. Report: {page}"
    return {"msg": message, "report": str(page), "counts": report["counts"], "broken": broken, "failed": bool(broken)}


def active_guilds(guilds: list[Any]) -> list[int]:
    """The ids of guilds that are to be served, of ids and of dictionaries as role guild_data takes them."""
    named = [guild if isinstance(guild, dict) else {"id": guild} for guild in guilds]
    return [int(guild["id"]) for guild in named if guild.get("state", "present") in ("present", "migrated")]


def tell(outcome: Outcome) -> None:
    display.display(line(outcome), color="red" if outcome.failed else None)
