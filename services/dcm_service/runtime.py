# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What every process does around its own work: settings, logs, traces, health, signals, an orderly end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from dcm_service import logs, ops, tracing
from dcm_service.config import Process, Settings
from dcm_service.errors import ConfigError, ServiceError
from dcm_service.secretfiles import SecretFiles


@dataclass
class Context:
    """What a process gets to work with."""

    process: Process
    settings: Settings
    secrets: SecretFiles
    health: ops.Health = field(default_factory=ops.Health)
    stop: asyncio.Event = field(default_factory=asyncio.Event)


Work = Callable[[Context], Awaitable[None]]
log = logs.get(__name__)


def run(process: Process, settings: Settings, work: Work) -> int:
    """Run one process to its end and return its exit status."""
    secrets = SecretFiles(settings.secrets_dir)
    problems = secrets.problems(process)
    if problems:
        raise ConfigError("\n".join(problems))
    logs.configure(settings, process)
    provider = tracing.configure(settings, process)
    try:
        return asyncio.run(_main(Context(process, settings, secrets), work))
    finally:
        provider.shutdown()


async def _main(context: Context, work: Work) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, context.stop.set)
    runner = await ops.start(context.settings, context.health)
    log.info("started", ops_port=context.settings.ops_port)
    try:
        return await _supervise(context, asyncio.ensure_future(work(context)))
    finally:
        await runner.cleanup()


async def _supervise(context: Context, task: asyncio.Future[None]) -> int:
    """Wait for the work to end, or for a signal; after a signal the work has shutdown_seconds to finish what it holds."""
    waiter = asyncio.ensure_future(context.stop.wait())
    both: set[asyncio.Future[Any]] = {task, waiter}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    if not task.done():
        context.health.draining = True
        log.info("stopping", reason="signal")
        await asyncio.wait({task}, timeout=context.settings.shutdown_seconds)
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=2)
        log.error("stopped before all work was finished", shutdown_seconds=context.settings.shutdown_seconds)
        return 1
    return _result(task)


def _result(task: asyncio.Future[None]) -> int:
    error = task.exception()
    if isinstance(error, ServiceError):
        log.error("stopped", error=str(error))
        return 1
    if error is not None:
        log.error("stopped by an unexpected error", exc_info=error)
        return 1
    log.info("stopped")
    return 0
