"""The store contract: commands leave the outbox when they are confirmed."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest
from msgspec.structs import replace

from saga_orchestrator.core.definition import Step
from saga_orchestrator.core.dispatch import command_for
from saga_orchestrator.core.events import (
    ResendRequested,
    StepAccepted,
    StepSucceeded,
    TimeCame,
)
from saga_orchestrator.core.fence import Fence, is_genuine
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.saga import SagaData
from saga_orchestrator.core.states import Direction
from saga_orchestrator.errors import StoreDataError
from saga_orchestrator.ports.records import OutboxRow
from saga_orchestrator.ports.store import LEASE, Store
from saga_orchestrator.testing.clock import ManualClock
from tests.conformance.builders import (
    SECOND,
    apply,
    bare,
    begin,
    fence_of,
    first_fence,
    new_id,
    plan_of,
    refuse,
    start,
    step,
    succeed,
)
from tests.conformance.conftest import OpenStore

ZERO = dt.timedelta(0)


async def _outbox(store: Store, saga_id: SagaId) -> tuple[OutboxRow, ...]:
    record = await store.record(saga_id)
    assert record is not None
    return record.outbox


async def _fences(store: Store, saga_id: SagaId) -> list[Fence]:
    return [row.fence for row in await _outbox(store, saga_id)]


async def test_a_command_belongs_to_its_writer_first(
    store: Store, clock: ManualClock
) -> None:
    """A new row is claimed for the lease; then any relay may take it, once."""
    saga = await begin(store)
    clock.advance(LEASE - SECOND)
    assert await store.claim(10, LEASE) == []
    clock.advance(SECOND)
    (row,) = await store.claim(10, LEASE)
    assert row.fence == fence_of(saga, "a")
    assert row.claimed_until == clock.now() + LEASE
    assert (row.attempts, row.error) == (0, "")
    assert await store.claim(10, LEASE) == []
    clock.advance(LEASE)
    assert len(await store.claim(10, LEASE)) == 1


async def test_a_lease_of_zero_leaves_it_to_any_relay(store: Store) -> None:
    """A process that publishes nothing can hand its commands over at once."""
    event = start()
    await store.transact([event], lease=ZERO)
    (row,) = await store.claim(10, LEASE)
    assert row.fence.saga_id == event.saga_id


async def test_the_oldest_are_claimed_first(store: Store, clock: ManualClock) -> None:
    """A claim takes at most ``limit`` rows, the longest lapsed first."""
    sagas = []
    for _ in range(5):
        sagas.append(await begin(store))
        clock.advance(SECOND)
    clock.advance(LEASE)
    claimed = [await store.claim(2, LEASE) for _ in range(4)]
    assert [len(rows) for rows in claimed] == [2, 2, 1, 0]
    found = [row.fence.saga_id for rows in claimed for row in rows]
    assert found == [saga.id for saga in sagas]


async def test_the_longest_lapsed_is_claimed_first(
    store: Store, clock: ManualClock
) -> None:
    """A row that was put off or extended waits for its turn again."""
    first, second = await begin(store), await begin(store)
    await store.extend([fence_of(first, "a")], LEASE + SECOND)
    clock.advance(2 * LEASE)
    rows = await store.claim(10, LEASE)
    assert [row.fence.saga_id for row in rows] == [second.id, first.id]


async def test_no_two_processes_claim_a_row(
    store: Store, open_store: OpenStore, clock: ManualClock
) -> None:
    """Relays that claim at the same time get different rows, together all."""
    await store.transact([start() for _ in range(60)], lease=ZERO)
    handles = [store, await open_store(), await open_store()]
    claims = [handle.claim(7, LEASE) for handle in handles for _ in range(5)]
    found = [row.fence for rows in await asyncio.gather(*claims) for row in rows]
    # A relay that was skipped over may have got less; the rest is there still.
    while rows := await store.claim(7, LEASE):
        found += [row.fence for row in rows]
    assert len(found) == len(set(found)) == 60


async def test_settled_rows_are_gone(store: Store, clock: ManualClock) -> None:
    """A confirmed command is removed; one that is not there is fine."""
    saga = await begin(store)
    fence = fence_of(saga, "a")
    await store.settle([fence, replace(fence, generation=5), first_fence(saga.id, "b")])
    await store.settle([fence])
    await store.settle([])
    clock.advance(LEASE)
    assert await store.claim(10, LEASE) == []
    assert await _outbox(store, saga.id) == ()


async def test_settling_rides_on_a_transaction(store: Store) -> None:
    """``settled`` rows go with the batch's commit, also without an event."""
    saga = await begin(store)
    first = fence_of(saga, "a")
    await store.transact([StepSucceeded(first)], settled=[first])
    assert await _fences(store, saga.id) == [first_fence(saga.id, "b")]
    await store.transact([], settled=[first_fence(saga.id, "b")])
    assert await _outbox(store, saga.id) == ()


