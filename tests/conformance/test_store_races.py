"""The store contract: a timer, an answer and people, all at the same instant.

Two handles, so two processes. Whoever comes first, the saga has one story, and
ends in one state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.events import (
    CompensateRequested,
    Event,
    GiveUpRequested,
    ResolveRequested,
    RetryRequested,
    StepFailed,
    StepSucceeded,
    TimeCame,
)
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.core.states import Direction
from saga_orchestrator.ports.records import SagaRecord
from tests.conformance.builders import (
    SECOND,
    apply,
    begin,
    complete,
    fence_of,
    persistently,
    plan_of,
    step,
    succeed,
)

if TYPE_CHECKING:
    from saga_orchestrator.core.saga import Saga
    from saga_orchestrator.ports.store import Store
    from saga_orchestrator.testing.clock import ManualClock
    from tests.conformance.conftest import OpenStore

ROUNDS = 12
WHO = {"principal": "ann", "reason": "the bank called"}
LIMITED = plan_of(step("a", limit=60 * SECOND, timeout=60 * SECOND), "b")
PARKED = plan_of("a", "b", on_failure="park")


async def _race(one: Store, other: Store, first: Event, second: Event) -> SagaRecord:
    """Let two handles decide an event each, at once; return the saga's story."""
    await asyncio.gather(persistently(one, first), persistently(other, second))
    record = await one.record(first.saga_id)
    assert record is not None
    numbers = [entry.seq for entry in record.history]
    assert numbers == list(range(1, record.saga.version + 1))
    return record


def _count(record: SagaRecord, kind: HistoryKind) -> int:
    return sum(entry.kind is kind for entry in record.history)


async def test_an_answer_races_its_limit(
    store: Store, open_store: OpenStore, clock: ManualClock
) -> None:
    """It was in time, or it is undone and the answer is a residual: never both."""
    other = await open_store()
    for number in range(ROUNDS):
        saga = await begin(store, LIMITED)
        clock.advance(60)
        events = [TimeCame(saga.id), StepSucceeded(fence_of(saga, "a"), {"id": 1})]
        record = await _race(store, other, *events[:: 1 - 2 * (number % 2)])
        in_time = record.saga.status("a").state == "completed"
        assert _count(record, HistoryKind.STEP_EXPIRED) == (not in_time)
        assert len(record.residuals) == (not in_time)
        ended = await complete(store, record.saga)
        assert ended.is_completed if in_time else ended.is_compensated


async def test_two_replicas_fire_one_timer(
    store: Store, open_store: OpenStore, clock: ManualClock
) -> None:
    """Both find the retry due; it is sent once."""
    other = await open_store()
    plan = plan_of(step("a", retry=_twice()))
    for _ in range(ROUNDS):
        saga = await begin(store, plan)
        saga = await apply(store, StepFailed(fence_of(saga, "a"), refused=False))
        clock.advance(60)
        record = await _race(store, other, TimeCame(saga.id), TimeCame(saga.id))
        assert _count(record, HistoryKind.STEP_RETRIED) == 1
        assert record.saga.status("a").generation == 2


async def test_a_retry_races_the_person_who_ends_it(
    store: Store, open_store: OpenStore, clock: ManualClock
) -> None:
    """Due at the instant of the abort: sent before it, or never."""
    other = await open_store()
    plan = plan_of(step("a", retry=_twice()))
    for _ in range(ROUNDS):
        saga = await begin(store, plan)
        saga = await apply(store, StepFailed(fence_of(saga, "a"), refused=False))
        clock.advance(60)
        ask = CompensateRequested(saga.id, **WHO)
        record = await _race(store, other, TimeCame(saga.id), ask)
        kinds = [entry.kind for entry in record.history]
        if HistoryKind.STEP_RETRIED in kinds:
            retried = kinds.index(HistoryKind.STEP_RETRIED)
            assert retried < kinds.index(HistoryKind.COMPENSATE_REQUESTED)
        assert (await complete(store, record.saga)).is_compensated


def _twice() -> RetryPolicy:

    return RetryPolicy(max_attempts=2, initial_delay=SECOND)


