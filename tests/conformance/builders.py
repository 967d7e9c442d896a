"""What the store tests are made of: plans, starts, answers; time stands still."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import replace
from typing import Any

from saga_orchestrator.core.definition import SagaDefinition, Step
from saga_orchestrator.core.events import (
    SagaStarted,
    StepFailed,
    StepSucceeded,
)
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.plan import Plan, compile_plan
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
