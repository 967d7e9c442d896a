"""The store contract: many callers at once, from several handles."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from saga_orchestrator.core.events import (
    CompensateRequested,
    ResendRequested,
    StepSucceeded,
)
from saga_orchestrator.errors import KeyConflict
from tests.conformance.builders import (
    begin,
    fence_of,
    persistently,
    plan_of,
    start,
    step,
    succeed,
)

if TYPE_CHECKING:
    from saga_orchestrator.core.plan import Plan
    from saga_orchestrator.ports.store import Store
    from tests.conformance.conftest import OpenStore


def _fan(width: int) -> Plan:
    branches = (step(f"s{number}", depends_on="root") for number in range(width))
    return plan_of("root", *branches)


async def test_concurrent_answers_apply_once_each(
    store: Store, open_store: OpenStore
) -> None:
    """A hundred transactions on one saga, from two handles, lose none."""
    handles = [store, await open_store()]
    saga = await succeed(store, await begin(store, _fan(100)), "root")
    answers = [
        StepSucceeded(fence_of(saga, f"s{number}"), number, {f"k{number}": number})
        for number in range(100)
    ]
    calls = [
        persistently(handles[number % 2], answer)
        for number, answer in enumerate(answers)
    ]
    decided = await asyncio.gather(*calls)
    record = await store.record(saga.id)
    assert record is not None
    assert all(one.changed and not one.ignored for (one,) in decided)
    assert record.saga.is_completed
    assert record.saga.context == {f"k{n}": n for n in range(100)}
    assert record.saga.outputs == {"root": None} | {f"s{n}": n for n in range(100)}
    numbers = [entry.seq for entry in record.history]
    assert numbers == list(range(1, record.saga.version + 1))


async def test_one_answer_many_times_applies_once(
    store: Store, open_store: OpenStore
) -> None:
    """Duplicates that arrive together: one wins, the others are counted."""
    handles = [store, await open_store()]
    saga = await begin(store)
    answer = StepSucceeded(fence_of(saga, "a"), 1, {"n": 1})
    calls = [persistently(handles[number % 2], answer) for number in range(50)]
    decided = [one for (one,) in await asyncio.gather(*calls)]
    record = await store.record(saga.id)
    assert record is not None
    assert sum(one.update is not None for one in decided) == 1
    assert record.saga.ignored == 49
    assert record.saga.revision == 1
    assert len(record.history) == 2


async def test_one_key_many_times_is_one_saga(
    store: Store, open_store: OpenStore
) -> None:
    """Starts with one key that race make one saga; another body conflicts."""
    handles = [store, await open_store()]
    bodies = ["same"] * 20 + ["other"] * 5
    calls = [
        persistently(handles[number % 2], start(key="k", fingerprint=body))
        for number, body in enumerate(bodies)
    ]
    decided = [one for (one,) in await asyncio.gather(*calls)]
    holders = {one.saga.id for one in decided}
    assert len(holders) == 1
    assert sum(one.created for one in decided) == 1
    conflicts = [one for one in decided if isinstance(one.refusal, KeyConflict)]
    assert len(conflicts) in (5, 20)  # whoever came first is the saga
    assert sum((await store.counts()).values()) == 1


async def test_crossed_batches_do_not_deadlock(
    store: Store, open_store: OpenStore
) -> None:
    """Two handles with the same sagas in opposite order both get through."""
    other = await open_store()
    first, second = await begin(store), await begin(store)
    there = [ResendRequested(saga.id) for saga in (first, second)]
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        for _ in range(30):
            tasks.create_task(persistently(store, *there))
            tasks.create_task(persistently(other, *there[::-1]))
    for saga in (first, second):
        record = await store.record(saga.id)
        assert record is not None
        assert record.saga.version == len(record.history) == 61


async def test_starts_of_one_new_plan_do_not_collide(
    store: Store, open_store: OpenStore
) -> None:
    """A definition that is new to the store may be started everywhere at once."""
    handles = [store, await open_store()]
    plan = plan_of("brand", "new")
    calls = [persistently(handles[n % 2], start(plan)) for n in range(20)]
    assert all(one.created for (one,) in await asyncio.gather(*calls))


async def test_success_and_compensate_race(store: Store, open_store: OpenStore) -> None:
    """Whoever comes first, the saga ends in one consistent story."""
    other = await open_store()
    for _ in range(10):
        saga = await begin(store, plan_of("a"))
        await asyncio.gather(
            persistently(store, StepSucceeded(fence_of(saga, "a"), 1)),
            persistently(other, CompensateRequested(saga.id, "ann", "why")),
        )
        record = await store.record(saga.id)
        assert record is not None
        assert len(record.history) == record.saga.version
        assert record.saga.is_completed or record.saga.is_compensating


async def test_a_cancelled_call_commits_whole_or_not(store: Store) -> None:
    """Whoever stops waiting leaves no half of a batch behind."""
    for turns in range(12):
        events = [start(context={"n": n}) for n in range(5)]
        call = asyncio.ensure_future(store.transact(events))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        # A transaction queued behind the cancelled one sees what became of it.
        await store.transact([start()])
        found = [await store.record(event.saga_id) for event in events]
        assert len({one is None for one in found}) == 1
        assert all(one is None or len(one.outbox) == 1 for one in found)


async def test_first_openings_race(open_store: OpenStore) -> None:
    """Processes that meet an empty store together make one schema and secret."""
    handles = await asyncio.gather(*(open_store() for _ in range(6)))
    assert len({handle.secret for handle in handles}) == 1
    saga = await begin(handles[0])
    assert await handles[-1].load(saga.id) is not None