async def _parked(store: Store) -> Saga:
    """Stop a saga for a person: nobody knows what became of its step ``a``."""
    saga = await begin(store, PARKED)
    saga = await apply(store, StepFailed(fence_of(saga, "a"), refused=False))
    assert saga.is_failed
    return saga


async def _open(store: Store) -> Saga:
    return await begin(store, PARKED)


async def _done(store: Store) -> Saga:
    return await complete(store, await begin(store, PARKED))


def _retry(saga: Saga) -> Event:
    return RetryRequested(saga.id, **WHO, version=saga.version)


def _compensate(saga: Saga) -> Event:
    return CompensateRequested(saga.id, **WHO, force=True)


def _resolve(saga: Saga) -> Event:
    generation = saga.status("a").generation
    return ResolveRequested(
        saga.id, **WHO, step="a", direction=Direction.ACTION, generation=generation
    )


def _give_up(saga: Saga) -> Event:
    return GiveUpRequested(saga.id, **WHO, step="a", generation=1)


def _answer(saga: Saga) -> Event:
    return StepSucceeded(fence_of(saga, "a"), {"id": 1})


_RACES = {
    "retry twice": (_parked, _retry, _retry),
    "retry or resolve": (_parked, _retry, _resolve),
    "resolve twice": (_parked, _resolve, _resolve),
    "resolve or undo": (_parked, _resolve, _compensate),
    "retry or undo": (_parked, _retry, _compensate),
    "resolve or a late answer": (_parked, _resolve, _answer),
    "undo or a late answer": (_parked, _compensate, _answer),
    "give up or an answer": (_open, _give_up, _answer),
    "give up twice": (_open, _give_up, _give_up),
    "give up or undo": (_open, _give_up, _compensate),
    "undo twice": (_open, _compensate, _compensate),
    "force twice": (_done, _compensate, _compensate),
}
_ASKED = {
    HistoryKind.RETRY_REQUESTED,
    HistoryKind.STEP_RESOLVED,
    HistoryKind.COMPENSATE_REQUESTED,
    HistoryKind.WAIT_GIVEN_UP,
}


@pytest.mark.parametrize("case", _RACES)
async def test_people_race(case: str, store: Store, open_store: OpenStore) -> None:
    """One state at the end; each act is on record once, with who and why."""
    situation: Callable[[Store], Awaitable[Saga]]
    situation, one, two = _RACES[case]
    other = await open_store()
    for number in range(ROUNDS):
        saga = await situation(store)
        events = [one(saga), two(saga)]
        record = await _race(store, other, *events[:: 1 - 2 * (number % 2)])
        acts = [entry for entry in record.history if entry.kind in _ASKED]
        assert acts or _answer in (one, two)
        assert len({entry.kind for entry in acts}) == len(acts)
        assert all(WHO.items() <= entry.data.items() for entry in acts)
        ended = await complete(store, record.saga)
        while ended.is_failed:  # its answer is the person's, not the race's
            ended = await complete(store, await apply(store, _retry(ended)))
        assert ended.is_completed or ended.is_compensated
        if _compensate in (one, two) and ended.is_completed:
            assert HistoryKind.COMPENSATE_REQUESTED not in {e.kind for e in acts}
        told = [e for e in record.history if e.kind is HistoryKind.STEP_SUCCEEDED]
        assert sum(entry.step == "a" for entry in told) <= 1


async def test_success_after_success_in_a_race_with_an_undo(
    store: Store, open_store: OpenStore
) -> None:
    """The last answer and the abort: completed, or undone with that step too."""
    other = await open_store()
    for _ in range(ROUNDS):
        saga = await succeed(store, await begin(store, plan_of("a", "b")), "a")
        answer = StepSucceeded(fence_of(saga, "b"))
        ask = CompensateRequested(saga.id, **WHO)
        record = await _race(store, other, answer, ask)
        ended = await complete(store, record.saga)
        undone = [status.state == "compensated" for status in ended.steps]
        assert ended.is_completed or all(undone)
