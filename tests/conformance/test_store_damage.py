"""The store contract: a row that cannot be read stops nobody else.

It is told of by the id of its saga, left as it is, and everything around it is
listed, woken, sent and decided as before.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from saga_orchestrator.core.events import TimeCame
from saga_orchestrator.core.plan import Plan
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.errors import StoreDataError
from saga_orchestrator.ports.store import SagaFilter, Store
from saga_orchestrator.testing.clock import ManualClock
from tests.conformance.builders import (
    SECOND,
    apply,
    bare,
    begin,
    complete,
    dismissal,
    fence_of,
    plan_of,
    residual_of,
    step,
    succeed,
    with_residual,
)
from tests.conformance.conftest import OpenStore
from tests.conformance.damage import SNAPSHOT, damage

ANY_STORE = ["context", "no context", "history"]
SQL_STORES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


def _plan(name: str) -> Plan:
    """Return a plan that no other saga of the test has."""
    steps = [step("a"), step("b", input={"$ref": "outputs.a"})]
    return plan_of(*steps, name=name, deadline=10 * SECOND)


async def _three(store: Store) -> tuple[Saga, Saga, Saga]:
    """Begin three sagas; of each the first step is done, the second is sent."""
    names = ("one", "two", "three")
    sagas = [await begin(store, _plan(name), context={"x": 1}) for name in names]
    one, two, three = [await succeed(store, saga, "a", output=1) for saga in sagas]
    return one, two, three


async def _goes_on(store: Store, *sagas: Saga) -> None:
    """See that others are sent, woken and finished."""
    for saga in sagas:
        (loaded,) = await store.load_dispatches([fence_of(saga, "b")])
        assert loaded is not None
        assert loaded[1].outputs == {"a": 1}
        await apply(store, TimeCame(saga.id))
        assert (await complete(store, saga)).is_completed


# -- the snapshot itself: stores whose sagas are rows ---------------------------


@pytest.mark.parametrize("store_url", SQL_STORES, indirect=True)
@pytest.mark.parametrize("what", SNAPSHOT)
async def test_lists_tell_what_cannot_be_read(
    store: Store, store_url: str, open_store: OpenStore, what: str
) -> None:
    """The others are listed, in full pages; the damaged one by id, with why."""
    one, two, three = await _three(store)
    await damage(store, store_url, two, what)
    fresh = await open_store()  # which has read nothing before
    for which in (SagaFilter(), SagaFilter(frozenset({one.state}))):
        page = await fresh.page(which)
        assert page.items == [bare(three), bare(one)]
        (told,) = page.unreadable
        assert told.saga_id == two.id
        assert told.problem.startswith(f"saga {two.id}")
    first = SagaFilter(limit=1)
    assert await fresh.find(first) == [bare(three)]
    assert await fresh.find(replace(first, before=three.id)) == [bare(one)]
    assert await fresh.find(replace(first, before=one.id)) == []
    assert await fresh.list_active() == [bare(three), bare(one)]
    assert (await fresh.counts())[one.state] == 3


@pytest.mark.parametrize("store_url", SQL_STORES, indirect=True)
@pytest.mark.parametrize("what", SNAPSHOT)
async def test_a_damaged_saga_stops_no_other(
    store: Store, store_url: str, open_store: OpenStore, what: str
) -> None:
    """Nothing moves it; the others go on to their ends."""
    one, two, three = await _three(store)
    await damage(store, store_url, two, what)
    fresh = await open_store()
    for read in (fresh.load, fresh.record):
        with pytest.raises(StoreDataError, match=r"cannot be read|not in the store"):
            await read(two.id)
    with pytest.raises(StoreDataError):
        await fresh.load_dispatches([fence_of(one, "b"), fence_of(two, "b")])
    with pytest.raises(StoreDataError):
        await fresh.transact([TimeCame(one.id), TimeCame(two.id)])
    with pytest.raises(StoreDataError):
        await fresh.delete(two.id)
    await _goes_on(fresh, one, three)
    assert [one.saga_id for one in (await fresh.page(SagaFilter())).unreadable] == [
        two.id
    ]


# -- what stands beside it: every store ----------------------------------------


@pytest.mark.parametrize("what", ANY_STORE)
async def test_a_record_names_what_is_damaged(
    store: Store, store_url: str, open_store: OpenStore, what: str
) -> None:
    """All else of the saga is told; a program gets no half of it."""
    one, two, three = await _three(store)
    await damage(store, store_url, two, what)
    fresh = await open_store()
    assert await fresh.find(SagaFilter()) == [bare(one) for one in (three, two, one)]
    record = await fresh.record(two.id)
    assert record is not None
    (problem,) = record.damage
    assert problem.startswith(f"saga {two.id}: ")
    assert bare(record.saga) == bare(two)
    assert [row.fence.step for row in record.outbox] == ["a", "b"]
    damaged = what == "history"
    assert [entry.seq for entry in record.history] == ([1] if damaged else [1, 2])
    assert (record.saga.context, record.saga.outputs) == (
        ({"x": 1}, {}) if damaged else ({}, {"a": 1})
    )
    with pytest.raises(StoreDataError, match=two.id):
        await fresh.load(two.id)
    with pytest.raises(StoreDataError, match=two.id):
        await fresh.load_dispatches([fence_of(two, "b")])
    await _goes_on(fresh, one, three)
    whole = await fresh.record(one.id)
    assert whole is not None
    assert whole.damage == ()


async def test_a_damaged_residual_hides_no_other(store: Store, store_url: str) -> None:
    """It is told by its saga and number; nobody settles what nobody can read."""
    sagas = [await with_residual(store, output=number) for number in range(3)]
    residuals = [await residual_of(store, saga) for saga in sagas]
    await damage(store, store_url, sagas[1], "residual")
    page = await store.residual_page(10)
    assert page.items == [residuals[0], residuals[2]]
    (told,) = page.unreadable
    assert (told.saga_id, told.number) == (sagas[1].id, residuals[1].number)
    assert await store.open_residuals(2) == page.items
    first = (sagas[0].id, residuals[0].number)
    assert await store.open_residuals(1, after=first) == [residuals[2]]
    record = await store.record(sagas[1].id)
    assert record is not None
    assert (record.residuals, len(record.damage)) == ((), 1)
    with pytest.raises(StoreDataError, match=sagas[1].id):
        await store.transact([dismissal(residuals[1])])
    await apply(store, dismissal(residuals[2]))
    assert await store.open_residuals(10) == [residuals[0]]


# -- timers --------------------------------------------------------------------


async def test_sagas_that_cannot_be_woken_are_passed_over(
    store: Store, clock: ManualClock
) -> None:
    """Who asks for the others gets the others, however many there are."""
    sagas = [await begin(store, _plan(name)) for name in ("one", "two", "three")]
    ids = [saga.id for saga in sagas]
    assert await store.next_due(without=ids) is None
    assert await store.next_due(without=ids[:2]) == sagas[2].wake_at
    clock.advance(dt.timedelta(days=1))
    assert await store.due(1, without={ids[0]}) == [ids[1]]
    assert await store.due(10, without=set(ids)) == []
    assert sorted(await store.due(10)) == ids
