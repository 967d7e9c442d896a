"""The store contract: ``transact`` decides and performs, all or nothing."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.definition import Step
from saga_orchestrator.core.events import (
    CompensateRequested,
    Event,
    GiveUpRequested,
    ResendRequested,
    ResolveRequested,
    RetryRequested,
    StepAccepted,
    StepFailed,
    StepHeartbeat,
    StepPostponed,
    StepSkipped,
    StepSucceeded,
    TimeCame,
)
from saga_orchestrator.core.payload import Json, normalise
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.core.saga import NO_DATA, Saga
from saga_orchestrator.core.states import Direction, Outcome, SagaState, StepState
from saga_orchestrator.errors import (
    KeyConflict,
    PayloadError,
    SagaNotFoundError,
    StoreDataError,
    TransitionRefused,
)
from saga_orchestrator.ports.store import SagaFilter, Store
from saga_orchestrator.testing.clock import ManualClock
from tests.conformance.builders import (
    SECOND,
    apply,
    bare,
    begin,
    complete,
    fence_of,
    first_fence,
    new_id,
    plan_of,
    refuse,
    start,
    step,
    succeed,
)

NAN = float("nan")


async def test_start_is_written_whole(store: Store, clock: ManualClock) -> None:
    """A start writes the snapshot, its context, its history and its first command."""
    event = start(context={"customer": "c-1"}, key="k-1", fingerprint="f-1")
    (decision,) = await store.transact([event])
    record = await store.record(event.saga_id)
    assert decision.created
    assert record is not None
    assert bare(record.saga) == bare(decision.saga)
    assert record.saga.context == {"customer": "c-1"}
    assert record.saga.created_at == clock.now()
    assert record.history == decision.history
    assert [row.fence for row in record.outbox] == [first_fence(event.saga_id, "a")]


async def test_history_reads_back_as_it_was_decided(store: Store) -> None:
    """Entries keep their data and what they sent; numbers have no gap."""
    saga = await begin(store)
    decisions = [
        *await store.transact(
            [StepSucceeded(fence_of(saga, "a"), {"id": 7}, {"seen": True})]
        ),
        *await store.transact([ResendRequested(saga.id)]),
        *await store.transact([StepFailed(first_fence(saga.id, "b"), False, "E", "e")]),
    ]
    record = await store.record(saga.id)
    assert record is not None
    decided = tuple(entry for one in decisions for entry in one.history)
    assert record.history[1:] == decided
    assert record.history[2].sent[0].resend
    numbers = [entry.seq for entry in record.history]
    assert numbers == list(range(1, record.saga.version + 1))


async def test_history_tells_the_state(store: Store, clock: ManualClock) -> None:
    """Folding the history gives the stored states and generations."""
    retried = step("b", retry=RetryPolicy(max_attempts=3, jitter=0))
    saga = await begin(store, plan_of("a", retried, "c"))
    saga = await succeed(store, saga, "a")
    for _ in range(2):
        saga = await apply(store, StepFailed(fence_of(saga, "b"), False))
        assert saga.wake_at is not None
        clock.advance(saga.wake_at - clock.now())
        saga = await apply(store, TimeCame(saga.id))
    saga = await apply(store, StepFailed(fence_of(saga, "b"), False))
    record = await store.record((await complete(store, saga)).id)
    assert record is not None
    sent = [
        dispatch.fence
        for entry in record.history
        for dispatch in entry.sent
        if not dispatch.resend
    ]
    for number, one in enumerate(record.saga.plan.steps):
        generations = [fence.generation for fence in sent if fence.step == one.name]
        assert generations == list(range(1, record.saga.steps[number].generation + 1))
    assert record.saga.state is SagaState.COMPENSATED
    assert record.history[-1].state is SagaState.COMPENSATED


async def test_every_snapshot_reads_back_equal(
    store: Store, clock: ManualClock
) -> None:
    """What was decided is what is loaded, whatever the saga went through."""
    clock.advance(dt.timedelta(microseconds=123_457))
    retried = step("b", retry=RetryPolicy(max_attempts=2, jitter=0))
    plan = plan_of("a", retried, deadline=dt.timedelta(hours=1))
    saga = await begin(store, plan, key="schlüssel", fingerprint="f")
    a, b = first_fence(saga.id, "a"), first_fence(saga.id, "b")
    undo = first_fence(saga.id, "a", Direction.COMPENSATION)
    events: list[Event] = [
        StepAccepted(a, heartbeat=True),
        StepHeartbeat(a),
        StepSucceeded(a, {"id": 1}, {"x": 1}),
        ResendRequested(saga.id),
        StepPostponed(b, SECOND),
        TimeCame(saga.id),
        StepFailed(replace(b, generation=2), False, "Oops", "größer"),
        TimeCame(saga.id),
        GiveUpRequested(saga.id, "ann", "tired", "b", 3),
        StepSucceeded(replace(undo, step="b", generation=4)),
        StepFailed(replace(undo, generation=2), True, "No", "no"),
        RetryRequested(saga.id, "ann", "again"),
        StepSucceeded(replace(undo, generation=3)),
    ]
    seen = set()
    for event in events:
        clock.advance(1.5)
        (decision,) = await store.transact([event])
        assert decision.changed, event
        loaded = await store.load(saga.id)
        assert bare(loaded) == bare(decision.saga)
        seen.add(bare(loaded).state)
    assert seen == set(SagaState) - {SagaState.COMPLETED}


async def test_decisions_keep_the_order_of_events(store: Store) -> None:
    """A batch of several sagas answers each event in its place."""
    starts = [start() for _ in range(5)]
    decisions = await store.transact(starts[::-1])
    assert [one.saga and one.saga.id for one in decisions] == [
        event.saga_id for event in starts[::-1]
    ]


async def test_events_of_one_saga_build_on_each_other(store: Store) -> None:
    """A batch may start a saga and bring it to its end."""
    event = start(context={"n": 0})
    fences = [first_fence(event.saga_id, name) for name in "abc"]
    answers = [
        StepSucceeded(fence, fence.step, {"n": n}) for n, fence in enumerate(fences, 1)
    ]
    decisions = await store.transact([event, *answers])
    record = await store.record(event.saga_id)
    assert record is not None
    assert all(decision.changed for decision in decisions)
    assert record.saga.is_completed
    assert record.saga.context == {"n": 3}
    assert record.saga.outputs == {"a": "a", "b": "b", "c": "c"}
    assert len(record.history) == record.saga.version


@pytest.mark.parametrize(
    "poison",
    [NAN, float("inf"), "\0", {"\0": 1}, "\ud800", {"\udfff": 1}, {1, 2}, b"x"],
    ids=repr,
)
async def test_poison_writes_nothing(store: Store, poison: Any) -> None:
    """A value that cannot be stored undoes its whole batch, in every store alike."""
    saga = await begin(store)
    fence = fence_of(saga, "a")
    other = start()
    for bad in (
        StepSucceeded(fence, poison),
        StepSucceeded(fence, None, {"x": poison}),
        start(context={"x": poison}),
    ):
        with pytest.raises(StoreDataError):
            await store.transact([other, bad], settled=[fence])
    record = await store.record(saga.id)
    assert record is not None
    assert bare(record.saga) == bare(saga)
    assert len(record.history) == 1
    assert [row.fence for row in record.outbox] == [fence]
    assert await store.load(other.saga_id) is None


async def test_poison_is_refused_in_text_too(store: Store) -> None:
    """Keys and error texts hold to the same rules as payloads."""
    saga = await begin(store)
    with pytest.raises(StoreDataError):
        await store.transact([start(key="a\0b")])
    with pytest.raises(StoreDataError):
        await store.transact([StepFailed(fence_of(saga, "a"), True, "No", "a\0b")])
    with pytest.raises(StoreDataError):
        await store.transact([start(key="a\ud800b")])


@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "\u0000",
        "\\u0000",
        "\\\\u0000",
        "\ud800",
        "grüße 你好 🚀 \u2028 \ufeff \x7f \x1b",
        "'; DROP TABLE sagas; --",
        "$1 ? %s {} :x",
        -0.0,
        5e-324,
        1.7976931348623157e308,
        0.1 + 0.2,
        2**53 + 1,
        -(2**63) + 1,
        2**63,
        10**30,
        NAN,
        float("-inf"),
        True,
        None,
        "",
        {"": {"": []}},
        {"a.b": 1, "$ref": 2, "__class__": 3},
        [[[[]]]] * 40,
        json.loads("[" * 60 + "]" * 60),
        json.loads("[" * 70 + "]" * 70),
        "x" * 100_000,
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_payloads_read_back_or_are_refused_first(
    store: Store, value: Any
) -> None:
    """What the payload rules let in comes out of the store unchanged."""
    try:
        value = normalise(value, "value")
    except PayloadError:
        return
    saga = await begin(store, context={"here": value})
    await succeed(store, saga, "a", output=value, update={"there": [value]})
    record = await store.record(saga.id)
    assert record is not None
    assert repr(record.saga.context) == repr({"here": value, "there": [value]})
    assert repr(record.saga.outputs) == repr({"a": value})
    assert repr(record.history[1].data.get("output")) == repr(value)


async def _in_flight(store: Store) -> Saga:
    return await begin(store)


async def _failed(store: Store) -> Saga:
    saga = await begin(store, plan_of("a", "b", on_failure="park"))
    return await refuse(store, saga, "a")


REPEATS: dict[str, tuple[Callable[[Store], Awaitable[Saga]], Any]] = {
    "succeeded": (_in_flight, lambda s: StepSucceeded(fence_of(s, "a"), 1, {"x": 1})),
    "skipped": (_in_flight, lambda s: StepSkipped(fence_of(s, "a"), "no need")),
    "failed": (_in_flight, lambda s: StepFailed(fence_of(s, "a"), refused=True)),
    "postponed": (_in_flight, lambda s: StepPostponed(fence_of(s, "a"), SECOND)),
    "accepted": (_in_flight, lambda s: StepAccepted(fence_of(s, "a"), heartbeat=True)),
    "time": (_in_flight, lambda s: TimeCame(s.id)),
    "compensate": (_in_flight, lambda s: CompensateRequested(s.id, "ann", "why")),
    "give up": (_in_flight, lambda s: GiveUpRequested(s.id, "ann", "why", "a", 1)),
    "retry": (_failed, lambda s: RetryRequested(s.id, "ann", "why")),
    "resolve": (_failed, lambda s: _resolve(s, "a", 5)),
}


@pytest.mark.parametrize("repeat", REPEATS)
async def test_an_event_again_changes_nothing(
    store: Store, clock: ManualClock, repeat: str
) -> None:
    """A commit whose answer was lost is run again: the second time is void."""
    prepare, event_of = REPEATS[repeat]
    saga = await prepare(store)
    event = event_of(saga)
    clock.advance(dt.timedelta(minutes=3))
    await store.transact([event])
    before = await store.record(saga.id)
    (again,) = await store.transact([event])
    after = await store.record(saga.id)
    assert before is not None
    assert after is not None
    assert not again.history
    assert not again.dispatches
    assert after.history == before.history
    assert bare(after.saga) == replace(bare(before.saga), ignored=after.saga.ignored)


async def test_a_start_again_returns_the_saga(store: Store) -> None:
    """The same id and body is the same saga, with another body a conflict."""
    event = start(context={"n": 1}, fingerprint="one")
    await store.transact([event])
    (again,) = await store.transact([event])
    (other,) = await store.transact([replace(event, fingerprint="two")])
    assert not again.changed
    assert again.saga is not None
    assert again.saga.id == event.saga_id
    assert isinstance(other.refusal, KeyConflict)


async def test_a_key_is_one_saga(store: Store) -> None:
    """A key is unique per saga name; another body with it is a conflict."""
    first = start(key="k", fingerprint="one")
    await store.transact([first])
    same, other, elsewhere = await store.transact(
        [
            start(key="k", fingerprint="one"),
            start(key="k", fingerprint="two"),
            start(plan_of("a", name="refund"), key="k", fingerprint="one"),
        ]
    )
    assert same.saga is not None
    assert same.saga.id == first.saga_id
    assert not same.created
    assert isinstance(other.refusal, KeyConflict)
    assert other.refusal.saga_id == first.saga_id
    assert elsewhere.created
    assert sum((await store.counts()).values()) == 2


async def test_a_key_twice_in_a_batch_is_one_saga(store: Store) -> None:
    """Two starts with a key that are committed together make one saga."""
    events = [start(key="k", fingerprint="f") for _ in range(2)]
    first, second = await store.transact(events)
    assert first.created
    assert not second.created
    assert second.saga == first.saga


async def test_an_ended_saga_keeps_its_key(store: Store) -> None:
    """A start with the key of a completed saga returns that saga."""
    event = start(plan_of("a"), key="k", fingerprint="f")
    saga = await complete(store, await apply(store, event))
    (again,) = await store.transact([replace(event, saga_id=new_id())])
    assert bare(again.saga) == bare(saga)


async def test_an_unknown_saga_is_no_error(store: Store) -> None:
    """Answers to an unknown saga are ignored, requests refused, beside others."""
    unknown = new_id()
    answer, request, ours = await store.transact(
        [
            StepSucceeded(first_fence(unknown, "a")),
            CompensateRequested(unknown, "ann", "why"),
            start(),
        ]
    )
    assert answer.saga is None
    assert answer.ignored is not None
    assert isinstance(request.refusal, SagaNotFoundError)
    assert ours.created
    assert await store.record(unknown) is None


async def test_a_refusal_undoes_nothing_else(store: Store) -> None:
    """A refused request is in its decision; the rest of the batch is committed."""
    saga = await begin(store)
    retry, answer = await store.transact(
        [
            RetryRequested(saga.id, "ann", "why"),
            StepSucceeded(fence_of(saga, "a")),
        ]
    )
    assert isinstance(retry.refusal, TransitionRefused)
    assert answer.changed
    assert bare(await store.load(saga.id)).completed_steps == ("a",)


async def test_conditions_see_context_and_outputs(store: Store) -> None:
    """``when`` reads the context as it is now, and outputs of earlier commits."""
    plan = plan_of(
        "a",
        step("b", when={"outputs.a.ok": True}),
        step("c", when={"context.go": "yes"}),
        step("d", when={"context.go": "no"}),
        step("e", when={"outputs.b.found": 2}),
    )
    saga = await begin(store, plan, context={"go": "maybe"})
    saga = await succeed(store, saga, "a", output={"ok": True}, update={"go": "yes"})
    assert saga.next_steps == ()
    assert saga.status("b").state is StepState.STARTED
    saga = await succeed(store, saga, "b", output={"found": 1})
    assert saga.status("c").state is StepState.STARTED
    saga = await succeed(store, saga, "c")
    states = [status.state for status in saga.steps[3:]]
    assert states == [StepState.SKIPPED, StepState.SKIPPED]
    assert saga.is_completed
    assert await store.find(SagaFilter()) == [bare(saga)]


async def test_no_data_is_loaded_without_conditions(store: Store) -> None:
    """What a transition loads does not grow with the saga's data."""
    saga = await begin(store, context={"big": "x" * 1000})
    assert (await succeed(store, saga, "a", output=1)).data is NO_DATA


