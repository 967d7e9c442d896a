"""The store contract: events for others are written with their transition."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from saga_orchestrator.core.events import (
    CompensateRequested,
    StepFailed,
    StepSkipped,
    StepSucceeded,
)
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.public import Emission, PublicEvent
from saga_orchestrator.errors import StoreDataError
from saga_orchestrator.ports.store import LEASE, Keep
from tests.conformance.builders import (
    SECOND,
    apply,
    begin,
    complete,
    fence_of,
    plan_of,
    start,
    step,
)
from tests.conformance.damage import damage

if TYPE_CHECKING:
    from saga_orchestrator.core.saga import Saga
    from saga_orchestrator.ports.store import Store
    from saga_orchestrator.testing.clock import ManualClock
    from tests.conformance.conftest import OpenStore

CHARGED = Emission("payment.charged", {"cents": 5, "to": "Zoë", "lines": [None, 1.5]})
SENT = Emission("mail_sent", None)


async def events_of(store: Store, limit: int = 256) -> list[PublicEvent]:
    """Return the events, as the one who may publish them."""
    page = await store.claim_events("test", limit, LEASE)
    assert page.unreadable == []
    return page.items


def told(events: list[PublicEvent]) -> list[str]:
    """Return the types."""
    return [str(event.type) for event in events]


def success(saga: Saga, name: str, *emitted: Emission, **fields: Any) -> StepSucceeded:
    """Return a success of a step's current dispatch that emits."""
    return StepSucceeded(fence_of(saga, name), emitted=emitted, **fields)


async def test_what_was_emitted_is_kept_with_the_success(
    store: Store, clock: ManualClock
) -> None:
    """Every event has an id of its own, whose it is, when, and its payload."""
    saga = await begin(store)
    await apply(store, success(saga, "a", CHARGED, SENT))
    first, second = await events_of(store)
    assert (first.type, first.payload) == (CHARGED.type, CHARGED.payload)
    assert (second.type, second.payload) == (SENT.type, None)
    assert (first.kind, first.aggregate_type) == ("emitted", "order")
    assert (first.saga_id, first.at) == (saga.id, clock.now())
    assert len({first.id, second.id}) == 2
    assert 0 < first.position < second.position


async def test_the_first_answer_wins(store: Store) -> None:
    """An answer that is repeated, late or of no dispatch emits nothing."""
    saga = await begin(store)
    event = success(saga, "a", CHARGED)
    await apply(store, event, event)
    await store.transact([event, event])
    await apply(
        store,
        StepSucceeded(Fence(saga.id, "b", event.fence.direction, 9), emitted=(SENT,)),
    )
    unknown = Fence(SagaId("0" * 26), "a", event.fence.direction, 1)
    await store.transact([StepSucceeded(unknown, emitted=(SENT,))])
    assert told(await events_of(store)) == [CHARGED.type]


async def test_a_batch_that_holds_an_answer_twice_emits_once(store: Store) -> None:
    """Both are decided in one transaction; the second is counted only."""
    saga = await begin(store)
    event = success(saga, "a", CHARGED)
    await store.transact([event, event])
    assert told(await events_of(store)) == [CHARGED.type]


async def test_undos_and_skips_emit_too(store: Store) -> None:
    """Whatever ends a step well may tell of it."""
    saga = await begin(store)
    saga = await apply(store, success(saga, "a"))
    saga = await apply(store, StepSkipped(fence_of(saga, "b"), emitted=(SENT,)))
    saga = await apply(store, CompensateRequested(saga.id, "ann", "asked"))
    saga = await apply(store, StepFailed(fence_of(saga, "c"), refused=True))
    saga = await apply(store, success(saga, "a", CHARGED))
    assert saga.is_compensated
    assert told(await events_of(store)) == [SENT.type, CHARGED.type]


async def test_a_residual_emits_nothing(store: Store) -> None:
    """A success of which the saga's account has no place is not told as one."""
    saga = await begin(store)
    action = fence_of(saga, "a")
    saga = await apply(store, StepFailed(action, refused=False))
    saga = await apply(store, StepSucceeded(action, emitted=(CHARGED,)))
    assert saga.residuals == 1
    assert await events_of(store) == []


async def test_written_with_the_transition_or_not_at_all(store: Store) -> None:
    """Where the batch cannot be written, neither its events are."""
    saga, other = await begin(store), await begin(store)
    bad = Emission("bad", "\0")
    for batch in (
        [success(saga, "a", CHARGED, bad)],
        [success(saga, "a", CHARGED), success(other, "a", bad)],
    ):
        with pytest.raises(StoreDataError, match="event"):
            await store.transact(batch)
    assert await events_of(store) == []
    found = await store.load(saga.id)
    assert found is not None
    assert found.version == saga.version


async def test_ids_are_the_same_in_every_store(store: Store) -> None:
    """An id comes of the saga, the entry and the place; it never changes."""
    saga = await begin(store, saga_id=SagaId("01JGFJJZ00000000000000000A"))
    await apply(store, success(saga, "a", CHARGED, SENT))
    assert [event.id for event in await events_of(store)] == [
        "251ad876-2ede-8686-812f-8cc514d5b19d",
        "7922085c-1611-872a-98bf-b565f8e8a9ff",
    ]


