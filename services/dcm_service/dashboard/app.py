# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Pages: log in with a token, the guilds of the token, and one page per guild that keeps itself up to date."""

from __future__ import annotations

import hmac
import secrets as random
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from dcm_service import snowflake
from dcm_service.config import Settings
from dcm_service.dashboard.api import Api, ApiError
from dcm_service.runtime import Context
from dcm_service.web import Observed, serve

HERE = Path(__file__).parent
SESSION_COOKIE, CSRF_COOKIE = "dcm_session", "dcm_csrf"
SESSION_SECONDS = 8 * 3600
MAX_TOKEN = 3800  # a browser keeps no larger cookie
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
Handler = Callable[[Request], Awaitable[Response]]


class Dashboard:
    """The handlers of the pages."""

    def __init__(self, api: Api, settings: Settings) -> None:
        self._api = api
        self._secure = settings.secure_cookies
        self._environment = settings.environment
        self._templates = Jinja2Templates(directory=HERE / "templates")

    def routes(self) -> list[BaseRoute]:
        """All pages."""
        return [
            Route("/", self.guilds),
            Route("/login", self.login_form),
            Route("/login", self.login, methods=["POST"]),
            Route("/logout", self.logout, methods=["POST"]),
            Route("/guilds/{guild_id}", self.guild),
            Route("/guilds/{guild_id}/actions", self.actions),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ]

    async def login_form(self, request: Request) -> Response:
        """The form for the token."""
        return self._page(request, "login.html", error=None)

    async def login(self, request: Request) -> Response:
        """Keep the token as the session, when the API accepts it."""
        form = await self._checked_form(request)
        token = str(form.get("token", "")).strip()
        if not token or len(token) > MAX_TOKEN or not token.isascii() or not token.isprintable():
            return self._page(request, "login.html", 400, error="This is not a token.")
        try:
            await self._api.guilds(token)
        except ApiError as error:
            if error.status == 401:
                return self._page(request, "login.html", 401, error=f"The token was not accepted: {error}.")
            raise
        answer = RedirectResponse("/", 303)
        self._set_cookie(answer, SESSION_COOKIE, token)
        return answer

    async def logout(self, request: Request) -> Response:
        """Forget the session."""
        await self._checked_form(request)
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict", secure=self._secure)
        return answer

    async def guilds(self, request: Request) -> Response:
        """The guilds of the token."""
        return self._page(request, "guilds.html", guilds=await self._api.guilds(_token(request)))

    async def guild(self, request: Request) -> Response:
        """One guild: what its rules did, and the rules."""
        token, guild_id = _token(request), _guild_id(request)
        actions, rules = await self._api.actions(token, guild_id), await self._api.rules(token, guild_id)
        return self._page(request, "guild.html", guild_id=guild_id, actions=actions, rules=rules)

    async def actions(self, request: Request) -> Response:
        """The rows of the table of actions, for the script that keeps the page up to date."""
        actions = await self._api.actions(_token(request), _guild_id(request))
        return self._templates.TemplateResponse(request, "actions.html", {"actions": actions})

    async def on_api_error(self, request: Request, error: Exception) -> Response:
        """A token that has run out leads back to the form; all else is a page that says so."""
        assert isinstance(error, ApiError)  # noqa: S101
        if error.status == 401:
            return self._to_login(request)
        status = error.status if error.status in (403, 404, 423) else 502
        return self._page(request, "error.html", status, text=str(error))

    async def on_http(self, request: Request, error: Exception) -> Response:
        """Errors of our own."""
        assert isinstance(error, HTTPException)  # noqa: S101
        if error.status_code == 401:
            return self._to_login(request)
        return self._page(request, "error.html", error.status_code, text=error.detail)

    @staticmethod
    def _to_login(request: Request) -> Response:
        if request.headers.get("X-Requested-With") == "refresh":
            return Response(status_code=401)
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(SESSION_COOKIE)
        return answer

    async def _checked_form(self, request: Request) -> dict[str, str]:
        """The form, when it comes from our own page: same origin, and the value of the CSRF cookie inside."""
        origin = request.headers.get("Origin")
        if origin and urlsplit(origin).netloc != request.headers.get("Host"):
            raise HTTPException(403, "the form comes from another site")
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise HTTPException(403, "the form comes from another site")
        async with request.form(max_files=0, max_fields=5) as form:
            values = {key: value for key, value in form.items() if isinstance(value, str)}
        expected = request.cookies.get(CSRF_COOKIE, "")
        if not expected or not hmac.compare_digest(expected.encode(), values.get("csrf", "").encode()):
            raise HTTPException(403, "the form is too old; open the page again")
        return values

    def _page(self, request: Request, name: str, status: int = 200, **values: object) -> Response:
        csrf = request.cookies.get(CSRF_COOKIE, "")
        fresh = len(csrf) != 43 or not csrf.isascii()
        csrf = random.token_urlsafe(32) if fresh else csrf
        values |= {"csrf": csrf, "logged_in": SESSION_COOKIE in request.cookies, "environment": self._environment}
        answer = self._templates.TemplateResponse(request, name, values, status_code=status)
        if fresh:
            self._set_cookie(answer, CSRF_COOKIE, csrf)
        return answer

    def _set_cookie(self, answer: Response, name: str, value: str) -> None:
        answer.set_cookie(name, value, max_age=SESSION_SECONDS, httponly=True, samesite="strict", secure=self._secure)


def _token(request: Request) -> str:
    token = request.cookies.get(SESSION_COOKIE)
    if not token:
        raise HTTPException(401)
    return token


def _guild_id(request: Request) -> str:
    try:
        return str(snowflake.parse(request.path_params["guild_id"]))
    except ValueError as error:
        raise HTTPException(404, str(error)) from None


def build(api: Api, settings: Settings) -> Starlette:
    """The application."""
    pages = Dashboard(api, settings)
    return Starlette(routes=pages.routes(), exception_handlers={ApiError: pages.on_api_error, HTTPException: pages.on_http})


async def run(context: Context) -> None:
    """Serve the pages until the stop event."""
    api = Api(context.settings.gateway_url)
    context.health.add("gateway", api.ping)
    await api.open()
    try:
        await serve(context, Observed(build(api, context.settings), HEADERS))
    finally:
        await api.close()
