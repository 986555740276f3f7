# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""One JSON object a line on stdout: time, level, service, environment, guild_id, trace_id, message, and the event's own fields."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from opentelemetry import trace

from dcm_service.config import Settings

Event = MutableMapping[str, Any]
FIELDS = ("time", "level", "service", "environment", "guild_id", "trace_id", "message")


def _add_trace_id(_logger: Any, _method: str, event: Event) -> Event:
    context = trace.get_current_span().get_span_context()
    event.setdefault("trace_id", format(context.trace_id, "032x") if context.is_valid else None)
    return event


def _in_order(_logger: Any, _method: str, event: Event) -> Event:
    """The agreed fields first and always there, the others after them; ids as strings, as everywhere in JSON."""
    guild = event.get("guild_id")
    event["guild_id"] = None if guild is None else str(guild)
    event["message"] = event.pop("event", "")
    return {**{name: event.get(name) for name in FIELDS}, **event}


def configure(settings: Settings, service: str) -> None:
    """Send structlog and the standard library's logging through the same processors."""

    def add_service(_logger: Any, _method: str, event: Event) -> Event:
        event["service"], event["environment"] = service, settings.environment
        return event

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        add_service,
        _add_trace_id,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    last: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.format_exc_info]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.PositionalArgumentsFormatter(), structlog.stdlib.ExtraAdder()],
        processors=[*last, _in_order, structlog.processors.JSONRenderer()],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    if settings.log_level == "DEBUG":
        logging.getLogger("discord").setLevel(logging.INFO)  # its debug lines hold what people write
    for noisy in ("uvicorn.access", "uvicorn.error", "aiohttp.access", "asyncio", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for one module."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