async def test_a_resend_claims_its_row_anew(store: Store, clock: ManualClock) -> None:
    """A resend of what is in the outbox keeps the row and takes its claim."""
    saga = await begin(store)
    await store.defer([fence_of(saga, "a")], "no queue", ZERO)
    await store.transact([ResendRequested(saga.id)])
    assert await store.claim(10, LEASE) == []
    clock.advance(LEASE)
    (row,) = await store.claim(10, LEASE)
    assert row.fence == fence_of(saga, "a")
    assert (row.attempts, row.error) == (1, "no queue")


async def test_a_resend_of_a_settled_command_is_kept(
    store: Store, clock: ManualClock
) -> None:
    """Settled and sent again in one transaction: it has to go out again."""
    saga = await begin(store)
    fence = fence_of(saga, "a")
    clock.advance(dt.timedelta(minutes=3))
    (decision,) = await store.transact([TimeCame(saga.id)], settled=[fence])
    assert [one.fence for one in decision.dispatches] == [fence]
    assert await _fences(store, saga.id) == [fence]


async def test_an_unroutable_command_is_put_off(
    store: Store, clock: ManualClock
) -> None:
    """It stays with its error, counted, and is claimed again after the delay."""
    saga = await begin(store)
    fence = fence_of(saga, "a")
    for attempts in (1, 2):
        error = f"no queue {attempts}"
        await store.defer([fence], error, 10 * SECOND)
        clock.advance(9 * SECOND)
        assert await store.claim(10, LEASE) == []
        clock.advance(SECOND)
        (row,) = await store.claim(10, LEASE)
        assert (row.attempts, row.error) == (attempts, error)
        assert await _outbox(store, saga.id) == (row,)


async def test_putting_off_what_is_gone_is_fine(store: Store) -> None:
    """A row that was settled meanwhile stays gone."""
    saga = await begin(store)
    await store.settle([fence_of(saga, "a")])
    await store.defer([fence_of(saga, "a")], "no queue", SECOND)
    await store.extend([fence_of(saga, "a")], SECOND)
    assert await _outbox(store, saga.id) == ()


async def test_an_error_that_no_store_can_hold_is_refused(store: Store) -> None:
    """The text of an error holds to the rules of payloads."""
    saga = await begin(store)
    with pytest.raises(StoreDataError):
        await store.defer([fence_of(saga, "a")], "a\0b", SECOND)


async def test_a_pending_publish_keeps_its_claim(
    store: Store, clock: ManualClock
) -> None:
    """An extended claim lasts for the new lease from now."""
    saga = await begin(store)
    clock.advance(LEASE - SECOND)
    await store.extend([fence_of(saga, "a")], LEASE)
    clock.advance(LEASE - SECOND)
    assert await store.claim(10, LEASE) == []
    clock.advance(SECOND)
    assert len(await store.claim(10, LEASE)) == 1


async def test_an_answer_leaves_the_row_to_be_settled(store: Store) -> None:
    """A row is only ever removed by settling, answered or not."""
    saga = await begin(store)
    first = fence_of(saga, "a")
    await store.transact([StepSucceeded(first)])
    assert set(await _fences(store, saga.id)) == {first, first_fence(saga.id, "b")}
    assert await store.load_dispatches([first]) == [None]


async def test_dispatches_come_with_what_they_need(store: Store) -> None:
    """The context is the one at the step's revision; outputs are those it reads."""
    plan = plan_of(
        "a",
        "b",
        Step("c", "do.c", input={"id": {"$ref": "outputs.a.id"}}),
        name="order",
    )
    saga = await begin(store, plan, context={"n": 0})
    saga = await succeed(store, saga, "a", output={"id": 1}, update={"n": 1})
    saga = await succeed(store, saga, "b", output="b's", update={"n": 2, "m": 0})
    found = (await store.load_dispatches([fence_of(saga, "c")]))[0]
    assert found is not None
    loaded, data = found
    assert bare(loaded) == bare(saga)
    assert data == SagaData({"n": 2, "m": 0}, {"a": {"id": 1}, "b": "b's"})
    command = command_for(loaded, 2, data, store.secret)
    assert command.input == {"id": 1}
    assert is_genuine(store.secret, command.fence, command.token)


