# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The database servers of a site as its inventory names them, completed and checked. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
KEYS = ("host", "port", "database", "admin_secret", "access", "ssl_mode")

LOGIN = {
    "login_host": "host",
    "login_port": "port",
    "login_db": "database",
    "login_secret": "admin_secret",
    "access": "access",
    "ssl_mode": "ssl_mode",
}


def complete(
    placements: Mapping[str, Mapping[str, Any] | None], site: Mapping[str, Any], default: str | None = None
) -> list[dict[str, Any]]:
    """Each with all keys. What a placement does not say is as the site has it, so the one without a host is the site's own server."""
    if not placements:
        raise PlatformError("platform_placements names no server: {default: {}} is the one of platform_postgres_host")
    if default is not None and default not in placements:
        raise PlatformError(f"guild_data_default_placement is '{default}', but platform_placements has only {', '.join(placements)}")
    found = [_one(name, given or {}, site) for name, given in placements.items()]
    seen: dict[tuple[str, str], str] = {}
    for placement in found:
        where = (str(placement["host"]), str(placement["port"]))
        if where in seen:
            raise PlatformError(
                f"placements '{seen[where]}' and '{placement['name']}' are both {where[0]}:{where[1]}: each needs a server of its own"
            )
        seen[where] = placement["name"]
    return found


def _one(name: str, given: Mapping[str, Any], site: Mapping[str, Any]) -> dict[str, Any]:
    if not NAME.fullmatch(str(name)):
        raise PlatformError(f"platform_placements: '{name}' must start with a letter and hold only a-z, 0-9, _ and - (32 at most)")
    unknown = [key for key in given if key not in KEYS]
    if unknown:
        raise PlatformError(f"platform_placements, {name}: unknown key '{unknown[0]}'; known: {', '.join(KEYS)}")
    merged = {key: given.get(key, site.get(key, "")) for key in KEYS}
    namespace = str(site.get("admin_secret", "")).rpartition("/")[0]
    if "/" not in str(merged["admin_secret"]):
        merged["admin_secret"] = f"{namespace}/{merged['admin_secret']}"
    parts = str(merged["host"]).split(".")
    in_cluster = parts[2:3] == ["svc"]
    login = {option: merged[key] for option, key in LOGIN.items() if merged[key] != ""}
    login |= {"login_service": f"{parts[1]}/{parts[0]}"} if in_cluster else {}
    return {
        "name": name,
        **merged,
        "login": login,
        "named_login": {"name": name, **login},
        "peers": [{"namespace": parts[1], "name": parts[0]}] if in_cluster else [],
        "server": {"host": merged["host"], "port": int(merged["port"] or 5432), "dbname": merged["database"]},
        "pooled_as": name if "host" in given else merged["database"],
    }
