# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options that the guild modules share, and the way from them to a connection. Described in the doc fragment guild_connection."""

from __future__ import annotations

import contextlib
import os
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._guild_model import Unreachable

try:
    import psycopg  # noqa: F401
    from ansible_collections.dcm.platform.plugins.module_utils._guild_kube import Kubectl, port_forward
    from ansible_collections.dcm.platform.plugins.module_utils._guild_store import Access

    PSYCOPG_ERROR: str | None = None
except ImportError:
    PSYCOPG_ERROR = traceback.format_exc()

CONNECTION_OPTIONS: dict[str, dict[str, Any]] = {
    "login_host": {"type": "str", "default": "127.0.0.1"},
    "login_port": {"type": "int", "default": 5432},
    "login_user": {"type": "str", "default": "postgres"},
    "login_password": {"type": "str", "no_log": True},
    "login_db": {"type": "str", "default": "dcm"},
    "ssl_mode": {"type": "str", "default": "prefer", "choices": ["allow", "disable", "prefer", "require", "verify-ca", "verify-full"]},
    "ca_cert": {"type": "path", "aliases": ["ssl_rootcert"]},
    "ca_secret": {"type": "str", "no_log": False},
    "ssl_cert": {"type": "path"},
    "ssl_key": {"type": "path"},
    "lock_timeout": {"type": "float", "default": 2.0},
    "statement_timeout": {"type": "float", "default": 60.0},
    "access": {"type": "str", "default": "direct", "choices": ["direct", "port_forward"]},
    "kubectl": {"type": "path", "default": "kubectl"},
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "login_service": {"type": "str"},
    "login_secret": {"type": "str", "no_log": False},
}

# What a placement may say for itself; what it does not say is as the module's own options have it.
PLACEMENT_KEYS = (
    "login_host",
    "login_port",
    "login_user",
    "login_password",
    "login_db",
    "login_service",
    "login_secret",
    "ssl_mode",
    "access",
)
PLACEMENTS: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "required": True,
    "options": {
        "name": {"type": "str", "required": True},
        **{key: {word: what for word, what in CONNECTION_OPTIONS[key].items() if word != "default"} for key in PLACEMENT_KEYS},
    },
}


def require_psycopg() -> None:
    if PSYCOPG_ERROR:
        last = PSYCOPG_ERROR.strip().splitlines()[-1]
        raise PlatformError(f"the Python package psycopg 3 is needed where the module runs: pip install 'psycopg[binary]' ({last})")


@contextlib.contextmanager
def open_access(options: Mapping[str, Any]) -> Iterator[Access]:
    """By name, by the cluster address of a Service, or through a tunnel that lasts as long as the block. The name stays, for TLS."""
    for name in ("lock_timeout", "statement_timeout"):
        if options[name] <= 0:
            raise PlatformError(f"{name}: {options[name]} must be more than 0 seconds")
    kubectl = Kubectl(options["kubectl"], options["kubeconfig"], options["context"])
    parameters = _parameters(options)
    if options["login_secret"]:
        keys = ("username", "password")
        parameters["user"], parameters["password"] = kubectl.secret("login_secret", options["login_secret"], *keys)
    limits = (options["lock_timeout"], options["statement_timeout"])
    with _authorities(options, kubectl) as authorities, _way(options, kubectl) as way:
        yield Access({**parameters, **authorities, **way}, *limits)


@contextlib.contextmanager
def _way(options: Mapping[str, Any], kubectl: Kubectl) -> Iterator[dict[str, Any]]:
    service = options["login_service"]
    if options["access"] != "port_forward":
        yield {"hostaddr": kubectl.cluster_address("login_service", service)} if service else {}
        return
    if not service:
        raise PlatformError(
            f"access: port_forward needs login_service, the Service to forward to; {options['login_host']} is no Service of the cluster: "
            "use direct, from a machine that reaches it"
        )
    with port_forward(kubectl, "login_service", service, options["login_port"]) as port:
        yield {"hostaddr": "127.0.0.1", "port": port}


@contextlib.contextmanager
def _authorities(options: Mapping[str, Any], kubectl: Kubectl) -> Iterator[dict[str, Any]]:
    """libpq takes certificate authorities from a file alone."""
    if not options["ca_secret"]:
        yield {}
        return
    text = kubectl.secret("ca_secret", options["ca_secret"], "ca.crt")[0]
    descriptor, path = tempfile.mkstemp(prefix="dcm-ca-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        yield {"sslrootcert": path}
    finally:
        Path(path).unlink()


@contextlib.contextmanager
def open_placements(options: Mapping[str, Any], assume_empty: bool = False) -> Iterator[dict[str, Access | None]]:
    """Every placement by its name, for as long as the block. None: it cannot be reached yet, and that was allowed."""
    names = [placement["name"] for placement in options["placements"]]
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice or not names:
        raise PlatformError(f"placements: '{twice}' is there twice" if twice else "placements: at least one is needed")
    with contextlib.ExitStack() as stack:
        found: dict[str, Access | None] = {}
        for placement in options["placements"]:
            own = {key: placement[key] for key in PLACEMENT_KEYS if placement.get(key) is not None}
            try:
                found[placement["name"]] = stack.enter_context(open_access({**options, **own}))
            except PlatformError as problem:
                if not (assume_empty and isinstance(problem, Unreachable)):
                    raise type(problem)(f"placement '{placement['name']}': {problem}") from problem
                found[placement["name"]] = None
        yield found


def service_password(options: Mapping[str, Any]) -> str | None:
    """Given, or from its Secret."""
    if not options["service_secret"]:
        return options["service_password"] or None
    kubectl = Kubectl(options["kubectl"], options["kubeconfig"], options["context"])
    return kubectl.secret("service_secret", options["service_secret"], options["service_secret_key"])[0]


def _parameters(options: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "host": "login_host",
        "port": "login_port",
        "user": "login_user",
        "password": "login_password",
        "dbname": "login_db",
        "sslmode": "ssl_mode",
        "sslrootcert": "ca_cert",
        "sslcert": "ssl_cert",
        "sslkey": "ssl_key",
    }
    return {parameter: options[name] for parameter, name in names.items() if options[name] not in (None, "")}
