# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Who may see what: the bearer token names the guilds; the directory says whether they are served."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, HTTPException, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from dcm_service import tokens
from dcm_service.database import Database
from dcm_service.secretfiles import SecretFiles
from dcm_service.snowflake import Snowflake

_BEARER = HTTPBearer(auto_error=False, bearerFormat="JWT", description="A token of `python3 -m dcm_service token`")


def database(request: Request) -> Database:
    """The pools of this process."""
    found: Database = request.app.state.database
    return found


def principal(request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> tokens.Principal:
    """The holder of the token, or 401."""
    challenge = {"WWW-Authenticate": "Bearer"}
    if credentials is None:
        raise HTTPException(401, "a bearer token is needed", challenge)
    secrets: SecretFiles = request.app.state.secrets
    try:
        return tokens.verify(secrets.signing_keys(), credentials.credentials)
    except tokens.TokenError as error:
        raise HTTPException(401, str(error), {"WWW-Authenticate": 'Bearer error="invalid_token"'}) from None


async def guild(
    guild_id: Annotated[Snowflake, Path(description="The guild's Discord id")],
    who: Annotated[tokens.Principal, Depends(principal)],
    db: Annotated[Database, Depends(database)],
) -> int:
    """The guild of the path: 403 when the token does not name it, 404 when the platform does not know it, 423 when it is not served."""
    wanted = int(guild_id)
    if wanted not in who.guilds:
        raise HTTPException(403, "the token does not cover this guild")
    found = await db.guild(wanted)
    if found is None:
        raise HTTPException(404, "the platform does not know this guild")
    if not found.active:
        raise HTTPException(423, f"this guild is {found.state}")
    return wanted


Who = Annotated[tokens.Principal, Depends(principal)]
GuildId = Annotated[int, Depends(guild)]
Db = Annotated[Database, Depends(database)]