async def test_context_updates_merge_by_key(store: Store) -> None:
    """Each update is a revision: last commit wins, None deletes a key."""
    saga = await begin(store, context={"a": 1, "b": {"x": 1}, "c": 3})
    saga = await succeed(store, saga, "a", update={"b": {"y": 2}, "c": None})
    saga = await succeed(store, saga, "b", update={"a": None, "d": [4]})
    loaded = await store.load(saga.id)
    assert loaded is not None
    assert loaded.context == {"b": {"y": 2}, "d": [4]}
    assert loaded.revision == 2


async def test_a_step_without_output_has_none(store: Store) -> None:
    """A success without output reads as None; a step that failed has no output."""
    saga = await begin(store, plan_of("a", Step("b"), "c"))
    saga = await succeed(store, saga, "a")
    await refuse(store, saga, "c")
    loaded = await store.load(saga.id)
    assert loaded is not None
    assert loaded.outputs == {"a": None, "b": None}


def _resolve(saga: Saga, step: str, output: Json = None) -> ResolveRequested:
    generation = saga.status(step).generation
    way = saga.direction
    return ResolveRequested(saga.id, "ann", "why", step, way, generation, output)


async def test_a_resolved_step_has_its_output(store: Store) -> None:
    """What an operator gives as a step's output is its output."""
    saga = await _failed(store)
    await apply(store, _resolve(saga, "a", {"id": 9}))
    loaded = await store.load(saga.id)
    assert loaded is not None
    assert loaded.outputs == {"a": {"id": 9}}


