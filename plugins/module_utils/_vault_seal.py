# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Initialising and unsealing: what the servers say, what is to be done next, and who gets the key shares. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

Json = dict[str, Any]
MOST_SHARES = 255
ADMIN_POLICY = 'path "*" {\n  capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]\n}'


@dataclass(frozen=True)
class Status:
    """One server."""

    name: str
    initialized: bool
    sealed: bool
    seal: str = "shamir"

    @property
    def unseals_itself(self) -> bool:
        return self.seal != "shamir"


@dataclass(frozen=True)
class Handing:
    """How the key shares leave: encrypted to operators (their OpenPGP keys), or as they are into a local file of a developer's site."""

    operators: Mapping[str, str] = field(default_factory=dict)
    threshold: int = 1
    key_file: str = ""

    def check(self, environment: str) -> None:
        """Refuse what could give the keys away or lose them."""
        if self.operators and self.key_file:
            raise PlatformError(
                "operators and key_file are both given: with operators their shares are encrypted, and no key is kept in a file"
            )
        if not self.operators and not self.key_file:
            raise PlatformError("nobody would get the keys of Vault: name operators with their OpenPGP public keys (vault_operators)")
        if self.key_file and environment not in ("local", "dev"):
            raise PlatformError(
                f"key_file keeps the keys of Vault in clear, which is for local and dev alone, not for {environment}: "
                "name operators with their OpenPGP public keys (vault_operators)"
            )
        shares = max(1, len(self.operators))
        if shares > MOST_SHARES or not 1 <= self.threshold <= shares or (shares > 1 and self.threshold == 1):
            raise PlatformError(
                f"threshold {self.threshold} of {shares} shares: it is from 2 to the number of operators, and 1 where there is one share"
            )
        for name, key in self.operators.items():
            _check_key(name, key)

    def request(self, unseals_itself: bool) -> Json:
        """The request that initialises. The root token is encrypted to nobody who is asked for it: it is made anew when it is needed."""
        prefix = "recovery" if unseals_itself else "secret"
        keys = [_plain_key(key) for key in self.operators.values()]
        found: Json = {f"{prefix}_shares": max(1, len(keys)), f"{prefix}_threshold": self.threshold}
        if keys:
            found["recovery_pgp_keys" if unseals_itself else "pgp_keys"] = keys
            if not unseals_itself:
                found["root_token_pgp_key"] = keys[0]
        return found

    def document(self, answer: Mapping[str, Any], unseals_itself: bool) -> Json:
        """What is kept of the answer: shares by operator, encrypted; or the keys."""
        keys = list(answer["recovery_keys_base64" if unseals_itself else "keys_base64"])
        purpose = "recovery" if unseals_itself else "unseal"
        if not self.operators:
            return {"purpose": purpose, "threshold": self.threshold, "keys": keys}
        shares = [{"operator": name, "share": share} for name, share in zip(self.operators, keys, strict=True)]
        return {"purpose": purpose, "threshold": self.threshold, "encrypted": "OpenPGP", "shares": shares}


def _plain_key(key: str) -> str:
    """An OpenPGP public key as Vault takes it: base64 of the binary form. An armoured one is unwrapped."""
    lines = [line.strip() for line in key.strip().splitlines()]
    if lines[0].startswith("-----BEGIN PGP PUBLIC KEY BLOCK"):
        body = lines[lines.index("") + 1 :] if "" in lines else lines[1:]
        lines = [line for line in body if line and not line.startswith(("=", "-----"))]
    return "".join(lines)


def _check_key(name: str, key: str) -> None:
    try:
        head = base64.b64decode(_plain_key(key), validate=True)[:1]
    except (binascii.Error, ValueError, IndexError):
        head = b""
    # The first packet of a public key has the tag 6, in the old or the new form.
    if not head or (head[0] & 0x3F != 6 if head[0] & 0x40 else (head[0] >> 2) & 0x0F != 6):
        raise PlatformError(f"the key of operator {name} is no OpenPGP public key; export it with: gpg --export --armor {name}")


def servers_to_unseal(found: Sequence[Status]) -> list[Status]:
    """Those that wait for keys."""
    return [status for status in found if status.initialized and status.sealed and not status.unseals_itself]


def decode_root(encoded: str, otp: str) -> str:
    """The token that generate-root answers with: both halves put together."""
    raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
    return bytes(left ^ right for left, right in zip(raw, otp.encode(), strict=True)).decode()
