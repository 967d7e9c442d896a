"""The kit agrees with the real runtime: the same script, the same saga."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

from saga_orchestrator import Direction, Handlers, RetryPolicy, SagaDefinition, Step
from saga_orchestrator.ports.records import SagaRecord
from saga_orchestrator.testing import Given, action, given, operator, undo
from tests.unit.testing.reality import Reality

ONCE = RetryPolicy(max_attempts=1)
TWICE = RetryPolicy(max_attempts=2)


def seconds(number: float) -> dt.timedelta:
    """Return a duration."""
    return dt.timedelta(seconds=number)


def step(name: str, **options: Any) -> Step:
    """Return a step of one service, with an undo, that nobody waits long for."""
    options.setdefault("action", f"near.{name}")
    options.setdefault("compensation", f"near.undo_{name}")
    options.setdefault("limit", seconds(300))
    options.setdefault("timeout", seconds(10))
    return Step(name, **options)


def saga(*steps: Step | str, **options: Any) -> Given:
    """Return a saga of these steps."""
    whole = [one if isinstance(one, Step) else step(one) for one in steps]
    return given(SagaDefinition("both", steps=whole, **options), {"n": 1})


def long_handlers(*actions: str) -> Handlers:
    """Return a service whose handlers are long."""
    service = Handlers("far")
    for name in actions:

        async def run(ctx) -> None:
            """Succeed."""

        service.step(name, long=True)(run)
    return service


def long_saga(*steps: Step) -> Given:
    """Return a saga whose first step's handler is a long one."""
    definition = SagaDefinition("both", steps=steps)
    return given(definition, {"n": 1}, handlers=[long_handlers("far.a")])


ABC = saga("a", "b", "c")
NO_C = action("c").refuses("no")
PARALLEL = (
    step("root"),
    step("left", depends_on=["root"]),
    step("right", depends_on=["root"]),
    step("last", depends_on=["left", "right"]),
)
HASTY = (step("a", limit=seconds(50)), step("b", limit=seconds(50)))
DAWDLING = (
    action("a").comes_later(seconds(25), times=1),
    action("b").comes_later(seconds(25), times=2),
)
LONG = (step("a", action="far.a", compensation=""), step("b"))

SCRIPTS = {
    "all goes well": ABC,
    "a refusal": ABC.when(NO_C),
    "a refusal that is retried": saga("a", step("b", retry=TWICE)).when(
        action("b").refuses("not yet", retryable=True)
    ),
    "a refusal by name": saga(
        "a", step("b", retry=RetryPolicy(non_retryable=("Declined",)))
    ).when(action("b").errs(error_type="Declined")),
    "errors, then well": ABC.when(action("b").errs(times=2)),
    "errors to the last attempt": ABC.when(action("b").errs()),
    "errors, then a refusal": ABC.when(action("b").errs(times=1).refuses()),
    "an effect, then an error": ABC.when(action("b").errs_after_effect(times=1)),
    "timeouts": ABC.when(action("b").times_out(times=1)),
    "timeouts to the last": saga("a", step("b", retry=TWICE)).when(
        action("b").times_out()
    ),
    "an undo that times out": ABC.when(NO_C, undo("b").times_out(times=1)),
    "a skip": ABC.when(action("b").skips(), NO_C),
    "an undo that skips": ABC.when(undo("b").skips(), NO_C),
    "later": ABC.when(action("b").comes_later(seconds(30), "busy", times=2)),
    "later, then an abort": ABC.when(
        action("b").comes_later(seconds(30)), operator.compensates(at=seconds(40))
    ),
    "an undo that comes later": ABC.when(
        NO_C, undo("b").comes_later(seconds(5), times=1)
    ),
    "a lost command": ABC.when(action("b").never_arrives(times=2)),
    "a command lost for ever": ABC.when(action("b").never_arrives()),
    "a lost answer": ABC.when(action("b").loses_its_answer(times=1)),
    "a lost undo": ABC.when(NO_C, undo("b").never_arrives(times=1)),
    "an answer that comes twice": ABC.when(action("b").answers_twice()),
    "a command that comes twice": ABC.when(action("b").runs_twice()),
    "an answer after a resend": ABC.when(action("b").answers_after(seconds(100))),
    "a success after the end": ABC.when(
        action("b").answers_after(seconds(400), times=1).never_arrives()
    ),
    "a residual that is undone": ABC.when(
        action("b").answers_after(seconds(400), times=1).never_arrives(),
        operator.undoes_residuals(),
    ),
    "a residual that is dismissed": ABC.when(
        action("b").answers_after(seconds(400), times=1).never_arrives(),
        operator.dismisses_residuals(),
    ),
    "deferred": ABC.when(action("b").defers(seconds(200), {"by": "hand"})),
    "deferred for ever": ABC.when(action("b").defers()),
    "side by side": saga(*PARALLEL),
    "one of two refuses": saga(*PARALLEL).when(action("right").refuses()),
    "one of two is slow": saga(*PARALLEL).when(
        action("left").answers_after(seconds(5)), action("right").refuses()
    ),
    "all undone at once": saga(*PARALLEL, parallel_compensation=True).when(
        action("last").refuses()
    ),
    "past the pivot": saga("a", step("b", pivot=True), "c").when(
        action("c").refuses(times=1), operator.retries()
    ),
    "past the pivot by force": saga("a", step("b", pivot=True), "c").when(
        NO_C, operator.compensates(force=True)
    ),
    "parked, then undone": saga("a", "b", on_failure="park").when(
        action("b").refuses(), operator.compensates()
    ),
    "parked, then resolved": saga("a", "b", "c", on_failure="park").when(
        action("b").refuses(), operator.resolves("b", {"by": "hand"})
    ),
    "an undo that gives up": saga("a", step("b", compensation_retry=TWICE), "c").when(
        NO_C, undo("b").errs()
    ),
    "an undo that gives up, and the rest": saga(
        "a",
        step("b", compensation_retry=ONCE),
        "c",
        on_compensation_failure="continue",
    ).when(NO_C, undo("b").errs()),
    "an undo that gives up is retried": saga(
        "a", step("b", compensation_retry=ONCE), "c"
    ).when(NO_C, undo("b").errs(times=1), operator.retries()),
    "an undo that gives up is resolved": saga(
        "a", step("b", compensation_retry=ONCE), "c"
    ).when(NO_C, undo("b").errs(), operator.resolves("b")),
    "an undo that refuses": ABC.when(NO_C, undo("b").refuses()),
    "a completed saga by force": ABC.when(operator.compensates(force=True)),
    "an operator who does not wait": ABC.when(
        action("b").defers(), operator.gives_up("b", at=seconds(20))
    ),
    "a limit": saga(*HASTY).when(action("b").comes_later(seconds(25))),
    "a deadline": saga(*HASTY, deadline=seconds(60)).when(*DAWDLING),
    "a deadline that suspends": saga(
        *HASTY, deadline=seconds(60), on_deadline="suspend"
    ).when(*DAWDLING, operator.retries()),
    "an input that is not there": saga(
        "a", step("b", input={"x": {"$ref": "outputs.a.missing"}})
    ),
    "an input from an output": saga(
        "a", step("b", input={"x": {"$ref": "outputs.a.there"}})
    ).when(action("a").returns({"there": 1}, update={"seen": True})),
    "a condition": saga("a", step("b", when={"context.n": 2}), "c"),
    "a condition on what is not there": saga("a", step("b", when={"context.m": 2})),
    "always undone": saga("a", step("b", undo_failed="always")).when(
        action("b").refuses()
    ),
    "never undone": saga("a", step("b", undo_failed="never", retry=ONCE)).when(
        action("b").errs()
    ),
    "a long handler": long_saga(*LONG).when(action("b").refuses()),
    "a long handler that errs": long_saga(*LONG).when(action("a").errs(times=1)),
    "a long handler falls silent": long_saga(*LONG).when(
        action("a").loses_its_answer(times=1)
    ),
    "no steps": saga(),
}


