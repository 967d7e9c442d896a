"""Residuals: listed until a person settles them, by a dismissal or by an undo."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.events import StepFailed, StepSucceeded
from saga_orchestrator.core.residual import Settlement
from saga_orchestrator.core.saga import NO_DATA, Saga, SagaData
from saga_orchestrator.core.states import Direction, SagaState, StepState
from saga_orchestrator.errors import (
    SagaNotFoundError,
    StoreDataError,
    TransitionRefused,
)
from saga_orchestrator.ports.store import SagaFilter
from tests.conformance.builders import (
    SECOND,
    apply,
    bare,
    begin,
    complete,
    dismissal,
    fence_of,
    first_fence,
    new_id,
    persistently,
    plan_of,
    residual_of,
    step,
    succeed,
    undoing,
    with_residual,
    with_three_residuals,
)

if TYPE_CHECKING:
    from saga_orchestrator.core.residual import Residual
    from saga_orchestrator.ports.records import SagaRecord
    from saga_orchestrator.ports.store import Store
    from saga_orchestrator.testing.clock import ManualClock
    from tests.conformance.conftest import OpenStore

ONE = plan_of("a")

GRAPH = plan_of(
    step("order", depends_on=()),
    step("pay", depends_on=("order",), input={"id": {"$ref": "outputs.order.id"}}),
    step("pack", depends_on=("order",)),
)


async def _recorded(store: Store, saga: Saga) -> SagaRecord:
    record = await store.record(saga.id)
    assert record is not None
    return record


async def _paid_late(store: Store) -> Saga:
    """End a saga that paid after its undo; its context moved on after ``pay`` began."""
    saga = await begin(store, GRAPH, context={"step": 0})
    saga = await succeed(store, saga, "order", output={"id": 7}, update={"step": 1})
    pay = fence_of(saga, "pay")
    saga = await succeed(store, saga, "pack", output="box", update={"step": 2})
    await complete(store, await apply(store, StepFailed(pay, refused=False)))
    return await apply(store, StepSucceeded(pay, {"receipt": 3}))


# -- dismissed -----------------------------------------------------------------


async def test_a_dismissal_settles(store: Store, clock: ManualClock) -> None:
    """Who, why and when are kept with the residual; the saga's state stays."""
    saga = await with_residual(store, ONE, output={"id": 7})
    found = await residual_of(store, saga)
    after = await apply(store, dismissal(found))
    record = await _recorded(store, saga)
    settled = replace(found, settled=Settlement(clock.now(), "ann", "no effect"))
    assert record.residuals == (settled,)
    assert (after.state, after.residuals) == (SagaState.COMPENSATED, 0)
    assert bare(record.saga) == bare(after)
    entry = record.history[-1]
    assert (entry.kind, entry.step) == (HistoryKind.RESIDUAL_DISMISSED, "a")


async def test_a_dismissed_residual_lets_delete_pass(store: Store) -> None:
    """Only an open one keeps a saga from being deleted."""
    saga = await with_residual(store, ONE)
    with pytest.raises(TransitionRefused, match="open residual"):
        await store.delete(saga.id)
    await apply(store, dismissal(await residual_of(store, saga)))
    await store.delete(saga.id)
    assert await store.record(saga.id) is None
    again = await begin(store, ONE, saga_id=saga.id)
    assert (await _recorded(store, again)).residuals == ()


async def test_settling_spoils_nothing_that_is_remembered(store: Store) -> None:
    """What was loaded for a person is not there at the saga's next event."""
    saga = await with_residual(store, ONE)
    await apply(store, dismissal(await residual_of(store, saga)))
    again = await succeed(store, saga, "a")  # a repetition: counted
    assert again.data is NO_DATA
    assert await store.find(SagaFilter()) == [again]


# -- undone --------------------------------------------------------------------


async def test_an_undo_is_a_saga_of_its_own(store: Store, clock: ManualClock) -> None:
    """It begins compensating the step, with what the step was given and returned."""
    saga = await _paid_late(store)
    found = await residual_of(store, saga)
    event = await undoing(store, found)
    (decision,) = await store.transact([event])
    assert decision.saga is not None
    assert (decision.saga.id, decision.saga.residuals) == (saga.id, 0)
    settled = Settlement(clock.now(), "ann", "paid twice", event.undo_id)
    assert (await _recorded(store, saga)).residuals == (
        replace(found, settled=settled),
    )

    undo = await store.load(event.undo_id)
    assert undo is not None
    assert (undo.name, undo.undoes, undo.key) == (saga.name, saga.id, None)
    assert undo.state is SagaState.COMPENSATING
    assert [one.name for one in undo.plan.steps] == ["order", "pay"]
    assert undo.context == {"step": 1}
    assert undo.outputs == {"order": {"id": 7}, "pay": {"receipt": 3}}
    assert undo.wake_at is not None
    assert undo.wake_at > clock.now()