async def test_a_snapshot_that_is_given_is_not_read_again(store: Store) -> None:
    """What a commit left makes the same command; if its saga has moved on, or none."""
    begun = await begin(store, context={"n": 0})
    first = fence_of(begun, "a")
    (read,) = await store.load_dispatches([first])
    assert read is not None
    (given,) = await store.load_dispatches([first], {begun.id: begun})
    assert given is not None
    assert (bare(given[0]), given[1]) == (bare(begun), read[1])
    after = await succeed(store, begun, "a", output=1, update={"n": 1})
    (late,) = await store.load_dispatches([first], {begun.id: begun})
    assert late is None or late[1] == read[1]
    second = fence_of(after, "b")
    loaded = await store.load_dispatches([first, second], {after.id: after})
    assert loaded[0] is None
    assert loaded[1] is not None
    assert loaded[1][1] == SagaData({"n": 1}, {"a": 1})


async def test_a_dispatch_may_be_younger_than_the_snapshot(store: Store) -> None:
    """Another process may have made it: then nobody settles it by the old snapshot."""
    begun = await begin(store)
    after = await succeed(store, begun, "a", output=1)
    both = [fence_of(begun, "a"), fence_of(after, "b")]
    first, second = await store.load_dispatches(both, {begun.id: begun})
    assert second is not None
    assert second[1].outputs == {"a": 1}
    assert first is None or bare(first[0]) == bare(begun)


async def test_a_step_keeps_the_context_it_was_first_sent_with(store: Store) -> None:
    """Later updates do not change what a resend or an undo is made of."""
    fan = plan_of("root", step("a", depends_on=("root",)), step("b", depends_on="root"))
    saga = await begin(store, fan, context={"n": 0})
    saga = await succeed(store, saga, "root", update={"n": 1})
    saga = await succeed(store, saga, "b", output="b's", update={"n": 2})
    sent, _ = await store.load_dispatches(
        [fence_of(saga, "a"), first_fence(saga.id, "b")]
    )
    assert sent is not None
    assert sent[1].context == {"n": 1}
    saga = await refuse(store, saga, "a")
    undo = fence_of(saga, "b")
    assert undo.direction is Direction.COMPENSATION
    (undone,) = await store.load_dispatches([undo])
    assert undone is not None
    assert undone[1] == SagaData({"n": 1}, {"root": None, "b": "b's"})


async def test_a_batch_keeps_the_revisions_it_went_through(store: Store) -> None:
    """A start and an update in one commit: what went out before has the first."""
    event = start(plan_of("a", step("b", depends_on="a"), "c"), context={"n": 0})
    answer = StepSucceeded(first_fence(event.saga_id, "a"), update={"n": 1})
    await store.transact([event, answer])
    found = await store.load_dispatches(
        [first_fence(event.saga_id, name) for name in "bc"]
    )
    assert [one and one[1].context for one in found] == [{"n": 1}, {"n": 0}]


async def test_an_accepted_command_is_not_sent_again(store: Store) -> None:
    """Once a participant took it, only its answer is awaited."""
    saga = await begin(store)
    saga = await apply(store, StepAccepted(fence_of(saga, "a"), heartbeat=True))
    assert await store.load_dispatches([fence_of(saga, "a")]) == [None]


async def test_what_is_no_longer_awaited_is_not_sent(store: Store) -> None:
    """Stale, foreign and made-up fences come back as None, in their place."""
    saga = await begin(store)
    first = fence_of(saga, "a")
    saga = await succeed(store, saga, "a")
    current = fence_of(saga, "b")
    found = await store.load_dispatches(
        [
            first,
            current,
            replace(current, generation=2),
            replace(current, direction=Direction.COMPENSATION),
            replace(current, step="nobody"),
            replace(current, saga_id=new_id()),
            current,
        ]
    )
    present = [one is not None for one in found]
    assert present == [False, True, False, False, False, False, True]
    assert await store.load_dispatches([]) == []
