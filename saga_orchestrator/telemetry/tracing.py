"""Traces: one a saga, across processes, through the OpenTelemetry API.

A start has a span, below the caller's where there is one. Its ``traceparent`` (W3C
Trace Context) is kept with the saga and travels in every command; each run of a
handler is a span below it, in whichever process it runs, and its reply carries the
run's. Names follow OpenTelemetry's conventions for messaging, which are still in
development: they are all here.

Where no provider is set, nothing is made, read or sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version

from msgspec.structs import replace
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    NoOpTracerProvider,
    ProxyTracerProvider,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)

from saga_orchestrator.core.commands import Answer, Command, Reply

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\Z")
_FAILED = frozenset({Answer.REFUSED, Answer.UNKNOWN})


def is_on() -> bool:
    """Tell whether the program has set a tracer provider."""
    provider = trace.get_tracer_provider()
    return not isinstance(provider, ProxyTracerProvider | NoOpTracerProvider)


@contextmanager
def starting(saga_name: str) -> Iterator[str]:
    """Make a span of a saga's start; give its ``traceparent``, or the caller's.

    Without a provider the caller's is given on, if it has one.
    """
    if not is_on():
        yield traceparent_of(trace.get_current_span())
        return
    with _tracer().start_as_current_span(
        f"start {saga_name}",
        kind=SpanKind.PRODUCER,
        attributes={"saga.name": saga_name},
    ) as span:
        yield traceparent_of(span)


@contextmanager
def running(command: Command, queue: str) -> Iterator[Run]:
    """Make a span of a handler's run, below the start of its saga."""
    with _tracer().start_as_current_span(
        f"process {command.action}",
        context=_context_of(command.traceparent),
        kind=SpanKind.CONSUMER,
        attributes={
            "messaging.system": "rabbitmq",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": queue,
            "saga.id": command.owner,
            "saga.name": command.saga_name,
            "saga.step": command.fence.step,
            "saga.direction": str(command.fence.direction),
            "saga.generation": command.fence.generation,
            "saga.attempt": command.attempt,
        },
    ) as span:
        yield Run(span)


class Run:
    """A handler's run, to be told how it ended."""

    def __init__(self, span: Span | None) -> None:
        self._span = span

    def ended(self, reply: Reply) -> Reply:
        """Note the answer, and mark it; a refusal or an unknown outcome is an error."""
        if self._span is None:
            return reply
        self._span.set_attribute("saga.answer", str(reply.answer))
        if reply.answer in _FAILED:
            self._span.set_attribute("error.type", reply.error_type or "unknown")
            # Its text may hold a customer's data, and stays in the saga's history.
            self._span.set_status(Status(StatusCode.ERROR))
        return replace(reply, traceparent=traceparent_of(self._span))


UNTRACED = nullcontext(Run(None))
"""Stands for ``running`` where nobody traces."""


def traceparent_of(span: Span) -> str:
    """Return a span's place in its trace as W3C text; empty where it has none."""
    context = span.get_span_context()
    if not context.is_valid:
        return ""
    return (
        f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    )


def _context_of(traceparent: str) -> Context:
    """Return where a span belongs that has this parent; without one, in a new trace."""
    match = _TRACEPARENT.match(traceparent)
    if match is None:
        return Context()
    parent = SpanContext(
        trace_id=int(match[1], 16),
        span_id=int(match[2], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(match[3], 16)),
    )
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


def _tracer() -> trace.Tracer:
    return trace.get_tracer("saga_orchestrator", version("saga-orchestrator"))
