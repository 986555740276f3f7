# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The port for the platform: /healthz (the process is alive), /readyz (its dependencies answer), /metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from dcm_service.config import Settings
from dcm_service.errors import ServiceError

Check = Callable[[], Awaitable[None]]
CHECK_TIMEOUT = 2.0
CACHE_SECONDS = 0.5


class Health:
    """Named checks of what the process depends on; a check passes, or raises with a reason."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._refreshers: list[Check] = []
        self._cached: tuple[float, dict[str, str]] = (0.0, {})
        self.started = False
        self.draining = False

    def add(self, name: str, check: Check) -> None:
        """Register a dependency."""
        self._checks[name] = check

    def on_scrape(self, refresh: Check) -> None:
        """Register what brings gauges up to date before a scrape."""
        self._refreshers.append(refresh)

    async def states(self) -> dict[str, str]:
        """The state of each dependency: `ok`, or what is wrong."""
        at, states = self._cached
        if time.monotonic() - at > CACHE_SECONDS:
            results = await asyncio.gather(*(self._run(check) for check in self._checks.values()))
            states = dict(zip(self._checks, results, strict=True))
            self._cached = (time.monotonic(), states)
        return states

    async def refresh(self) -> None:
        """Bring the gauges up to date; a dependency that is away does not stop a scrape."""
        await asyncio.gather(*(self._run(refresh) for refresh in self._refreshers))

    @staticmethod
    async def _run(check: Check) -> str:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                await check()
        except TimeoutError:
            return f"no answer within {CHECK_TIMEOUT:g} s"
        except Exception as error:
            return f"{type(error).__name__}: {error}".splitlines()[0][:200]
        return "ok"


def _application(health: Health) -> web.Application:
    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def readyz(_request: web.Request) -> web.Response:
        states = await health.states()
        ready = health.started and not health.draining and all(state == "ok" for state in states.values())
        body = {"ready": ready, "draining": health.draining, "dependencies": states}
        return web.json_response(body, status=200 if ready else 503)

    async def metrics(request: web.Request) -> web.Response:
        await health.refresh()
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(REGISTRY), headers={"Content-Type": content_type})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app


async def start(settings: Settings, health: Health) -> web.AppRunner:
    """Serve until the returned runner is cleaned up."""
    runner = web.AppRunner(_application(health), access_log=None, handle_signals=False)
    await runner.setup()
    await listen(runner, settings.bind, settings.ops_port)
    return runner


async def listen(runner: web.AppRunner, address: str, port: int) -> None:
    """Open the port, or say which one is taken."""
    try:
        await web.TCPSite(runner, address, port).start()
    except OSError as error:
        await runner.cleanup()
        raise ServiceError(f"cannot listen on {address}:{port}: {error.strerror}") from None
