# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Vault promises, and what the services' secrets are promised."""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Callable

from ansible_collections.dcm.platform.plugins.module_utils._vault_api import Vault, VaultError, reach, session
from ansible_collections.dcm.platform.plugins.module_utils._verify import Broken, NotApplicable, Promise
from ansible_collections.dcm.platform.plugins.module_utils._verify_data import two_guilds
from ansible_collections.dcm.platform.plugins.module_utils._verify_services import actions, token
from ansible_collections.dcm.platform.plugins.module_utils._verify_site import CREDENTIALS, Site

LOOK = "kubectl -n vault logs -l app.kubernetes.io/name=vault; docs/guides/vault.md"
REACH_SECONDS = 150.0  # a changed secret is seen after the agent's refresh, which sites set between seconds and minutes
PAUSE = 0.25


def _needs_vault(site: Site) -> None:
    if site.inputs.secrets_source != "vault":
        raise NotApplicable("this site keeps the services' secrets in Kubernetes")


def unsealed(site: Site) -> str:
    """Vault answers with a certificate of its authority, is unsealed, and nobody holds a root token."""
    _needs_vault(site)
    with session(site.vault) as vault:
        status = vault.request("get", "sys/seal-status") or {}
        if status.get("sealed") or not status.get("initialized"):
            raise Broken("an unsealed Vault", f"initialized {status.get('initialized')}, sealed {status.get('sealed')}")
        roots = [name for name in vault.list("auth/token/accessors") if _policies(vault, name) == ["root"]]
    if roots:
        raise Broken("no root token", f"{len(roots)} of them")
    return f"Vault {status['version']} answers by TLS, is unsealed, and there is no root token"


def _policies(vault: Vault, accessor: str) -> list[str]:
    try:
        return list(vault.write("auth/token/lookup-accessor", {"accessor": accessor})["data"]["policies"])
    except VaultError:  # it ended meanwhile
        return []


def own_secrets_alone(site: Site) -> str:
    """A service account reads the secrets of its own service; another one, another audience and another namespace are refused."""
    _needs_vault(site)
    namespace = site.inputs.namespace_services
    with reach(site.vault) as vault:
        _log_in(vault, "gateway", _account_token(site, namespace, "gateway", "vault"))
        path = f"{CREDENTIALS[0]}/data/{CREDENTIALS[1]}"
        if not vault.read(f"{path}/api-signing-key"):
            raise Broken("gateway to read api-signing-key", "no such secret")
        if not _refused(lambda: vault.read(f"{path}/discord-token")):
            raise Broken("gateway to be refused the token of the bot", "it can read it")
        vault.write("auth/token/revoke-self")
        foreign = {
            "the default account": _account_token(site, namespace, "default", "vault"),
            "a token for somebody else": _account_token(site, namespace, "gateway", "elsewhere"),
            "an account of another namespace": _account_token(site, site.inputs.namespace_data, "default", "vault"),
        }
        let_in = [who for who, jwt in foreign.items() if not _refused(functools.partial(_log_in, vault, "gateway", jwt))]
    if let_in:
        raise Broken("nobody but gateway to log in as gateway", f"{', '.join(let_in)} can")
    return f"gateway reads its own secrets, not the bot's; {', '.join(foreign)} are refused"


def _account_token(site: Site, namespace: str, account: str, audience: str) -> str:
    body = {"spec": {"audiences": [audience], "expirationSeconds": 600}}
    answer = site.vault.kube().request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", body)
    return str(answer["status"]["token"])


def _log_in(vault: Vault, role: str, jwt: str) -> None:
    vault.token = ""
    vault.token = str(vault.write("auth/jwt/login", {"role": role, "jwt": jwt})["auth"]["client_token"])


def _refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except VaultError as error:
        if error.status not in (400, 403):
            raise
        return True
    return False


def rotation(site: Site) -> str:
    """A signing key that is written beside the current one reaches the running gateway, and leaves it again; no request fails meanwhile."""
    _needs_vault(site)
    guild, _other = two_guilds(site)
    path = f"{CREDENTIALS[0]}/data/{CREDENTIALS[1]}/api-signing-key"
    extra = secrets.token_hex(32)
    with session(site.vault) as vault, site.url("gateway") as url:
        before = _read_key(vault, path)
        try:
            _write_key(vault, path, "\n".join([*before.split(), extra]))
            arrived, asked = _wait_for(site, url, guild, extra, 200)
        finally:
            kept = [key for key in _read_key(vault, path).split() if key != extra]
            _write_key(vault, path, "\n".join(kept))
        left, again = _wait_for(site, url, guild, extra, 401)
    return f"a second key held after {arrived:.1f} s, and no more {left:.1f} s after its end; all {asked + again} requests went well"


def _read_key(vault: Vault, path: str) -> str:
    return str((vault.read(path) or {})["data"]["value"])


def _write_key(vault: Vault, path: str, value: str) -> None:
    data = dict((vault.read(path) or {})["data"])
    vault.write(path, {"data": {**data, "value": value}})


def _wait_for(site: Site, url: str, guild: int, extra: str, wanted: int) -> tuple[float, int]:
    """Ask with the current key, which always has to work, and with the extra one until the answer is the wanted one."""
    started, asked = time.monotonic(), 0
    good, trial = token(site, guild), token(site, guild, key=extra)
    while True:
        status = actions(url, guild, good).status_code
        asked += 1
        if status != 200:
            raise Broken("200 for every request while a key is rotated", f"{status} after {time.monotonic() - started:.1f} s")
        found = actions(url, guild, trial).status_code
        seconds = time.monotonic() - started
        if found == wanted:
            return seconds, asked
        if seconds > REACH_SECONDS:
            raise Broken(f"{wanted} with the extra key within {REACH_SECONDS:.0f} s", str(found))
        if seconds > 60 and good:
            good, trial = token(site, guild), token(site, guild, key=extra)
        time.sleep(PAUSE)


PROMISES = [
    Promise("vault.unsealed", "Vault answers by TLS, is unsealed, and nobody holds a root token", unsealed, LOOK),
    Promise(
        "vault.own_secrets_alone",
        "A service reads its own secrets, and nobody else does",
        own_secrets_alone,
        LOOK,
        needs=("vault.unsealed",),
    ),
    Promise(
        "vault.rotation",
        "A secret written in Vault reaches a running service, is rotated, and no request fails",
        rotation,
        "kubectl -n dcm-services logs deploy/gateway -c vault-agent",
        timeout=330.0,
        needs=("vault.unsealed", "services.ready"),
    ),
]