async def test_the_last_20_ignored_answers_are_kept(store: Store) -> None:
    """All are counted; the oldest go first."""
    saga = await begin(store)
    never = replace(fence_of(saga, "a"), generation=99)
    for _ in range(45):
        await store.transact([StepSucceeded(never)])
    record = await store.record(saga.id)
    assert record is not None
    assert record.saga.ignored == 45
    assert [one.number for one in record.ignored] == list(range(26, 46))
    assert record.ignored[0].fence == never
    assert record.ignored[0].answer == "StepSucceeded"
    assert len(record.history) == 1


async def test_a_late_success_is_a_residual(store: Store) -> None:
    """An effect outside the saga's account is kept with its output."""
    saga = await begin(store)
    action = fence_of(saga, "a")
    saga = await apply(store, StepFailed(action, refused=False))
    assert saga.is_compensating
    await store.transact([StepSucceeded(action, {"id": 7})])
    record = await store.record(saga.id)
    assert record is not None
    (residual,) = record.residuals
    assert residual.fence == action
    assert residual.output == {"id": 7}
    assert record.saga.residuals == 1
    assert residual.settled is None
    entry = record.history[residual.number - 1]
    assert (entry.seq, entry.kind) == (residual.number, HistoryKind.RESIDUAL_FOUND)


