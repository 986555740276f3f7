# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Routes of the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from dcm_service import __version__, logs, repository, tracing
from dcm_service.database import UNAVAILABLE, Database
from dcm_service.gateway import models
from dcm_service.gateway.auth import Db, GuildId, Who
from dcm_service.rules import RuleError, validate_params
from dcm_service.runtime import Context
from dcm_service.secretfiles import SecretFiles
from dcm_service.web import Observed, serve

log = logs.get(__name__)
Name = Annotated[models.RuleName, Path(description="Name of the rule")]
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": models.Problem, "description": text}
    for status, text in {
        401: "No valid token",
        403: "The token does not cover this guild",
        404: "Not known",
        422: "A value is not acceptable",
        423: "The guild is not served now",
        503: "The database is away",
    }.items()
}


async def list_guilds(who: Who, db: Db) -> models.Guilds:
    """The guilds of the token."""
    found = await db.guilds(sorted(who.guilds))
    rows = [models.Guild(id=str(item.guild_id), state=item.state, plan=item.plan, schema_version=item.schema_version) for item in found]
    return models.Guilds(guilds=rows)


async def list_actions(
    guild_id: GuildId,
    db: Db,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="Continue below this action")] = None,
) -> models.Actions:
    """What the rules did, newest first."""
    async with db.as_guild(guild_id, "list actions") as connection:
        rows = await repository.actions(connection, limit, before)
    found = [models.Action.model_validate(row) for row in rows]
    return models.Actions(actions=found, next_before=found[-1].id if len(found) == limit else None)


async def list_rules(guild_id: GuildId, db: Db) -> models.Rules:
    """The clean-up rules."""
    async with db.as_guild(guild_id, "list rules") as connection:
        rows = await repository.rules(connection)
    return models.Rules(rules=[models.RuleOut.model_validate(row) for row in rows])


async def get_rule(guild_id: GuildId, name: Name, db: Db) -> models.RuleOut:
    """One rule."""
    async with db.as_guild(guild_id, "read rule") as connection:
        row = await repository.rule(connection, name)
    if row is None:
        raise HTTPException(404, "there is no rule of this name")
    return models.RuleOut.model_validate(row)


async def put_rule(guild_id: GuildId, name: Name, wanted: models.RuleIn, who: Who, db: Db) -> models.RuleOut:
    """Create or replace a rule; workers use it within seconds."""
    try:
        params = validate_params(wanted.kind, wanted.params).model_dump(mode="json", exclude_unset=True)
    except RuleError as error:
        raise HTTPException(422, str(error)) from None
    async with db.as_guild(guild_id, "put rule") as connection:
        row = await repository.put_rule(connection, name, wanted.kind, params, wanted.enabled)
    if row is None:
        raise HTTPException(422, f"a guild has at most {repository.MAX_RULES} rules")
    log.info("rule written", guild_id=guild_id, rule=name, kind=wanted.kind, enabled=wanted.enabled, subject=who.subject)
    return models.RuleOut.model_validate(row)


async def delete_rule(guild_id: GuildId, name: Name, who: Who, db: Db) -> Response:
    """Remove a rule; actions that it caused stay."""
    async with db.as_guild(guild_id, "delete rule") as connection:
        found = await repository.delete_rule(connection, name)
    if not found:
        raise HTTPException(404, "there is no rule of this name")
    log.info("rule deleted", guild_id=guild_id, rule=name, subject=who.subject)
    return Response(status_code=204)


async def read_settings(guild_id: GuildId, db: Db) -> models.GuildSettings:
    """The guild's settings."""
    async with db.as_guild(guild_id, "read settings") as connection:
        return models.GuildSettings(settings=await repository.settings(connection))


async def ping() -> dict[str, str]:
    """Whether the API answers; needs no token."""
    return {"service": "gateway", "version": __version__}


def _problem(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": text, "trace_id": tracing.trace_id()}, status, headers=headers)


async def _on_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)  # noqa: S101
    return _problem(error.status_code, str(error.detail), dict(error.headers or {}))


async def _on_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    parts = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()]
    return _problem(422, "; ".join(parts)[:1000])


async def _on_unavailable(_request: Request, error: Exception) -> Response:
    log.error("the database is away", error=str(error).strip())
    return _problem(503, "the database is away", {"Retry-After": "2"})


async def _on_other(_request: Request, _error: Exception) -> Response:
    return _problem(500, "internal error")


def _add_routes(app: FastAPI) -> None:
    base = "/v1/guilds/{guild_id}"
    routes: list[tuple[str, str, Callable[..., Awaitable[Any]], int]] = [
        ("GET", "/v1/guilds", list_guilds, 200),
        ("GET", base + "/actions", list_actions, 200),
        ("GET", base + "/rules", list_rules, 200),
        ("GET", base + "/rules/{name}", get_rule, 200),
        ("PUT", base + "/rules/{name}", put_rule, 200),
        ("DELETE", base + "/rules/{name}", delete_rule, 204),
        ("GET", base + "/settings", read_settings, 200),
    ]
    for method, path, handler, status in routes:
        extra: dict[str, Any] = {"response_class": Response} if status == 204 else {}
        app.add_api_route(path, handler, methods=[method], status_code=status, responses=PROBLEMS, **extra)
    app.add_api_route("/v1/ping", ping, methods=["GET"])


def build(db: Database, secrets: SecretFiles) -> FastAPI:
    """The application; its document is at /openapi.json."""
    app = FastAPI(title="DCM API", version=__version__, docs_url=None, redoc_url=None, separate_input_output_schemas=False)
    app.state.database, app.state.secrets = db, secrets
    _add_routes(app)
    app.add_exception_handler(StarletteHTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Exception, _on_other)
    for kind in UNAVAILABLE:
        app.add_exception_handler(kind, _on_unavailable)
    return app


async def run(context: Context) -> None:
    """Serve the API until the stop event."""
    db = Database(context.settings, context.secrets, context.process)
    context.health.add("postgres", db.ping)
    context.health.on_scrape(db.refresh_metrics)
    await db.open()
    try:
        headers = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
        await serve(context, Observed(build(db, context.secrets), headers))
    finally:
        await db.close()