def told(record: SagaRecord) -> dict[str, Any]:
    """Return what must not depend on where the saga ran."""
    saga = record.saga
    return {
        "state": saga.state,
        "reason": saga.reason,
        "context": dict(saga.context),
        "outputs": dict(saga.outputs),
        "steps": [
            (status.state, status.outcome, status.generation, status.attempt)
            for status in saga.steps
        ],
        "history": [
            (str(entry.kind), entry.step, entry.direction, entry.generation)
            for entry in record.history
        ],
        "ignored": [one.reason for one in record.ignored],
        "residuals": [
            (one.fence.step, one.settled is not None) for one in record.residuals
        ],
    }


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_the_kit_plays_what_the_runtime_does(script: Given) -> None:
    """State, history, ignored answers, residuals, and which handlers ran."""
    # A copy that came while the first one is at work would wait for its answer.
    comes_twice = script is SCRIPTS["a command that comes twice"]
    reality = Reality(script, concurrency=1) if comes_twice else Reality(script)
    real = reality.play()
    outcome = asyncio.run(script.play())
    assert told(outcome.record) == told(real)
    runs = [
        (call.step, call.direction)
        for call in outcome.calls
        if call.result != "answered"
    ]
    assert runs == reality.runs


@pytest.mark.parametrize(("limit", "state"), [(300, "completed"), (100, "compensated")])
def test_a_command_that_waits_in_its_queue(limit: float, state: str) -> None:
    """It is not sent again meanwhile; after its limit it is not begun."""
    slow = {"timeout": seconds(300), "depends_on": ["root"]}
    queued = {"limit": seconds(limit), "depends_on": ["gate"]}
    script = saga(
        step("root", action="near.x"),
        step("gate", depends_on=["root"]),  # else both would share a message
        step("slow", action="near.x", **slow),
        step("queued", action="near.x", **queued),
    ).when(
        action("slow").answers_after(seconds(200)),
        action("queued").arrives_after(seconds(201)),
    )
    real = Reality(script, concurrency=1).play()
    outcome = asyncio.run(script.play()).expect(state)
    assert told(outcome.record) == told(real)
    assert ("step_resent", "queued") in [one[:2] for one in told(real)["history"]]


def test_the_undo_order_is_compared() -> None:
    """So that the test above cannot agree on nothing."""
    outcome = ABC.when(NO_C).expect("compensated", undone=["b", "a"])
    undone = [
        step
        for kind, step, direction, _ in told(outcome.record)["history"]
        if kind == "step_succeeded" and direction is Direction.COMPENSATION
    ]
    assert undone == ["b", "a"]
