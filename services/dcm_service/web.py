# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What both HTTP services share: one middleware for metrics, traces, logs and headers, and the server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import Any

import structlog
import uvicorn
from opentelemetry.trace import SpanKind, Status, StatusCode
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dcm_service import logs, metrics, tracing
from dcm_service.errors import ServiceError
from dcm_service.runtime import Context

log = logs.get(__name__)
MAX_BODY_BYTES = 64 * 1024
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class Observed:
    """Outermost ASGI layer: a span, RED metrics by route template, one log line, security headers, a bound for bodies."""

    def __init__(self, app: ASGIApp, headers: dict[str, str]) -> None:
        self._app = app
        self._headers = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store", **headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        headers = Headers(scope=scope)
        parent = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        structlog.contextvars.clear_contextvars()
        with (
            tracing.span(method, SpanKind.SERVER, parent, http__request__method=method) as current,
            metrics.HTTP_IN_FLIGHT.track_inprogress(),
        ):
            started = time.perf_counter()
            status = await self._respond(scope, receive, send, headers)
            route = _route(scope)
            current.update_name(f"{method} {route}")
            current.set_attributes({"http.route": route, "http.response.status_code": status})
            if status >= 500:
                current.set_status(Status(StatusCode.ERROR))
            _record(method, route, status, time.perf_counter() - started, scope)

    async def _respond(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> int:
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                out = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    out.setdefault(name, value)
                out["X-Trace-Id"] = tracing.trace_id() or ""
            await send(message)

        try:
            length = headers.get("content-length", "0")
            if not length.isascii() or not length.isdigit() or int(length) > MAX_BODY_BYTES or "transfer-encoding" in headers:
                answer = JSONResponse({"error": f"a body of known length, at most {MAX_BODY_BYTES} bytes, is expected"}, 413)
                await answer(scope, receive, send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        except Exception as error:
            log.exception("request failed", error=type(error).__name__)
            if status == 0:
                body = {"error": "internal error", "trace_id": tracing.trace_id()}
                await JSONResponse(body, 500)(scope, receive, send_with_headers)
            status = 500
        return status


def _route(scope: Scope) -> str:
    path = getattr(scope.get("route"), "path", None)
    return str(path) if path else "unmatched"


def _record(method: str, route: str, status: int, seconds: float, scope: Scope) -> None:
    metrics.HTTP_REQUESTS.labels(method, route, str(status)).inc()
    metrics.HTTP_SECONDS.labels(method, route).observe(seconds, exemplar=tracing.exemplar())
    guild = scope.get("path_params", {}).get("guild_id")
    write = log.error if status >= 500 else log.info
    write(
        "request", method=method, route=route, status=status, duration_ms=round(seconds * 1000, 1), guild_id=guild if status < 400 else None
    )


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: the runtime decides when to stop."""

    def capture_signals(self) -> Any:
        """Capture nothing."""
        return contextlib.nullcontext()


def _listen(address: str, port: int) -> socket.socket:
    """Open the port, or say which one is taken."""
    try:
        return socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=1024)
    except OSError as error:
        raise ServiceError(f"cannot listen on {address}:{port}: {error.strerror}") from None


async def serve(context: Context, app: ASGIApp) -> None:
    """Serve until the stop event, then answer new requests while the platform takes us out, then finish what is in flight."""
    settings = context.settings
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        lifespan="off",
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(settings.shutdown_seconds - settings.drain_seconds) or 1,
        h11_max_incomplete_event_size=32 * 1024,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[_listen(settings.bind, settings.http_port)]))
    context.health.started = True
    waiter = asyncio.create_task(context.stop.wait())
    await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        await asyncio.sleep(settings.drain_seconds)
        server.should_exit = True
    waiter.cancel()
    await task
