# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run has to fulfil before it may touch a site. Pure decisions: every function gets facts and returns problems."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

Access = Literal["read", "change", "destroy"]

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
FORMS = (
    ("platform_site_id", re.compile(r"[a-z](?:[a-z0-9-]{0,18}[a-z0-9])?"), "must be 1 to 20 of a-z, 0-9 and -, and start with a letter"),
    ("platform_domain", re.compile(rf"{_LABEL}(?:\.{_LABEL})*"), "is not a DNS name in lower case"),
    ("platform_cluster_uid", re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "is not the UID of a namespace"),
    ("platform_services_tag", re.compile(r"(?!latest$)\w[\w.-]{0,127}", re.ASCII), "must be one fixed image tag, not 'latest'"),
)
PATHS = ("platform_state_dir", "platform_kubeconfig", "platform_cache_dir", "platform_report_dir", "platform_helm_binary")

# Inputs that may stay empty. An empty value of any other one means: the operator still has to fill it in.
MAY_BE_EMPTY = frozenset(
    {
        "platform_certificate_authority",
        "platform_cluster_uid",
        "platform_confirm",
        "platform_discord_api_url",
        "platform_kube_context",
        "platform_postgres_ca_secret",
    }
)
# And those that only an object store for backups needs.
OF_S3 = frozenset({"platform_backup_s3_bucket", "platform_backup_s3_endpoint", "platform_backup_s3_region"})
# Environments where the inventory has to name the cluster that it is for.
IDENTIFIED = frozenset({"staging", "production"})


def inventory_problems(sources: Iterable[str], hosts: Iterable[str]) -> list[str]:
    """No default inventory: forgetting ``-i`` is an error, not a run on nothing."""
    if list(hosts):
        return []
    named = ", ".join(sources) or "none given"
    return [f"the inventory ({named}) has no host in group 'platform': choose a site with -i inventories/<environment>"]


def environment_problems(environment: str, inventory_dir: str) -> list[str]:
    """The folder that was typed and the environment that it says to be are the same word."""
    folder = inventory_dir.rstrip("/").rpartition("/")[2]
    if folder == environment:
        return []
    named = f"platform_environment = '{environment}', but the inventory folder is named '{folder}' ({inventory_dir})"
    return [f"{named}: a copied inventory has to name its own environment"]


def value_problems(values: Mapping[str, Any]) -> list[str]:
    """What types and choices cannot say: empty values, and the form of names and paths."""
    may_be_empty = MAY_BE_EMPTY if values.get("platform_backup_repository") == "s3" else MAY_BE_EMPTY | OF_S3
    problems = [f"{name} is empty: fill it in" for name, value in values.items() if value == "" and name not in may_be_empty]
    for name, pattern, what in FORMS:
        if values.get(name) and not pattern.fullmatch(str(values[name])):
            problems.append(f"{name} = '{values[name]}': {what}")
    relative = [name for name in PATHS if values.get(name) and not str(values[name]).startswith("/")]
    return problems + [f"{name} = '{values[name]}': must be an absolute path" for name in relative]


def policy_problems(environment: str, confirmation: str) -> list[str]:
    """Guards that an environment may not switch off."""
    if environment == "production" and confirmation != "typed":
        return [f"platform_confirmation = '{confirmation}': production asks for the site's name to be typed, so it has to be 'typed'"]
    return []


def identity_problems(environment: str, wanted: str, found: str, kubeconfig: str) -> list[str]:
    """The cluster behind the kubeconfig is the one that the inventory was written for."""
    here = f"the cluster behind {kubeconfig} has the UID {found}"
    if wanted and wanted != found:
        remedy = "choose the right context, or remove that file if the site has a new cluster"
        return [f"{here}, but this inventory is for {wanted} (platform_cluster_uid): {remedy}"]
    if not wanted and environment in IDENTIFIED:
        return [f"platform_cluster_uid is empty, and {environment} has to name its cluster: {here}; write it down if it is the right one"]
    return []


def protection_problems(access: Access, protected: bool, site: str) -> list[str]:
    """What is protected is not destroyed, whatever is typed."""
    if access == "destroy" and protected:
        return [f"site '{site}' is protected from deletion: pass -e platform_deletion_protection=false as well if you mean to destroy it"]
    return []


def needs_confirmation(access: Access, policy: str, check_mode: bool) -> bool:
    """Destroying is typed everywhere, changing where the inventory says so, looking never."""
    if check_mode or access == "read":
        return False
    return access == "destroy" or policy == "typed"


def confirmation_problems(typed: str, site: str, access: Access) -> list[str]:
    """The typed word has to be the site's id, exactly."""
    if typed == site:
        return []
    action = "destroy" if access == "destroy" else "change"
    given = f"'{typed}' was given" if typed else "nothing was typed and there is no terminal to ask on"
    return [f"to {action} the site its id has to be typed, but {given}: pass -e platform_confirm={site} if you mean the site '{site}'"]


def refusal(site: str, problems: Iterable[str]) -> str:
    """One message with all problems."""
    where = f" with site '{site}'" if site else ""
    return f"The guards refuse to go on{where}:\n" + "\n".join(f"  - {problem}" for problem in problems)
