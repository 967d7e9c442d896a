"""The store contract: how things stand, and which sagas wait."""

from __future__ import annotations

import datetime as dt

import pytest

from saga_orchestrator.core.events import CompensateRequested
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.ports.overview import ActiveCount
from saga_orchestrator.ports.store import Store
from saga_orchestrator.testing.clock import ManualClock
from tests.conformance.builders import (
    SECOND,
    apply,
    bare,
    begin,
    complete,
    fence_of,
    new_id,
    plan_of,
    refuse,
    with_residual,
)
from tests.conformance.damage import damage

ONE = plan_of("a")
PARKED = plan_of("a", on_failure="park", name="parked")
SQL_STORES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


async def test_an_overview_counts_what_has_not_ended(
    store: Store, clock: ManualClock
) -> None:
    """By definition and state, with the start of the oldest; ended ones are out."""
    empty = await store.overview()
    assert (empty.now, empty.active) == (clock.now(), ())
    assert (empty.outbox_pending, empty.outbox_oldest_at, empty.next_due) == (
        0,
        None,
        None,
    )
    first = await begin(store, ONE)
    clock.advance(5)
    await begin(store, ONE)
    await complete(store, await begin(store, ONE))
    parked = await refuse(store, await begin(store, PARKED), "a")
    turned = await apply(
        store, CompensateRequested((await begin(store, PARKED)).id, "ann", "why")
    )
    found = await store.overview()
    assert found.active == (
        ActiveCount("order", SagaState.STARTED, 2, first.created_at),
        ActiveCount("parked", SagaState.COMPENSATING, 1, turned.created_at),
        ActiveCount("parked", SagaState.FAILED, 1, parked.created_at),
    )


async def test_an_overview_knows_the_outbox_and_the_timers(
    store: Store, clock: ManualClock
) -> None:
    """How many commands are not confirmed, the age of the oldest, what is due next."""
    old = await begin(store, ONE)
    clock.advance(7)
    new = await begin(store, plan_of("a", deadline=3 * SECOND))
    found = await store.overview()
    assert (found.outbox_pending, found.outbox_oldest_at) == (2, old.created_at)
    assert found.next_due == new.wake_at
    await store.settle([fence_of(old, "a")])
    found = await store.overview()
    assert (found.outbox_pending, found.outbox_oldest_at) == (1, new.created_at)


async def test_an_overview_counts_open_residuals(store: Store) -> None:
    """Effects outside any account that nobody has settled."""
    await with_residual(store)
    assert (await store.overview()).residuals_open == 1


async def test_waiting_sagas_come_oldest_first(store: Store) -> None:
    """All that have not ended, failed ones too, page by page, up to an id."""
    sagas = [await begin(store, ONE) for _ in range(5)]
    ended = await complete(store, sagas[1])
    failed = await refuse(store, await begin(store, PARKED), "a")
    live = [saga.id for saga in sagas if saga.id != ended.id] + [failed.id]
    page = await store.waiting(3)
    assert [one.saga.id for one in page.items] == live[:3]
    rest = await store.waiting(3, after=page.items[-1].saga.id)
    assert [one.saga.id for one in rest.items] == live[3:]
    young = await store.waiting(10, before=sagas[2].id)
    assert [one.saga.id for one in young.items] == [sagas[0].id]


async def test_a_waiting_saga_comes_with_its_commands(
    store: Store, clock: ManualClock
) -> None:
    """What is not confirmed is there, with its error; of no other saga."""
    saga, other = await begin(store, ONE), await begin(store, ONE)
    fence = fence_of(saga, "a")
    await store.defer([fence], "no service handles do.a", dt.timedelta(seconds=3))
    await store.settle([fence_of(other, "a")])
    first, second = (await store.waiting(10)).items
    assert bare(first.saga) == bare(saga)
    (row,) = first.outbox
    assert (row.fence, row.error) == (fence, "no service handles do.a")
    assert row.claimed_until == clock.now() + 3 * SECOND
    assert second.outbox == ()


async def test_the_trace_of_a_start_is_kept(store: Store) -> None:
    """It is found for those that have one; nobody else is in the answer."""
    text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    traced = await begin(store, ONE, traceparent=text)
    other = await begin(store, ONE)
    asked = [traced.id, other.id, new_id()]
    assert await store.traceparents(asked) == {traced.id: text}
    assert await store.traceparents([]) == {}


@pytest.mark.parametrize("store_url", SQL_STORES, indirect=True)
async def test_a_damaged_row_hides_no_other(store: Store, store_url: str) -> None:
    """A saga that cannot be read is told as such, and counted all the same."""
    good, bad = await begin(store, ONE), await begin(store, ONE)
    await damage(store, store_url, bad, "steps")
    page = await store.waiting(10)
    assert [one.saga.id for one in page.items] == [good.id]
    assert [one.saga_id for one in page.unreadable] == [bad.id]
    assert (await store.overview()).active[0].count == 2
