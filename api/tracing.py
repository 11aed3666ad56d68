"""OpenTelemetry traces: one span a request, configured by the standard OTEL_ variables, off without them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from litestar.plugins.opentelemetry import OpenTelemetryConfig, OpenTelemetryPlugin
from litestar.types import Scope
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import get_current_span

from api.requests import Headers, request_id
from models.values.errors import InvalidValueError

EXPORTER = "OTEL_TRACES_EXPORTER"
_ADDRESSES = ("http.url", "http.target", "url.path", "url.query")


def configured_tracer_provider(environment: Mapping[str, str]) -> TracerProvider | None:
    """Return a provider that sends spans to the exporter which OTEL_TRACES_EXPORTER names, None where it names none.

    `console` is built in; others, `otlp` among them, come as packages of their own. The rest (OTEL_SERVICE_NAME,
    OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_ENDPOINT ...) is read by the SDK. Raises InvalidValueError.
    """
    name = environment.get(EXPORTER, "none").strip()
    if name in {"", "none"}:
        return None
    found = next(iter(entry_points(group="opentelemetry_traces_exporter", name=name)), None)
    if found is None:
        raise InvalidValueError("no such exporter is installed", field=EXPORTER, value=name)
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(found.load()()))
    return provider


def tracing_plugin(provider: TracerProvider) -> OpenTelemetryPlugin:
    """Return the plugin that opens a span for each request; `name_span` says what it was for."""
    return OpenTelemetryPlugin(
        OpenTelemetryConfig(
            tracer_provider=provider, exclude_spans=["send", "receive"], scope_span_details_extractor=_before_routing
        )
    )


def _before_routing(scope: Scope) -> tuple[str, dict[Any, str]]:
    """Say nothing of the address: signed links are addresses, and whoever reads traces must not be able to use them."""
    return str(scope.get("method", "")), dict.fromkeys(_ADDRESSES, "")


def name_span(_headers: Headers, scope: Scope) -> None:
    """Name the span by the route, known only now, and by the request id that the caller sees."""
    span = get_current_span()
    span.set_attribute("alacarte.request_id", request_id(scope))
    if template := scope.get("path_template"):
        span.update_name(f"{scope.get('method')} {template}")
        span.set_attribute("http.route", str(template))
