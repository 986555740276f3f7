# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Discord ids: 64-bit integers, written as strings wherever JSON is spoken."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

PATTERN = r"^[1-9][0-9]{0,18}$"
MAXIMUM = 2**63 - 1  # Postgres bigint


def parse(text: str) -> int:
    """Return the id as a number, or raise ValueError that says why it is none."""
    if not re.fullmatch(PATTERN, text, re.ASCII):
        raise ValueError(f"{text[:40]!r} is not a Discord id: 1 to 19 ASCII digits without a leading zero expected")
    value = int(text)
    if value > MAXIMUM:
        raise ValueError(f"{text!r} is not a Discord id: larger than {MAXIMUM}")
    return value


def _check(text: str) -> str:
    return str(parse(text))


Snowflake = Annotated[str, StringConstraints(max_length=19, pattern=PATTERN), AfterValidator(_check)]