async def test_an_undo_is_sent_as_any_command(store: Store) -> None:
    """It is in the outbox, its data is found, its answer ends the saga."""
    found = await residual_of(store, await _paid_late(store))
    event = await undoing(store, found)
    started = (await store.transact([event], lease=0 * SECOND))[0].started
    assert started is not None
    command = first_fence(event.undo_id, "pay", Direction.COMPENSATION)
    assert [one.fence for one in started.dispatches] == [command]
    assert command in [row.fence for row in await store.claim(100, SECOND)]
    ((snapshot, data),) = [
        one for one in await store.load_dispatches([command]) if one is not None
    ]
    assert snapshot == bare(started.saga)
    assert data.context == {"step": 1}
    assert data.outputs == {"order": {"id": 7}, "pay": {"receipt": 3}}
    undo = await apply(store, StepSucceeded(command))
    assert undo.status("pay").state is StepState.COMPENSATED
    assert undo.undoes == found.fence.saga_id


async def test_an_undo_may_move_on_in_its_own_batch(store: Store) -> None:
    """An answer decided right behind the start is written with it."""
    found = await residual_of(store, await with_residual(store, ONE, output=1))
    event = await undoing(store, found)
    command = first_fence(event.undo_id, "a", Direction.COMPENSATION)
    await store.transact([event, StepSucceeded(command)])
    undo = await store.load(event.undo_id)
    assert undo is not None
    assert undo.is_compensated
    assert undo.outputs == {"a": 1}


async def test_the_same_undo_again_changes_nothing(store: Store) -> None:
    """A commit whose answer was lost is run again: one saga, one entry."""
    saga = await with_residual(store, ONE)
    event = await undoing(store, await residual_of(store, saga))
    await store.transact([event])
    before = await _recorded(store, saga)
    undo = await store.record(event.undo_id)
    for again in ([event], [event, event]):
        for decision in await store.transact(again):
            assert decision.refusal is None
            assert not decision.changed
            assert decision.started is None
    assert await _recorded(store, saga) == before
    assert await store.record(event.undo_id) == undo


async def test_twice_in_a_batch_starts_one(store: Store) -> None:
    """The second of two equal events finds what the first did."""
    saga = await with_residual(store, ONE)
    event = await undoing(store, await residual_of(store, saga))
    first, second = await store.transact([event, event])
    assert first.started is not None
    assert (second.started, second.refusal) == (None, None)
    assert (await _recorded(store, saga)).saga.residuals == 0


async def test_an_undone_residual_lets_delete_pass(store: Store) -> None:
    """The effect is in the other saga's account, which stays."""
    saga = await with_residual(store, ONE)
    event = await undoing(store, await residual_of(store, saga))
    await apply(store, event)
    await store.delete(saga.id)
    undo = await store.load(event.undo_id)
    assert undo is not None
    assert undo.undoes == saga.id


async def test_conditions_and_residuals_are_loaded_together(store: Store) -> None:
    """A plan with conditions hides its saga's residuals from nobody."""
    plan = plan_of("a", step("b", when={"context.go": True}))
    saga = await with_residual(store, plan, context={"go": True})
    after = await apply(store, dismissal(await residual_of(store, saga)))
    assert after.residuals == 0
    assert after.context == {"go": True}


# -- refused -------------------------------------------------------------------


async def test_a_second_settlement_is_refused(store: Store) -> None:
    """The first stands, and the refusal says which."""
    dismissed = await residual_of(store, await with_residual(store, ONE))
    undone = await residual_of(store, await with_residual(store, ONE))
    event = await undoing(store, undone)
    await store.transact([dismissal(dismissed), event])
    for residual, said in (
        (dismissed, "dismissed by ann"),
        (undone, f"is saga {event.undo_id}"),
    ):
        for later in (
            dismissal(residual, principal="bob"),
            await undoing(store, residual),
        ):
            before = await store.record(residual.fence.saga_id)
            (decision,) = await store.transact([later])
            assert isinstance(decision.refusal, TransitionRefused)
            assert said in str(decision.refusal)
            assert await store.record(residual.fence.saga_id) == before


@pytest.mark.parametrize("undo_first", [True, False])
async def test_of_two_in_a_batch_the_first_wins(
    store: Store, *, undo_first: bool
) -> None:
    """A residual that is dismissed and undone at once is settled once."""
    saga = await with_residual(store, ONE)
    found = await residual_of(store, saga)
    undo = await undoing(store, found)
    events = [undo, dismissal(found)] if undo_first else [dismissal(found), undo]
    won, lost = await store.transact(events)
    assert won.refusal is None
    assert isinstance(lost.refusal, TransitionRefused)
    settled = (await residual_of(store, saga)).settled
    assert settled is not None
    assert settled.undo_id == (undo.undo_id if undo_first else None)
    assert (await store.load(undo.undo_id) is not None) is undo_first


async def test_of_many_at_once_one_wins(open_store: OpenStore) -> None:
    """Two handles that settle the same residual do not both do it."""
    one, two = await open_store(), await open_store()
    for _ in range(5):
        saga = await with_residual(one, ONE)
        found = await residual_of(one, saga)
        undo = await undoing(one, found)
        ((first,), (second,)) = await asyncio.gather(
            persistently(one, dismissal(found)), persistently(two, undo)
        )
        assert (first.refusal is None) is not (second.refusal is None)
        settled = (await residual_of(one, saga)).settled
        assert settled is not None
        assert (settled.undo_id is None) is (first.refusal is None)
        assert (await two.load(undo.undo_id) is None) is (first.refusal is None)


