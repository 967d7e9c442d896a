"""The store contract: what is asked of it, and the classic operations."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from msgspec import structs

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.events import (
    SagaStarted,
    StepFailed,
    TimeCame,
)
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.saga import NO_DATA, Saga
from saga_orchestrator.core.states import SagaState, StepState
from saga_orchestrator.errors import (
    SagaAlreadyExistsError,
    SagaNotFoundError,
    TransitionRefused,
)
from saga_orchestrator.ports.store import SagaFilter, Store
from saga_orchestrator.testing.clock import ManualClock
from tests.conformance.builders import (
    PLAN,
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
    step,
    succeed,
    with_residual,
)
from tests.conformance.conftest import OpenStore

ONE = plan_of("a")
PARKED = plan_of("a", on_failure="park", name="parked")


def _ids(sagas: list[Saga]) -> list[SagaId]:
    return [saga.id for saga in sagas]


async def _deadline_in(store: Store, seconds: int) -> Saga:
    return await begin(store, plan_of("a", deadline=seconds * SECOND))


# -- time --------------------------------------------------------------------


async def test_timers_are_due_in_order_and_never_early(
    store: Store, clock: ManualClock
) -> None:
    """A saga is due from its ``wake_at`` on, the longest due first."""
    late = await _deadline_in(store, 30)
    early = await _deadline_in(store, 10)
    middle = await _deadline_in(store, 20)
    assert await store.next_due() == early.wake_at
    clock.advance(dt.timedelta(seconds=10, microseconds=-1))
    assert await store.due(10) == []
    clock.advance(dt.timedelta(microseconds=1))
    assert await store.due(10) == [early.id]
    clock.advance(20)
    assert await store.due(10) == [early.id, middle.id, late.id]
    assert await store.due(2) == [early.id, middle.id]


async def test_a_fired_timer_is_due_no_more(store: Store, clock: ManualClock) -> None:
    """What was fired has its next instant, or none."""
    saga = await _deadline_in(store, 10)
    clock.advance(10)
    saga = await apply(store, TimeCame(saga.id))
    assert await store.due(10) == []
    assert await store.next_due() == saga.wake_at
    await complete(store, saga)
    assert await store.next_due() is None


async def test_an_empty_store_has_nothing(store: Store) -> None:
    """No saga, no timer, no command."""
    assert await store.next_due() is None
    assert await store.due(10) == []
    assert await store.claim(10, SECOND) == []
    assert await store.counts() == {}
    assert await store.find(SagaFilter()) == []
    assert await store.load(new_id()) is None
    assert await store.record(new_id()) is None


async def test_the_clock_is_the_one_given(store: Store, clock: ManualClock) -> None:
    """A store that was given a clock lives by it."""
    clock.advance(dt.timedelta(days=400, microseconds=1))
    assert await store.now() == clock.now()


# -- lists -------------------------------------------------------------------


async def test_find_lists_the_newest_first(store: Store) -> None:
    """Snapshots come without data, by descending id."""
    sagas = [await begin(store, context={"n": n}) for n in range(3)]
    found = await store.find(SagaFilter())
    assert found == [bare(saga) for saga in sagas[::-1]]
    assert all(saga.data is NO_DATA for saga in found)


async def test_find_filters(store: Store) -> None:
    """States, name and key each narrow the list; together they all hold."""
    running = await begin(store, ONE, key="k")
    done = await complete(store, await begin(store, ONE))
    parked = await begin(store, PARKED, key="k")
    parked = await refuse(store, parked, "a")
    expected = {
        SagaFilter(frozenset({SagaState.STARTED})): [running],
        SagaFilter(frozenset({SagaState.FAILED, SagaState.COMPLETED})): [parked, done],
        SagaFilter(frozenset({SagaState.COMPENSATED})): [],
        SagaFilter(name="order"): [done, running],
        SagaFilter(name="nobody"): [],
        SagaFilter(key="k"): [parked, running],
        SagaFilter(name="parked", key="k"): [parked],
        SagaFilter(frozenset({SagaState.COMPLETED}), key="k"): [],
        SagaFilter(before=parked.id): [done, running],
        SagaFilter(limit=1): [parked],
        SagaFilter(frozenset(SagaState), before=done.id): [running],
    }
    for which, sagas in expected.items():
        assert await store.find(which) == [bare(saga) for saga in sagas], which


async def test_find_pages_by_cursor(store: Store) -> None:
    """The last id of a page is the cursor of the next; none is missed."""
    sagas = [await begin(store, ONE) for _ in range(11)]
    for saga in sagas[::2]:
        await complete(store, saga)
    which = SagaFilter(frozenset({SagaState.STARTED, SagaState.COMPLETED}), limit=4)
    found: list[SagaId] = []
    while page := await store.find(which):
        found += _ids(page)
        which = replace(which, before=page[-1].id)
    assert found == _ids(sagas)[::-1]


async def test_counts_by_state(store: Store) -> None:
    """Each state with a saga is counted; the others are absent."""
    sagas = [await begin(store, ONE) for _ in range(4)]
    await complete(store, sagas[0])
    await complete(
        store, await apply(store, StepFailed(fence_of(sagas[1], "a"), False))
    )
    assert await store.counts() == {
        SagaState.STARTED: 2,
        SagaState.COMPLETED: 1,
        SagaState.COMPENSATED: 1,
    }


# -- deleting ----------------------------------------------------------------


async def test_delete_takes_everything(store: Store) -> None:
    """An ended saga goes with all that belongs to it, and frees its key."""
    saga = await begin(store, ONE, key="k", context={"x": 1})
    saga = await complete(store, saga)
    await succeed(store, saga, "a")  # repeated: an ignored answer to delete as well
    keep = await begin(store, ONE)
    await store.delete(saga.id)
    assert await store.load(saga.id) is None
    assert await store.record(saga.id) is None
    assert _ids(await store.find(SagaFilter())) == [keep.id]
    again = SagaStarted(saga.id, ONE, {}, "k", "another body")
    assert (await store.transact([again]))[0].created
    record = await store.record(saga.id)
    assert record is not None
    assert (len(record.history), record.ignored) == (1, ())


async def test_delete_refuses_what_is_needed(store: Store) -> None:
    """Active sagas, open residuals and unsettled commands stay."""
    active = await begin(store)
    parked = await refuse(store, await begin(store, PARKED), "a")
    unsettled = await succeed(store, await begin(store, ONE), "a")
    residual = await with_residual(store, ONE)
    for saga in (active, parked, unsettled, residual):
        before = await store.record(saga.id)
        with pytest.raises(TransitionRefused) as refused:
            await store.delete(saga.id)
        assert refused.value.saga_id == saga.id
        assert await store.record(saga.id) == before
    with pytest.raises(SagaNotFoundError):
        await store.delete(new_id())


# -- the classic operations --------------------------------------------------


async def test_save_only_creates(store: Store) -> None:
    """A snapshot's id, plan, key and context make a saga; twice is an error."""
    model = await begin(store, ONE, context={"x": 1}, key="k")
    saga = structs.replace(model, id=new_id(), key="other")
    saved = await store.save(saga)
    assert saved.id == saga.id
    assert (await store.load(saga.id)) == saved
    with pytest.raises(SagaAlreadyExistsError) as taken:
        await store.save(saga)
    assert taken.value.saga_id == saga.id
    assert len(await store.claim(10, SECOND)) == 1  # left to any relay at once


