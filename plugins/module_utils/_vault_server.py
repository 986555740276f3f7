# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Initialises, unseals, and leaves one way in: the administrator's service account, for which Kubernetes gives short-lived tokens.

No root token is kept. The one that initialising gives ends as soon as that way in is there; later ones are made of key shares.
Every step looks at what is there first, so that a run that was killed is finished by the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._cluster_issuer import cluster_issuer
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._generated_secret import LABELS
from ansible_collections.dcm.platform.plugins.module_utils._vault_api import Place, Vault, VaultError, log_in, missing, reach, trusted
from ansible_collections.dcm.platform.plugins.module_utils._vault_seal import ADMIN_POLICY, Handing, Status, decode_root, servers_to_unseal

PAUSE = 0.5
INIT_SECONDS = 900.0


@dataclass
class Outcome:
    """What was done, or would be."""

    actions: list[str] = field(default_factory=list)
    sealed: list[str] = field(default_factory=list)
    initialized: bool = False
    shares_file: str = ""


@dataclass
class Server:
    """The servers behind one Service."""

    place: Place
    selector: str
    expected: int
    handing: Handing
    shares_file: str
    timeout: float
    dry: bool = False
    outcome: Outcome = field(default_factory=Outcome)

    def converge(self, given: Sequence[str] = ()) -> Outcome:
        """From whatever is there to unsealed, with a way in. ``given`` are key shares in clear."""
        if self.dry and missing(self.place):
            self.outcome.actions += ["initialise", "unseal", "let the administrator's service account in"]
            return self.outcome
        with trusted(self.place) as ca_file:
            self.place = replace(self.place, ca_file=ca_file)
            keys, root = list(given) or self._kept_keys(), ""
            if not any(status.initialized for status in self.look()):
                self.outcome.actions.append("initialise")
                if self.dry:
                    self.outcome.actions += ["unseal", "let the administrator's service account in"]
                    return self.outcome
                keys, root = self._initialise()
            self.outcome.initialized = True
            self._unseal(keys)
            if not self.outcome.sealed and not (self.dry and self.outcome.actions):
                self._ensure_way_in(keys, root)
        return self.outcome

    # -- looking --------------------------------------------------------------------------------------------------------

    def pods(self) -> list[tuple[str, str]]:
        """Names and addresses of the pods that run; one without a name where the place is a URL."""
        if self.place.url:
            return [("", "")]
        items = self.place.kube().items(f"/api/v1/namespaces/{self.place.namespace}/pods", labelSelector=self.selector)
        running = [
            item for item in items if (item.get("status") or {}).get("phase") == "Running" and "deletionTimestamp" not in item["metadata"]
        ]
        return [(item["metadata"]["name"], item["status"].get("podIP", "")) for item in running]

    def look(self) -> list[Status]:
        """The state of every server, as soon as all of them answer."""
        deadline = time.monotonic() + self.timeout
        while True:
            problem = f"{self.expected} pods of Vault should run"
            try:
                found = [self._status(name, address) for name, address in self.pods()]
            except VaultError as error:
                found, problem = [], str(error)
            if len(found) >= self.expected:
                return found
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"{problem}; {len(found)} answer after {self.timeout:.0f} s. Look at: kubectl -n {self.place.namespace} describe pods"
                )
            time.sleep(PAUSE)

    def _status(self, name: str, address: str) -> Status:
        with self._pod(name, address) as vault:
            found = vault.request("get", "sys/seal-status") or {}
        return Status(name, bool(found["initialized"]), bool(found["sealed"]), str(found.get("type") or "shamir"))

    @contextlib.contextmanager
    def _pod(self, name: str, address: str) -> Iterator[Vault]:
        with reach(self.place, f"{self.place.namespace}/{name}" if name else "", address) as vault:
            yield vault

    # -- initialising ---------------------------------------------------------------------------------------------------

    def _initialise(self) -> tuple[list[str], str]:
        """Keys and root token, where they are not encrypted to somebody. The file is there before there is anything to lose."""
        status = self.look()[0]
        (name, address) = self.pods()[0]
        target = Path(self.handing.key_file or self.shares_file)
        _check_writable(target)
        with self._pod(name, address) as vault:
            # An answer that is not waited for takes the only copy of the keys with it.
            answer = vault.request("put", "sys/init", self.handing.request(status.unseals_itself), INIT_SECONDS) or {}
        _write_private(target, self.handing.document(answer, status.unseals_itself))
        self.outcome.shares_file = str(target)
        keys = [] if self.handing.operators else list(answer["recovery_keys_base64" if status.unseals_itself else "keys_base64"])
        encrypted = self.handing.operators and not status.unseals_itself
        return keys, "" if encrypted else str(answer["root_token"])

    def _kept_keys(self) -> list[str]:
        path = Path(self.handing.key_file) if self.handing.key_file else None
        if path is None or not path.is_file():
            return []
        if path.stat().st_mode & 0o077:
            raise PlatformError(
                f"{path} holds the keys of Vault and can be read by others: chmod 600 {path}, and rekey Vault if somebody else had access"
            )
        return list(json.loads(path.read_text(encoding="utf-8"))["keys"])

    # -- unsealing ------------------------------------------------------------------------------------------------------

    def _unseal(self, keys: Sequence[str]) -> None:
        """Every server that waits for keys. A new member of a cluster counts as initialised only after it has joined."""
        deadline = time.monotonic() + self.timeout
        while waiting := [status for status in self.look() if status.sealed or not status.initialized]:
            if self.dry or (not keys and servers_to_unseal(waiting)):
                self.outcome.actions += ["unseal"] if keys else []
                self.outcome.sealed = [] if keys else [status.name or self.place.url for status in waiting]
                return
            addresses = dict(self.pods())
            for status in servers_to_unseal(waiting):
                with self._pod(status.name, addresses.get(status.name, "")) as vault:
                    _give_keys(vault, keys)
                self.outcome.actions.append(f"unseal {status.name}".strip())
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"Vault is still sealed after {self.timeout:.0f} s ({', '.join(status.name for status in waiting)}); read its logs"
                )
            time.sleep(PAUSE)

    # -- the way in -----------------------------------------------------------------------------------------------------

    def _ensure_way_in(self, keys: Sequence[str], root: str) -> None:
        """The service account can log in, and no root token is left."""
        with reach(self.place) as vault:
            self._wait_until(
                lambda: bool((vault.request("get", "sys/leader") or {}).get("leader_address")), "no server of Vault is the active one"
            )
            if not root and self._lets_in(vault):
                return
            self.outcome.actions.append("let the administrator's service account in")
            if self.dry:
                return
            if not root and not keys:
                raise PlatformError(
                    f"Vault does not let {self.place.login_account} in, and no key shares are at hand: run playbooks/vault_unseal.yml"
                )
            vault.token = root or _generate_root(vault, keys)
            try:
                self._open_way(vault)
            finally:
                _end_root_tokens(vault)
            if not self._lets_in(vault):
                raise PlatformError(
                    f"Vault does not let {self.place.login_account} in, although it was just told to; read the log of Vault"
                )

    def _wait_until(self, true: Callable[[], bool], problem: str) -> None:
        deadline = time.monotonic() + self.timeout
        while not true():
            if time.monotonic() > deadline:
                raise PlatformError(f"{problem} after {self.timeout:.0f} s; read the logs of its pods")
            time.sleep(PAUSE)

    def _lets_in(self, vault: Vault) -> bool:
        """Whether the administrator can log in. No answer is no refusal, and an error."""
        if self._account() is None:
            return False
        try:
            log_in(self.place, vault)
        except VaultError as error:
            if error.status in (400, 403):
                return False
            raise
        vault.write("auth/token/revoke-self")
        return True

    def _account(self) -> dict[str, Any] | None:
        namespace, _slash, name = self.place.login_account.partition("/")
        return self.place.kube().get(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}")

    def _ensure_account(self) -> None:
        namespace, _slash, name = self.place.login_account.partition("/")
        if self._account() is None:
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace, "labels": LABELS}}
            body = account | {"automountServiceAccountToken": False}
            self.place.kube().apply(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}", body, "dcm-platform", dry_run=False)

    def _open_way(self, vault: Vault) -> None:
        self._ensure_account()
        mount, role = self.place.login_mount, self.place.login_role
        vault.write(f"sys/policies/acl/{role}", {"policy": ADMIN_POLICY})
        if f"{mount}/" not in (vault.read("sys/auth") or {}):
            vault.write(f"sys/auth/{mount}", {"type": "jwt", "description": "Service accounts of the cluster"})
        issuer = cluster_issuer(self.place.kube())
        vault.write(f"auth/{mount}/config", {"jwt_validation_pubkeys": issuer.keys, "bound_issuer": issuer.url})
        namespace, _slash, name = self.place.login_account.partition("/")
        vault.write(f"auth/{mount}/role/{role}", admin_role(f"system:serviceaccount:{namespace}:{name}", role))


