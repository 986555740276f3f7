# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Discord snowflakes: the only names that guilds have. Pure."""

from __future__ import annotations

import re
import reprlib
import time

from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

DISCORD_EPOCH_MS = 1_420_070_400_000
TIMESTAMP_SHIFT = 22
DAY_MS = 86_400_000
LARGEST = 2**63 - 1
DIGITS = re.compile(r"[1-9][0-9]{0,19}", re.ASCII)
# A value in a complaint: whole as far as people read, however large or deep it is.
_short = reprlib.Repr()
_short.maxlevel = 2
_short.maxstring = _short.maxlong = _short.maxother = 80
shown = _short.repr


def parse_snowflake(value: object, where: str, now_ms: int | None = None) -> int:
    """The id as a number, or an error that names the value and its place."""
    reason = _complaint(value, now_ms)
    if reason:
        raise PlatformError(f"{where}: {shown(value)} is not a Discord guild id: {reason}")
    return int(str(value))


def schema_name(guild_id: int) -> str:
    return f"guild_{guild_id}"


def owner_role(guild_id: int) -> str:
    return f"guild_{guild_id}_owner"


def app_role(guild_id: int) -> str:
    return f"guild_{guild_id}_app"


def _complaint(value: object, now_ms: int | None) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return "write it as digits, in quotes"
    if not DIGITS.fullmatch(str(value)):
        return "it must be a positive whole number written with the digits 0 to 9 and no leading zero"
    number = int(value)
    if number > LARGEST:
        return "it does not fit into 63 bits"
    age_ms = number >> TIMESTAMP_SHIFT
    if age_ms < DAY_MS:
        return "it would be older than Discord itself (are digits missing?)"
    if age_ms + DISCORD_EPOCH_MS > (now_ms or int(time.time() * 1000)) + DAY_MS:
        return "it would have been created in the future (a digit too many?)"
    return ""
