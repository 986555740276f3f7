# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""API tokens: JWTs signed with the api-signing-key, naming the guilds their holder may see."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

import jwt

from dcm_service import snowflake
from dcm_service.errors import ServiceError

ALGORITHM = "HS256"
LEEWAY_SECONDS = 5
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class TokenError(ServiceError):
    """The token is not acceptable; the text is safe to show to the caller."""


@dataclass(frozen=True)
class Principal:
    """Who asks, and for which guilds."""

    subject: str
    guilds: frozenset[int]


def parse_ttl(text: str) -> int:
    """Seconds of a duration such as 90s, 15m, 1h or 7d."""
    match = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", text, re.ASCII)
    if not match:
        raise ServiceError(f"--ttl {text!r}: expected a number and a unit, such as 90s, 15m, 1h or 7d")
    return int(match[1]) * _UNITS[match[2]]


def mint(key: str, subject: str, guilds: list[int], ttl_seconds: int) -> str:
    """Sign a token for the given guilds."""
    now = int(time.time())
    claims = {"sub": subject, "guilds": [str(guild) for guild in guilds], "iat": now, "exp": now + ttl_seconds}
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def verify(keys: list[str], token: str) -> Principal:
    """Check signature, expiry and claims against every current key."""
    claims = _decode(keys, token)
    guilds = claims.get("guilds")
    if not isinstance(guilds, list) or not all(isinstance(item, str) for item in guilds):
        raise TokenError("the claim guilds must be a list of strings")
    try:
        return Principal(str(claims["sub"]), frozenset(snowflake.parse(item) for item in guilds))
    except ValueError as error:
        raise TokenError(f"the claim guilds holds something else than Discord ids: {error}") from None


def _decode(keys: list[str], token: str) -> dict[str, Any]:
    for key in keys:
        try:
            return jwt.decode(token, key, algorithms=[ALGORITHM], leeway=LEEWAY_SECONDS, options={"require": ["exp", "sub"]})
        except jwt.InvalidSignatureError:
            continue
        except jwt.ExpiredSignatureError:
            raise TokenError("the token has expired") from None
        except jwt.InvalidTokenError as error:
            raise TokenError(f"the token is not valid: {error}") from None
    raise TokenError("the token is not signed by this platform")
