"""What the store tests are made of: plans, starts, answers; time stands still."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

from msgspec.structs import replace

from saga_orchestrator.core.definition import SagaDefinition, Step
from saga_orchestrator.core.events import (
    ResidualDismissRequested,
    ResidualUndoRequested,
    SagaStarted,
    StepFailed,
    StepSucceeded,
)
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.plan import Plan, compile_plan
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.core.saga import NO_DATA, Saga
from saga_orchestrator.core.states import Direction
from saga_orchestrator.errors import ConcurrencyError
from saga_orchestrator.ports.store import Store

SECOND = dt.timedelta(seconds=1)
ONCE = RetryPolicy(max_attempts=1)

_numbers = itertools.count(1)


def new_id() -> SagaId:
    """Return an id above all that were returned before."""
    return SagaId(f"{next(_numbers):026}")


def step(name: str, **options: Any) -> Step:
    """Return a step with an action and a compensation, tried once."""
    defaults: dict[str, Any] = {
        "action": f"do.{name}",
        "compensation": f"undo.{name}",
        "retry": ONCE,
        "compensation_retry": ONCE,
    }
    return Step(name, **(defaults | options))


def plan_of(*steps: Step | str, name: str = "order", **options: Any) -> Plan:
    """Return a plan; a bare name is a step of ``step``."""
    made = [step(one) if isinstance(one, str) else one for one in steps]
    return compile_plan(SagaDefinition(name, steps=made, **options))


PLAN = plan_of("a", "b", "c")


def start(plan: Plan = PLAN, **fields: Any) -> SagaStarted:
    """Return a start with a new id; the fingerprint stands for the body."""
    fields = {"saga_id": new_id(), "context": {}} | fields
    return SagaStarted(plan=plan, **fields)


async def begin(store: Store, plan: Plan = PLAN, **fields: Any) -> Saga:
    """Start a saga and return it."""
    saga = (await store.transact([start(plan, **fields)]))[0].saga
    assert saga is not None
    return saga


def fence_of(saga: Saga, name: str) -> Fence:
    """Return the fence of a step's current dispatch."""
    return saga.fence_of(saga.plan.number[name])


def first_fence(
    saga_id: SagaId, name: str, direction: Direction = Direction.ACTION
) -> Fence:
    """Return the fence of a step's first dispatch."""
    return Fence(saga_id, name, direction, 1)


async def apply(store: Store, *events: Any) -> Saga:
    """Decide events one by one and return the last snapshot."""
    saga = None
    for event in events:
        saga = (await store.transact([event]))[0].saga
    assert saga is not None
    return saga


async def succeed(store: Store, saga: Saga, name: str, **fields: Any) -> Saga:
    """Answer a step's current dispatch with success."""
    return await apply(store, StepSucceeded(fence_of(saga, name), **fields))


async def refuse(store: Store, saga: Saga, name: str) -> Saga:
    """Answer a step's current dispatch with a definite no."""
    return await apply(store, StepFailed(fence_of(saga, name), True, "No", "no"))


async def complete(store: Store, saga: Saga) -> Saga:
    """Answer every open command with success until the saga ends; settle all."""
    while opened := [
        saga.fence_of(number)
        for number, status in enumerate(saga.steps)
        if status.is_in_flight
    ]:
        answers = [StepSucceeded(fence) for fence in opened]
        decisions = await store.transact(answers, settled=opened)
        last = decisions[-1].saga
        assert last is not None
        saga = last
    return saga


async def with_residual(
    store: Store, plan: Plan = PLAN, output: Any = None, **fields: Any
) -> Saga:
    """End a saga whose first step succeeded after its undo was sent."""
    saga = await begin(store, plan, **fields)
    action = fence_of(saga, plan.steps[0].name)
    saga = await apply(store, StepFailed(action, refused=False))
    saga = await apply(store, StepSucceeded(action, output))
    saga = await complete(store, saga)
    await store.settle([action])
    assert saga.is_compensated
    return saga


async def with_three_residuals(store: Store) -> Saga:
    """End a saga of which three steps succeeded after they were undone."""
    names = ("x", "y", "z")
    steps = [step(name, depends_on=("a",)) for name in names]
    saga = await succeed(store, await begin(store, plan_of("a", *steps)), "a")
    actions = [fence_of(saga, name) for name in names]
    saga = await apply(store, *(StepFailed(one, refused=False) for one in actions))
    await complete(store, saga)
    return await apply(store, *(StepSucceeded(one, one.step) for one in actions))


async def residual_of(store: Store, saga: Saga) -> Residual:
    """Return a saga's only residual."""
    record = await store.record(saga.id)
    assert record is not None
    (residual,) = record.residuals
    return residual


def dismissal(residual: Residual, **fields: Any) -> ResidualDismissRequested:
    """Return the event of a person who dismisses a residual."""
    fields = {"principal": "ann", "reason": "no effect"} | fields
    return ResidualDismissRequested(
        residual.fence.saga_id, number=residual.number, **fields
    )


async def undoing(
    store: Store, residual: Residual, **fields: Any
) -> ResidualUndoRequested:
    """Return the event of a person who has a residual undone."""
    saga_id = residual.fence.saga_id
    loaded = await store.load_step(saga_id, residual.fence.step)
    assert loaded is not None
    fields = {"principal": "ann", "reason": "paid twice", "undo_id": new_id()} | fields
    return ResidualUndoRequested(
        saga_id, number=residual.number, data=loaded[1], **fields
    )


async def goes_on(store: Store, running: Saga, found: list[Residual]) -> None:
    """Check that residuals are what they were, that each is undone, that sagas run."""
    assert await store.open_residuals(len(found) + 1) == found
    for residual in found:
        event = await undoing(store, residual)
        await apply(store, event)
        undo = await store.load(event.undo_id)
        assert undo is not None
        assert (await complete(store, undo)).is_compensated
    assert await store.open_residuals(1) == []
    assert (await complete(store, running)).is_completed


def bare(saga: Saga | None) -> Saga:
    """Return the snapshot without its data."""
    assert saga is not None
    return replace(saga, data=NO_DATA)


async def persistently(store: Store, *events: Any) -> list[Any]:
    """Transact as the engine does: again, when the store says so."""
    for _ in range(20):
        try:
            return await store.transact(events)
        except ConcurrencyError:
            continue
    raise AssertionError("20 conflicts in a row")
