"""Pruning: what ended long ago goes, and nothing that anybody still needs."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator.core.events import CompensateRequested, StepSucceeded
from saga_orchestrator.ports.store import Keep, SagaFilter
from tests.conformance.builders import (
    SECOND,
    apply,
    begin,
    complete,
    dismissal,
    fence_of,
    plan_of,
    refuse,
    residual_of,
    undoing,
    with_residual,
)

if TYPE_CHECKING:
    from saga_orchestrator.ports.store import Store
    from saga_orchestrator.testing.clock import ManualClock
    from tests.conformance.conftest import OpenStore

HOUR = 3600 * SECOND
AN_HOUR = Keep(HOUR)
ONE = plan_of("a")
OTHER = plan_of("a", name="other")


async def _left(store: Store) -> list[str]:
    return sorted(saga.id for saga in await store.find(SagaFilter()))


async def test_what_ended_long_ago_goes_with_all_that_belongs_to_it(
    store: Store, clock: ManualClock
) -> None:
    """A saga is kept for its age after its end, and then gone without a trace."""
    saga = await complete(store, await begin(store, ONE, key="k"))
    clock.advance(HOUR - dt.timedelta(microseconds=1))
    assert await store.prune(AN_HOUR, 10) == 0
    clock.advance(dt.timedelta(microseconds=1))
    assert await store.prune(AN_HOUR, 10) == 1
    assert await store.record(saga.id) is None
    assert await store.counts() == {}
    again = await begin(store, ONE, key="k")
    record = await store.record(again.id)
    assert record is not None
    assert len(record.history) == 1


async def test_compensated_sagas_go_too(store: Store, clock: ManualClock) -> None:
    """Both ends are ends."""
    saga = await begin(store, ONE)
    await refuse(store, saga, "a")
    await store.settle([fence_of(saga, "a")])
    clock.advance(HOUR)
    assert await store.prune(AN_HOUR, 10) == 1


async def test_each_definition_has_an_age_of_its_own(
    store: Store, clock: ManualClock
) -> None:
    """A named definition's age counts for it, shorter, longer or without end."""
    saga = await complete(store, await begin(store, ONE))
    other = await complete(store, await begin(store, OTHER))
    clock.advance(HOUR)
    assert await store.prune(Keep(None), 10) == 0
    assert await store.prune(Keep(HOUR, {"other": None, "order": 2 * HOUR}), 10) == 0
    assert await store.prune(Keep(None, {"other": HOUR}), 10) == 1
    assert await _left(store) == [saga.id]
    await begin(store, OTHER)
    assert await store.prune(Keep(HOUR, {"other": None}), 10) == 1
    assert other.id not in await _left(store)


async def test_the_oldest_go_first_and_no_more_than_asked_for(
    store: Store, clock: ManualClock
) -> None:
    """A batch is bounded, so that a year's sagas are no one transaction."""
    sagas = []
    for _ in range(5):
        sagas.append(await complete(store, await begin(store, ONE)))
        clock.advance(SECOND)
    clock.advance(HOUR)
    assert await store.prune(AN_HOUR, 2) == 2
    assert await _left(store) == [saga.id for saga in sagas[2:]]
    assert await store.prune(AN_HOUR, 10) == 3


async def test_what_has_not_ended_stays(store: Store, clock: ManualClock) -> None:
    """Neither live sagas go, nor failed ones: those wait for a person."""
    started = await begin(store, ONE)
    undone = await complete(store, await begin(store, ONE))
    undone = await apply(
        store, CompensateRequested(undone.id, "ann", "asked", force=True)
    )
    failed = await refuse(
        store, await begin(store, plan_of("a", on_failure="park")), "a"
    )
    await store.settle([fence_of(failed, "a")])
    clock.advance(24 * HOUR)
    assert await store.prune(AN_HOUR, 10) == 0
    assert await _left(store) == sorted([started.id, undone.id, failed.id])


async def test_open_residuals_keep_their_saga(store: Store, clock: ManualClock) -> None:
    """An effect outside the account stays until a person has settled it."""
    saga = await with_residual(store, ONE)
    clock.advance(24 * HOUR)
    assert await store.prune(AN_HOUR, 10) == 0
    await apply(store, dismissal(await residual_of(store, saga)))
    assert await store.prune(AN_HOUR, 10) == 1


async def test_a_saga_stays_until_the_undo_of_its_residual_has_ended(
    store: Store, clock: ManualClock
) -> None:
    """The saga that undoes a residual and the one it belongs to go together."""
    saga = await with_residual(store, ONE)
    event = await undoing(store, await residual_of(store, saga))
    await apply(store, event)
    clock.advance(24 * HOUR)
    assert await store.prune(AN_HOUR, 10) == 0
    undo = await store.load(event.undo_id)
    assert undo is not None
    await complete(store, undo)
    assert await store.prune(AN_HOUR, 10) == 1  # the undo has just ended
    assert await _left(store) == [undo.id]


async def test_a_command_that_is_not_settled_keeps_its_saga(
    store: Store, clock: ManualClock
) -> None:
    """What is still to be published belongs to somebody."""
    saga = await begin(store, ONE)
    fence = fence_of(saga, "a")
    saga = await apply(store, StepSucceeded(fence))
    clock.advance(24 * HOUR)
    assert await store.prune(AN_HOUR, 10) == 0
    await store.settle([fence])
    assert await store.prune(AN_HOUR, 10) == 1


@pytest.mark.slow
async def test_many_prune_at_once(
    store: Store, open_store: OpenStore, clock: ManualClock
) -> None:
    """Each saga is deleted once, by whoever comes first."""
    for _ in range(40):
        await complete(store, await begin(store, ONE))
    clock.advance(HOUR)
    handles = [await open_store() for _ in range(4)]
    counts = await asyncio.gather(*(one.prune(AN_HOUR, 30) for one in handles))
    while pruned := await store.prune(AN_HOUR, 30):
        counts.append(pruned)
    assert sum(counts) == 40
    assert await _left(store) == []