async def test_nothing_is_told_unless_asked_for(store: Store) -> None:
    """What becomes of sagas is recorded only by a handle that is told to."""
    await complete(store, await begin(store, plan_of("a")))
    assert await events_of(store) == []
    store.tells_lifecycle = True
    saga = await begin(store, plan_of("a"), key="k")
    await apply(store, success(saga, "a", CHARGED))
    events = await events_of(store)
    assert told(events) == ["started", CHARGED.type, "step_completed", "completed"]
    assert {(one.kind, one.aggregate_type) for one in events} == {
        ("lifecycle", "saga"),
        ("emitted", "order"),
    }
    assert events[-1].payload["saga_id"] == saga.id
    assert events[-1].payload["key"] == "k"


async def test_events_of_a_saga_come_in_order(store: Store) -> None:
    """However many are written at once, and by whichever transaction."""
    store.tells_lifecycle = True
    steps = [step(f"s{number}") for number in range(9)]
    starts = [start(plan_of(*steps)) for _ in range(9)]
    sagas = [decision.saga for decision in await store.transact(starts)]
    await asyncio.gather(*(complete(store, saga) for saga in sagas if saga))
    events = await events_of(store)
    positions = [event.position for event in events]
    assert positions == sorted(set(positions))
    for saga in sagas:
        assert saga is not None
        mine = [event for event in events if event.saga_id == saga.id]
        assert told(mine) == ["started", *["step_completed"] * 9, "completed"]
        seqs = [event.payload["seq"] for event in mine]
        assert seqs == sorted(seqs)


async def test_one_holder_publishes_at_a_time(
    store: Store, open_store: OpenStore, clock: ManualClock
) -> None:
    """Others get nothing until its lease runs out; it keeps it as long as it asks."""
    saga = await begin(store)
    await apply(store, success(saga, "a", CHARGED, SENT))
    other = await open_store()
    first = await store.claim_events("one", 1, LEASE)
    assert told(first.items) == [CHARGED.type]
    clock.advance(LEASE - SECOND)
    assert (await other.claim_events("two", 9, LEASE)).items == []
    assert len((await store.claim_events("one", 9, LEASE)).items) == 2
    clock.advance(LEASE - SECOND)
    assert (await other.claim_events("two", 9, LEASE)).items == []
    clock.advance(SECOND)
    assert len((await other.claim_events("two", 9, LEASE)).items) == 2
    assert (await store.claim_events("one", 9, LEASE)).items == []


async def test_two_who_ask_at_once_do_not_both_get_it(
    store: Store, open_store: OpenStore
) -> None:
    """Whoever comes second waits for the first, and gets nothing."""
    saga = await begin(store)
    await apply(store, success(saga, "a", CHARGED))
    handles = [await open_store() for _ in range(4)]
    pages = await asyncio.gather(
        *(one.claim_events(str(n), 9, LEASE) for n, one in enumerate(handles))
    )
    assert sorted(len(page.items) for page in pages) == [0, 0, 0, 1]


async def test_sagas_can_be_passed_over(store: Store) -> None:
    """Their events are there, and take no room from those of others."""
    saga, other = await begin(store), await begin(store)
    await apply(store, success(saga, "a", CHARGED, SENT))
    await apply(store, success(other, "a", CHARGED))
    page = await store.claim_events("test", 1, LEASE, [saga.id])
    assert [event.saga_id for event in page.items] == [other.id]
    both = [saga.id, other.id]
    assert (await store.claim_events("test", 9, LEASE, both)).items == []
    assert len(await events_of(store)) == 3


async def test_what_is_published_goes(store: Store) -> None:
    """By position; one that is gone already is fine, and no other goes with it."""
    saga = await begin(store)
    saga = await apply(store, success(saga, "a", CHARGED, SENT))
    first, second = await events_of(store)
    await store.delete_events([first.position])
    await store.delete_events([first.position, second.position])
    assert await events_of(store) == []
    await apply(store, success(saga, "b", CHARGED))
    await store.delete_events([first.position, second.position])
    (third,) = await events_of(store)
    assert third.position > second.position


async def test_an_event_that_cannot_be_read_hides_no_other(
    store: Store, store_url: str
) -> None:
    """It is told by where it stands, and left; the others are published."""
    saga, other = await begin(store), await begin(store)
    await apply(store, success(saga, "a", CHARGED))
    await apply(store, success(other, "a", SENT))
    await damage(store, store_url, saga, "event")
    page = await store.claim_events("test", 9, LEASE)
    assert told(page.items) == [SENT.type]
    (unreadable,) = page.unreadable
    assert unreadable.saga_id == saga.id
    assert f"position {unreadable.number} of saga_events" in unreadable.problem


async def test_an_event_outlives_its_saga(store: Store, clock: ManualClock) -> None:
    """Pruning takes the saga and leaves what is still to be published."""
    saga = await begin(store, plan_of("a"))
    action = fence_of(saga, "a")
    await store.transact([success(saga, "a", CHARGED)], settled=[action])
    clock.advance(60 * SECOND)
    assert await store.prune(Keep(SECOND), 10) == 1
    assert await store.load(saga.id) is None
    assert told(await events_of(store)) == [CHARGED.type]


async def test_old_events_expire_and_young_ones_stay(
    store: Store, clock: ManualClock
) -> None:
    """The first ones go, a batch at a time, as far as they are old."""
    saga = await begin(store)
    saga = await apply(store, success(saga, "a", CHARGED, SENT, SENT))
    clock.advance(60 * SECOND)
    await apply(store, success(saga, "b", CHARGED))
    assert await store.expire_events(61 * SECOND, 2) == 0
    assert await store.expire_events(60 * SECOND, 2) == 2
    assert await store.expire_events(60 * SECOND, 2) == 1
    assert await store.expire_events(60 * SECOND, 2) == 0
    assert told(await events_of(store)) == [CHARGED.type]
