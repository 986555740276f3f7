# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When two values mean the same to Vault: 1h and 3600, a list and its text with commas; fingerprints of what is not told again. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Any

HIDDEN = "(hidden)"
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = re.compile(r"(?:[0-9]+(?:ms|[smhd]))+", re.ASCII)
Fingerprints = Mapping[str, str]


def difference(wanted: Mapping[str, Any], found: Mapping[str, Any] | None) -> dict[str, tuple[Any, Any]]:
    """Fields of ``wanted`` that are not so in ``found``: what is there, and what should be."""
    there = found or {}
    return {key: (there.get(key), value) for key, value in wanted.items() if not same(value, there.get(key))}


def same(wanted: Any, found: Any) -> bool:
    """Whether both mean the same."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return wanted.keys() == found.keys() and all(same(value, found[key]) for key, value in wanted.items())
    if not wanted and not found:
        return True
    if isinstance(wanted, list | tuple) or isinstance(found, list | tuple):
        return _plain_list(wanted) == _plain_list(found)
    return _plain(wanted) == _plain(found)


def _plain_list(value: Any) -> list[object]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")] if value else []
    return sorted((_plain(part) for part in value), key=repr) if isinstance(value, list | tuple) else [_plain(value)]


def _plain(value: Any) -> object:
    """Numbers as numbers, durations as seconds, texts without blanks at their ends."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        text = value.strip()
        if text in ("true", "false"):
            return text == "true"
        if re.fullmatch(r"[0-9]+", text, re.ASCII):
            return float(text)
        if DURATION.fullmatch(text):
            return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"([0-9]+)(ms|[smhd])", text))
        return text
    return value


def fingerprint(secret: str, salt: bytes = b"") -> str:
    """A slow, salted digest: it shows whether a secret is the same one, and helps nobody to find it."""
    salt = salt or secrets.token_bytes(16)
    digest = hashlib.scrypt(secret.encode(), salt=salt, n=2**12, r=8, p=1, dklen=32)
    return f"{base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def matches(secret: str, mark: str | None) -> bool:
    """Whether the fingerprint is that of the secret."""
    salt, dollar, _digest = (mark or "").partition("$")
    return bool(dollar) and hmac.compare_digest(fingerprint(secret, base64.b64decode(salt)), str(mark))