def admin_role(subject: str, policy: str) -> dict[str, Any]:
    """The login role of the administrator: one service account, tokens for Vault alone, ten minutes."""
    bound = {"bound_audiences": ["vault"], "bound_subject": subject, "user_claim": "sub"}
    return {
        "role_type": "jwt",
        **bound,
        "token_policies": [policy],
        "token_ttl": 600,
        "token_max_ttl": 600,
        "token_no_default_policy": True,
    }


def _give_keys(vault: Vault, keys: Sequence[str]) -> None:
    """Shares one after the other, until they are enough. What somebody else began is put aside first."""
    vault.request("put", "sys/unseal", {"reset": True})
    for key in keys:
        answer = vault.request("put", "sys/unseal", {"key": key}) or {}
        if not answer.get("sealed", True):
            return
    if answer.get("progress"):
        raise PlatformError(f"{answer['progress']} key shares are not enough, Vault needs {answer['t']}")


def _generate_root(vault: Vault, keys: Sequence[str]) -> str:
    """A root token of key shares."""
    vault.request("delete", "sys/generate-root/attempt")
    attempt = vault.request("put", "sys/generate-root/attempt", {}) or {}
    for key in keys:
        answer = vault.request("put", "sys/generate-root/update", {"key": key, "nonce": attempt["nonce"]}) or {}
        if answer.get("complete"):
            return decode_root(str(answer.get("encoded_token") or answer.get("encoded_root_token")), str(attempt["otp"]))
    vault.request("delete", "sys/generate-root/attempt")
    raise PlatformError(f"{len(keys)} key shares are not enough to let the administrator in, Vault needs {attempt['required']}")


def _end_root_tokens(vault: Vault) -> None:
    """Every root token ends: forgotten ones, such as that of a run which was killed, and our own as the last one."""
    own = str((vault.read("auth/token/lookup-self") or {}).get("accessor"))
    for accessor in vault.list("auth/token/accessors"):
        with contextlib.suppress(VaultError):  # one that ended meanwhile
            found = vault.write("auth/token/lookup-accessor", {"accessor": accessor})["data"]
            if accessor != own and found.get("policies") == ["root"]:
                vault.write("auth/token/revoke-accessor", {"accessor": accessor})
    vault.write("auth/token/revoke-self")


def _check_writable(path: Path) -> None:
    if path.exists():
        raise PlatformError(
            f"Vault is not initialised, but {path} has the keys of another one. If that one is gone for good, move the file away"
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise PlatformError(f"{path.parent} cannot be written, so the keys of Vault would be lost: choose another folder")


def _write_private(path: Path, document: dict[str, Any]) -> None:
    """For the owner alone from its first byte on, and whole or not at all."""
    aside = path.with_name(f".{path.name}.new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(document, stream, indent=2)
        stream.flush()
        os.fsync(stream.fileno())
    aside.rename(path)