async def test_list_active_lists_what_has_not_ended(store: Store) -> None:
    """Failed sagas are active: a person must look."""
    running = await begin(store)
    parked = await refuse(store, await begin(store, PARKED), "a")
    undoing = await begin(store)
    undoing = await apply(store, StepFailed(fence_of(undoing, "a"), refused=False))
    await complete(store, await begin(store, ONE))
    assert _ids(await store.list_active()) == [undoing.id, parked.id, running.id]


async def test_update_step_is_judged_by_the_table(store: Store) -> None:
    """A step is set by hand only where an operator could; with who and why."""
    parked = await refuse(store, await begin(store, PARKED), "a")
    done = await store.update_step(
        parked.id, "a", StepState.COMPLETED, output=7, principal="ann", reason="paid"
    )
    assert done.is_completed
    record = await store.record(parked.id)
    assert record is not None
    assert record.saga.outputs == {"a": 7}
    resolved = next(e for e in record.history if e.kind is HistoryKind.STEP_RESOLVED)
    assert (resolved.data["principal"], resolved.data["reason"]) == ("ann", "paid")

    running = await begin(store, plan_of(step("a", compensation="")))
    lost = await store.update_step(
        running.id, "a", StepState.FAILED, principal="ann", reason="it hangs"
    )
    assert lost.is_compensated
    for state in (StepState.PENDING, StepState.COMPLETED):
        with pytest.raises(TransitionRefused):
            await store.update_step(
                running.id, "a", state, principal="ann", reason="why"
            )
    with pytest.raises(SagaNotFoundError):
        await store.update_step(
            new_id(), "a", StepState.FAILED, principal="ann", reason="why"
        )


async def test_update_state_only_compensates(store: Store) -> None:
    """The one state that a person may set is ``compensating``."""
    saga = await succeed(store, await begin(store), "a")
    saga = await succeed(store, saga, "b")
    after = await store.update_state(
        saga.id, SagaState.COMPENSATING, principal="ann", reason="wrong"
    )
    assert after.is_compensating
    with pytest.raises(TransitionRefused):
        await store.update_state(
            saga.id, SagaState.COMPLETED, principal="ann", reason="wrong"
        )


# -- handles -----------------------------------------------------------------


async def test_the_secret_is_the_stores(store: Store, open_store: OpenStore) -> None:
    """32 bytes, the same in every handle and after every opening."""
    other = await open_store()
    assert len(store.secret) == 32
    assert other.secret == store.secret
    await other.close()
    assert (await open_store()).secret == store.secret


async def test_handles_see_each_other(store: Store, open_store: OpenStore) -> None:
    """What one handle committed, another sees and goes on with."""
    other = await open_store()
    saga = await begin(store, PLAN, key="k", context={"x": 1})
    assert bare(await other.load(saga.id)) == bare(saga)
    saga = await succeed(other, saga, "a", output=1)
    assert bare(await store.load(saga.id)) == bare(saga)
    await other.settle([first_fence(saga.id, "a")])
    record = await store.record(saga.id)
    assert record is not None
    assert [row.fence.step for row in record.outbox] == ["b"]


async def test_an_engine_may_be_claimed_again(store: Store) -> None:
    """Claiming what one has is fine."""
    await store.acquire_engine()
    await store.acquire_engine()


async def test_closing_twice_is_fine(open_store: OpenStore) -> None:
    """A closed store closes again without an error."""
    store = await open_store()
    await begin(store)
    await store.close()
    await store.close()
