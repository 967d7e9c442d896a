"""Where our own processes send their spans, as OpenTelemetry's variables say.

``OTEL_TRACES_EXPORTER`` is ``otlp``, ``console`` (JSON on stderr, to look at) or
``none``; ``OTEL_EXPORTER_OTLP_ENDPOINT`` alone means ``otlp``. The SDK and its
exporter come with the extra ``otel``. A program that embeds a manager sets its own
provider.
"""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable, Mapping

import structlog
from opentelemetry import trace

from saga_orchestrator.telemetry import tracing

FLUSH_SECONDS = 3.0
"""For the last spans, at the end of the process: a drain may just have taken 25 s."""

_log = structlog.get_logger("saga.process")


def export_traces(environment: Mapping[str, str], service: str) -> None:
    """Set a tracer provider, where the environment asks for one and none is set.

    What cannot be had costs the traces and nothing else; a log line says why.

    Args:
        environment: the process's variables.
        service: the ``service.name`` of this process, unless
            ``OTEL_SERVICE_NAME`` gives one.
    """
    name = environment.get("OTEL_TRACES_EXPORTER", "")
    if not name and environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        name = "otlp"
    if name in ("", "none") or tracing.is_on():
        return
    try:
        _set_provider(name, environment.get("OTEL_SERVICE_NAME") or service)
    except ImportError as error:
        _log.warning(
            "no traces",
            problem=str(error),
            fix="pip install 'saga-orchestrator[otel]'",
        )
    except ValueError as error:
        _log.warning("no traces", problem=str(error), fix="use otlp, console or none")


def _set_provider(name: str, service: str) -> None:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import (
        BatchSpanProcessor,
        ConsoleSpanExporter,
        SimpleSpanProcessor,
    )

    processor: SpanProcessor
    if name == "console":
        processor = SimpleSpanProcessor(
            ConsoleSpanExporter(
                out=sys.stderr, formatter=lambda span: span.to_json(indent=None) + "\n"
            )
        )
    elif name == "otlp":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
            OTLPSpanExporter,
        )

        processor = BatchSpanProcessor(OTLPSpanExporter())
    else:
        raise ValueError(f"OTEL_TRACES_EXPORTER: {name!r} is not known")
    resource = Resource.create({"service.name": service})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)
    atexit.register(_flush, provider.shutdown)


def _flush(shutdown: Callable[[], None]) -> None:
    """Send what is left; a collector that stalls must not hold up the end."""
    thread = threading.Thread(target=shutdown, name="saga-traces", daemon=True)
    thread.start()
    thread.join(FLUSH_SECONDS)