async def test_an_undone_step_keeps_its_output(store: Store) -> None:
    """A compensation never erases the data it was made from."""
    saga = await begin(store)
    saga = await succeed(store, saga, "a", output="undo me")
    saga = await refuse(store, saga, "b")
    saga = await succeed(store, saga, "a", output="ignored")
    loaded = await store.load(saga.id)
    assert loaded is not None
    assert loaded.is_compensated
    assert loaded.outputs == {"a": "undo me"}
    assert loaded.status("a").outcome is Outcome.SUCCEEDED


async def test_nothing_loaded_is_shared(store: Store) -> None:
    """Changing what a caller holds changes nothing in the store."""
    context = {"list": [1]}
    saga = await begin(store, context=context)
    context["list"].append(2)
    for _ in range(2):
        loaded = await store.load(saga.id)
        assert loaded is not None
        assert loaded.context == {"list": [1]}
        loaded.context["list"].append(3)
        record = await store.record(saga.id)
        assert record is not None
        assert len(record.history[0].sent) == 1
        record.history[0].sent.clear()


async def test_many_steps(store: Store) -> None:
    """A saga may have 2,000 steps, all in flight at once."""
    steps = [
        step(f"s{number}", depends_on=("root",) if number else ())
        for number in range(1, 1999)
    ]
    saga = await begin(store, plan_of("root", *steps))
    saga = await succeed(store, saga, "root")
    assert sum(status.is_in_flight for status in saga.steps) == 1998
    assert bare(await store.load(saga.id)) == bare(saga)
