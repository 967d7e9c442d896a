"""A person's request whose commit lost its answer: decided again, it knows itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from saga_orchestrator.core.decision import Decision
from saga_orchestrator.core.events import (
    CompensateRequested,
    GiveUpRequested,
    ResolveRequested,
    RetryRequested,
)
from saga_orchestrator.core.states import Direction
from saga_orchestrator.ports.store import Store
from tests.conformance.builders import (
    PLAN,
    begin,
    complete,
    dismissal,
    fence_of,
    new_id,
    plan_of,
    refuse,
    residual_of,
    succeed,
    undoing,
    with_residual,
)
from tests.conformance.conftest import OpenStore

ASKED = ("ann", "asked")
PARKING = plan_of("a", "b", on_failure="park")


async def _parked(store: Store) -> Any:
    saga = await succeed(store, await begin(store, PARKING), "a")
    return await refuse(store, saga, "b")


async def _compensate(store: Store) -> Any:
    return CompensateRequested((await _parked(store)).id, *ASKED)


async def _retry(store: Store) -> Any:
    saga = await _parked(store)
    return RetryRequested(saga.id, *ASKED, saga.version)


async def _resolve(store: Store) -> Any:
    saga = await _parked(store)
    return ResolveRequested(saga.id, *ASKED, "b", Direction.ACTION, 1, {"by": "hand"})


async def _give_up(store: Store) -> Any:
    return GiveUpRequested((await begin(store, PLAN)).id, *ASKED, "a", 1)


async def _undo_residual(store: Store) -> Any:
    return await undoing(store, await residual_of(store, await with_residual(store)))


async def _dismiss(store: Store) -> Any:
    return dismissal(await residual_of(store, await with_residual(store)))


EVENTS = [_compensate, _retry, _resolve, _give_up, _undo_residual, _dismiss]


def _told(decision: Decision) -> tuple[Any, bool, int]:
    return decision.refusal, decision.changed, len(decision.history)


@pytest.mark.parametrize("make", EVENTS, ids=lambda make: make.__name__[1:])
async def test_a_request_again_answers_as_the_first_time(
    store: Store, open_store: OpenStore, make: Callable[[Store], Awaitable[Any]]
) -> None:
    """In a batch of its own, in the same one, and later by another process: once."""
    event = structs.replace(await make(store), request_id="request-1")
    first, again = await store.transact([event, event])
    assert first.changed
    assert first.refusal is None
    assert _told(again) == (None, False, 0)
    before = await store.record(event.saga_id)
    for handle in (store, await open_store()):
        (later,) = await handle.transact([event])
        assert _told(later) == (None, False, 0)
        assert later.saga is not None
        assert later.saga.version == before.saga.version
    assert await store.record(event.saga_id) == before
    ids = [entry.data.get("request_id") for entry in before.history]
    assert ids.count("request-1") == 1


@pytest.mark.parametrize("make", EVENTS[1:], ids=lambda make: make.__name__[1:])
async def test_another_request_is_judged_by_the_table(
    store: Store, make: Callable[[Store], Awaitable[Any]]
) -> None:
    """A second person who asks the same is refused, as ever."""
    event = structs.replace(await make(store), request_id="request-1")
    await store.transact([event])
    changes: dict[str, Any] = {"request_id": "request-2"}
    if hasattr(event, "undo_id"):
        changes["undo_id"] = new_id()
    (other,) = await store.transact([structs.replace(event, **changes)])
    assert other.refusal is not None
    assert not other.changed


async def test_a_request_is_known_after_others_were_applied(store: Store) -> None:
    """However much happened since its first commit: retried, failed, undone."""
    saga = await _parked(store)
    event = RetryRequested(saga.id, *ASKED, saga.version, request_id="request-1")
    saga = (await store.transact([event]))[0].saga
    saga = await refuse(store, saga, "b")
    assert saga.is_failed
    (again,) = await store.transact([event])
    assert _told(again) == (None, False, 0)
    undo = CompensateRequested(saga.id, *ASKED, request_id="request-2")
    (decision,) = await store.transact([undo])
    ended = await complete(store, decision.saga)
    assert ended.is_compensated
    again = await store.transact([event, undo])
    assert [_told(one) for one in again] == [(None, False, 0)] * 2


async def test_a_request_loads_no_condition_wrong(store: Store) -> None:
    """What a person asked before does not hide the context that a condition reads."""
    plan = plan_of(
        "a",
        replace(PLAN.steps[1], name="c", when={"context.wanted": True}),
        on_failure="park",
    )
    saga = await begin(store, plan, context={"wanted": True})
    for number in (1, 2):
        saga = await refuse(store, saga, "a")
        event = RetryRequested(saga.id, *ASKED, request_id=f"request-{number}")
        saga = (await store.transact([event]))[0].saga
    saga = await succeed(store, saga, "a")
    assert saga.status("c").generation == 1
    assert fence_of(saga, "c").generation == 1
