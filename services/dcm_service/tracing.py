# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""OpenTelemetry: spans across bot, Redis, worker, database and across dashboard and gateway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from dcm_service import __version__
from dcm_service.config import Settings

_PROPAGATOR = TraceContextTextMapPropagator()
_TRACER = trace.get_tracer("dcm_service", __version__)


def configure(settings: Settings, service: str) -> TracerProvider:
    """Install the provider. OTEL_TRACES_SAMPLER and _ARG are read by the SDK; nothing is exported without an endpoint."""
    attributes = {
        "service.name": f"dcm-{service}",
        "service.namespace": "dcm",
        "service.version": __version__,
        "deployment.environment.name": settings.environment,
    }
    provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    if settings.otlp_endpoint:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


@contextmanager
def span(name: str, kind: SpanKind = SpanKind.INTERNAL, parent: Mapping[str, str] | None = None, **attributes: Any) -> Iterator[Span]:
    """Run a block inside a span; `parent` holds W3C headers of the caller, where there is one."""
    context = _PROPAGATOR.extract(dict(parent)) if parent is not None else None
    values = {key.replace("__", "."): value for key, value in attributes.items() if value is not None}
    with _TRACER.start_as_current_span(name, context=context, kind=kind, attributes=values) as current:
        yield current


def inject(carrier: MutableMapping[str, str]) -> None:
    """Write the current context as W3C headers."""
    _PROPAGATOR.inject(carrier)


def trace_id() -> str | None:
    """The current trace id in hexadecimal, as logs and tables carry it."""
    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None


def exemplar() -> dict[str, str] | None:
    """The current trace as an exemplar of a metric, when the trace is sampled."""
    context = trace.get_current_span().get_span_context()
    return {"trace_id": format(context.trace_id, "032x")} if context.is_valid and context.trace_flags.sampled else None
