"""One trace a saga, across engines and workers; nothing where nobody traces."""

from __future__ import annotations

import contextlib

import pytest
from msgspec.structs import replace
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from saga_orchestrator import Step, StepFailed
from saga_orchestrator.core.commands import Answer, Reply
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.ports.broker import QueueSpec
from saga_orchestrator.telemetry import tracing
from saga_orchestrator.wire.envelope import read_commands
from tests.support.inbox import Inbox
from tests.unit.runtime.stage import (
    Service,
    WatchedStore,
    fresh_name,
    open_broker,
    open_manager,
    open_store,
    open_worker,
    raising,
    virtual,
)
from tests.unit.wire.samples import command

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans(monkeypatch) -> InMemorySpanExporter:
    """Set a provider, as a program does, and keep what ends."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


@contextlib.contextmanager
def called(spans) -> None:
    """Be within a caller's span, as in an HTTP request."""
    del spans
    with trace.get_tracer("shop").start_as_current_span("POST /orders") as span:
        yield span


@virtual
async def test_one_trace_a_saga_across_processes(spans):
    """Start, actions and undos, here and in a worker, are below the caller's span."""
    name, near, far = fresh_name(), Service("near", "a"), Service("far", "bc")
    far.does["c"] = raising(StepFailed("no"))
    broker = await open_broker(name)
    worker = await open_worker(broker, far.handlers)
    async with open_manager(
        near.handlers, store=f"memory://{name}", broker=await open_broker(name)
    ) as manager:
        with called(spans) as caller:
            saga = await manager.start("order", [*near.chain("a"), *far.chain("bc")])
        assert (await manager.wait(saga.id)).is_compensated
        started = (await manager.record(saga.id)).history[0]
    await worker.close()
    done = spans.get_finished_spans()
    assert {f"{one.context.trace_id:032x}" for one in done} == {
        f"{caller.get_span_context().trace_id:032x}"
    }
    (start,) = (one for one in done if one.name == "start order")
    assert (start.kind, start.parent.span_id) == (
        SpanKind.PRODUCER,
        caller.get_span_context().span_id,
    )
    assert started.data["traceparent"] == tracing.traceparent_of(
        trace.NonRecordingSpan(start.context)
    )
    runs = [one for one in done if one.kind is SpanKind.CONSUMER]
    assert [one.name for one in runs] == [
        *("process near.a", "process far.b", "process far.c"),
        *("process far.undo_b", "process near.undo_a"),
    ]
    assert {one.parent.span_id for one in runs} == {start.context.span_id}
    assert {one.attributes["saga.id"] for one in runs} == {saga.id}
    refused = runs[2]
    assert refused.attributes["saga.answer"] == "refused"
    assert refused.status.status_code is StatusCode.ERROR
    assert runs[3].attributes["saga.direction"] == "compensation"


@virtual
async def test_another_engine_goes_on_with_the_trace(spans):
    """What a client started, or an engine that died, has its trace in the store."""
    name, service = fresh_name(), Service("near", "a")
    url = f"memory://{name}"
    async with open_manager(store=url) as client:
        with called(spans) as caller:
            saga = await client.start("order", service.chain("a"))
    async with open_manager(service.handlers, store=url) as manager:
        await manager.wait(saga.id)
    (run,) = (
        one for one in spans.get_finished_spans() if one.kind is SpanKind.CONSUMER
    )
    assert run.context.trace_id == caller.get_span_context().trace_id


@virtual
async def test_a_saga_without_a_caller_has_a_trace_of_its_own(spans):
    """Two sagas that nobody called are two traces."""
    service = Service("near", "a")
    async with open_manager(service.handlers) as manager:
        for _ in range(2):
            saga = await manager.start("order", service.chain("a"))
            await manager.wait(saga.id)
    traces = [one.context.trace_id for one in spans.get_finished_spans()]
    assert len(traces) == 4
    assert len(set(traces)) == 2


@virtual
async def test_a_handler_s_own_spans_are_below_its_run(spans):
    """The run is the current span while the handler runs."""
    service = Service("near", "a")

    async def act(ctx):
        with trace.get_tracer("shop").start_as_current_span("charge"):
            return

    service.does["a"] = act
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("order", service.chain("a"))
        await manager.wait(saga.id)
    by_name = {one.name: one for one in spans.get_finished_spans()}
    assert by_name["charge"].parent.span_id == by_name["process near.a"].context.span_id


@virtual
async def test_a_command_carries_the_trace_on_the_wire(spans):
    """Whatever reads the queue finds ``traceparent`` in the envelope."""
    name, inbox = fresh_name(), Inbox(ack=True)
    broker = await open_broker(name)
    queue = QueueSpec("saga.steps.far", ("step.far.a",), "saga.undelivered")
    await broker.consume(queue, inbox, prefetch=1)
    async with open_manager(engine=True, broker=await open_broker(name)) as manager:
        saga = await manager.start("order", [Step("a", action="far.a")])
        (command,) = read_commands((await inbox.next()).body)
        started = (await manager.record(saga.id)).history[0]
    assert command.traceparent == started.data["traceparent"]


@virtual
async def test_nothing_is_looked_up_where_nobody_traces():
    """Without a provider there is no span, no field, and no read of the store."""
    name, service = fresh_name(), Service("near", "a")
    store = WatchedStore(await open_store(name))
    async with open_manager(store=f"memory://{name}") as client:
        saga = await client.start("order", service.chain("a"))
    async with open_manager(service.handlers, store=store) as manager:
        await manager.wait(saga.id)
        history = (await manager.record(saga.id)).history
    assert store.calls["traceparents"] == 0
    assert history[0].kind is HistoryKind.SAGA_STARTED
    assert "traceparent" not in history[0].data


def test_a_reply_says_which_run_it_is_of(spans):
    """A reply's place in the trace is its run's, below the command's."""
    asked = replace(command(), traceparent=CALLER)
    reply = Reply(asked.fence, asked.token, Answer.SUCCEEDED)
    with tracing.running(asked, "saga.steps") as run:
        marked = run.ended(reply)
    (span,) = spans.get_finished_spans()
    assert f"00-{span.context.trace_id:032x}" == CALLER[:35]
    assert marked.traceparent == f"{CALLER[:36]}{span.context.span_id:016x}-01"