async def test_an_unknown_residual_is_refused(store: Store) -> None:
    """A wrong number, or a wrong saga, is told."""
    found = await residual_of(store, await with_residual(store, ONE))
    wrong = replace(found, number=99)
    nowhere = replace(found, fence=replace(found.fence, saga_id=new_id()))
    number, saga = await store.transact([dismissal(wrong), dismissal(nowhere)])
    assert f"its residuals are {found.number}" in str(number.refusal)
    assert isinstance(saga.refusal, SagaNotFoundError)


@pytest.mark.parametrize("text", ["nul \0", "half \ud800"])
@pytest.mark.parametrize("field", ["reason", "principal"])
async def test_text_that_no_row_can_hold_is_refused(
    store: Store, field: str, text: str
) -> None:
    """Nothing is written: no settlement, no entry, no saga."""
    saga = await with_residual(store, ONE)
    found = await residual_of(store, saga)
    before = await _recorded(store, saga)
    undo = await undoing(store, found, **{field: text})
    for event in (dismissal(found, **{field: text}), undo):
        with pytest.raises(StoreDataError):
            await store.transact([event])
    assert await _recorded(store, saga) == before
    assert await store.load(undo.undo_id) is None


# -- read ----------------------------------------------------------------------


async def _open_ones(store: Store, limit: int) -> list[Residual]:
    """Return all open residuals, page by page."""
    found: list[Residual] = []
    after = None
    while page := await store.open_residuals(limit, after=after):
        assert len(page) <= limit
        found += page
        after = (page[-1].fence.saga_id, page[-1].number)
    return found


async def test_open_residuals_come_in_pages(store: Store) -> None:
    """By saga and number, over all sagas; settled ones are left out."""
    assert await store.open_residuals(10) == []
    many = await with_three_residuals(store)
    sagas = [many, *[await with_residual(store, ONE, output=n) for n in range(3)]]
    await begin(store)
    records = [await _recorded(store, saga) for saga in sagas]
    expected = [one for record in records for one in record.residuals]
    assert len(expected) == 6
    for limit in (1, 2, 4, 6, 100):
        assert await _open_ones(store, limit) == expected
    await apply(store, dismissal(expected[1]), await undoing(store, expected[4]))
    del expected[4], expected[1]
    for limit in (1, 3, 100):
        assert await _open_ones(store, limit) == expected


async def test_the_number_is_that_of_the_history_entry(store: Store) -> None:
    """So a person finds the one from the other."""
    record = await _recorded(store, await with_three_residuals(store))
    for residual in record.residuals:
        entry = record.history[residual.number - 1]
        assert entry.kind is HistoryKind.RESIDUAL_FOUND
        assert entry.step == residual.fence.step


async def test_a_step_is_loaded_though_nobody_waits_for_it(store: Store) -> None:
    """The context is the one that it was sent with; only what it reads is there."""
    saga = await _paid_late(store)
    loaded = await store.load(saga.id)
    assert loaded is not None
    assert loaded.context == {"step": 2}
    assert await store.load_dispatches([fence_of(saga, "pay")]) == [None]
    found = await store.load_step(saga.id, "pay")
    assert found == (bare(saga), SagaData({"step": 1}, {"order": {"id": 7}}))


async def test_a_step_that_is_awaited_is_loaded_as_its_dispatch(store: Store) -> None:
    """Both ways lead to the same command."""
    saga = await begin(store, GRAPH, context={"step": 0})
    saga = await succeed(store, saga, "order", output={"id": 7}, update={"step": 1})
    assert [await store.load_step(saga.id, "pay")] == await store.load_dispatches(
        [fence_of(saga, "pay")]
    )


async def test_no_such_step(store: Store) -> None:
    """An unknown saga, or a step that it does not have, is None."""
    saga = await begin(store)
    assert await store.load_step(new_id(), "a") is None
    assert await store.load_step(saga.id, "nowhere") is None


async def test_settlements_are_durable(open_store: OpenStore) -> None:
    """Another handle, opened later, finds all of it."""
    store = await open_store()
    dismissed = await residual_of(store, await with_residual(store, ONE, output=1))
    undone = await residual_of(store, await with_residual(store, ONE, output=2))
    left = await residual_of(store, await with_residual(store, ONE, output=3))
    event = await undoing(store, undone)
    await apply(store, dismissal(dismissed), event)
    ids = [one.fence.saga_id for one in (dismissed, undone, left)]
    ids.append(event.undo_id)
    before = [await store.record(saga_id) for saga_id in ids]
    await store.close()
    again = await open_store()
    assert [await again.record(saga_id) for saga_id in ids] == before
    assert await again.open_residuals(10) == [left]
    undo = await again.load(event.undo_id)
    assert undo is not None
    assert (await complete(again, undo)).is_compensated
