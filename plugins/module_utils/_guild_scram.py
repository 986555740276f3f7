# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SCRAM verifiers of Postgres: is this the password behind it? Without asking the server, without keeping the password. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

VERIFIER = re.compile(r"SCRAM-SHA-256\$(?P<rounds>[0-9]+):(?P<salt>[^$]+)\$(?P<stored>[^:]+):(?P<server>.+)", re.ASCII)
PRINTABLE = re.compile(r"[\x20-\x7e]{8,}", re.ASCII)


def check_password(password: str, option: str) -> None:
    """Other characters would be rewritten by SASLprep, differently in each client."""
    if not PRINTABLE.fullmatch(password):
        raise PlatformError(f"{option}: a password needs at least 8 characters, all of them printable ASCII")


def matches(verifier: str | None, password: str) -> bool:
    found = VERIFIER.fullmatch(verifier or "")
    if not found:
        return False
    salt = base64.b64decode(found["salt"])
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, int(found["rounds"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), base64.b64decode(found["stored"]))
