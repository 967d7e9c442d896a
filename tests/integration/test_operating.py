"""What a person asks, on PostgreSQL and RabbitMQ, with the handlers in a worker."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator

import pytest

from saga_orchestrator import (
    Manager,
    RetryPolicy,
    SagaDefinition,
    StepFailed,
    StepState,
)
from saga_orchestrator.bootstrap import open_worker
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.errors import TransitionRefused
from saga_orchestrator.settings import Settings
from tests.support.waiting import eventually
from tests.unit.runtime.stage import ONCE, Service, raising

SECONDS = 60
WHO = {"reason": "the bank called", "principal": "ann"}


@pytest.fixture
def far() -> Service:
    """The service that a worker without a database runs."""
    return Service("far")


@pytest.fixture
async def manager(
    far: Service, postgres_url: str, rabbit_url: str
) -> AsyncIterator[Manager]:
    """An engine without handlers, beside the worker."""
    async with (
        Manager.open(
            store=postgres_url, migrate=True, broker=rabbit_url, engine=True
        ) as manager,
        open_worker(Settings(broker=rabbit_url), [far.handlers]),
    ):
        yield manager


async def _told(manager: Manager, saga_id: str, kind: HistoryKind) -> dict[str, object]:
    history = (await manager.record(saga_id)).history
    told = next(entry.data for entry in history if entry.kind is kind)
    return {name: value for name, value in told.items() if name != "request_id"}


async def test_a_parked_saga_is_resolved_retried_and_undone(
    manager: Manager, far: Service
) -> None:
    """Each request leads it on; the worker is told what was done by hand."""
    for name in "bc":
        far.does[name] = raising(StepFailed("no"))
    kind = SagaDefinition("s", steps=far.chain("abc"), on_failure="park")
    saga = await manager.start(kind)
    assert (await manager.wait(saga.id, SECONDS)).is_failed
    await manager.resolve(saga.id, "b", output={"receipt": 7}, **WHO)
    saga = await manager.wait(saga.id, SECONDS)
    assert (saga.is_failed, saga.failed_steps) == (True, ("c",))
    await manager.retry(saga.id, **WHO)
    await eventually(lambda: far.runs.count("c") == 2)
    assert (await manager.wait(saga.id, SECONDS)).is_failed
    await manager.compensate(saga.id, **WHO)
    assert (await manager.wait(saga.id, SECONDS)).is_compensated
    assert far.runs == ["a", "b", "c", "c", "undo_b", "undo_a"]
    assert far.given[4] == {"receipt": 7}
    assert far.contexts[4].is_known
    resolved = await _told(manager, saga.id, HistoryKind.STEP_RESOLVED)
    assert resolved == {**WHO, "output": {"receipt": 7}}
    assert await _told(manager, saga.id, HistoryKind.RETRY_REQUESTED) == WHO


async def test_what_came_too_late_is_undone_over_the_broker(
    manager: Manager, far: Service
) -> None:
    """Given up, undone, answered after all: a saga of its own undoes that effect."""
    gate = asyncio.Event()

    async def answer_late(ctx: object) -> dict[str, int]:
        del ctx
        await gate.wait()
        return {"charge": 9}

    far.does["a"] = answer_late
    saga = await manager.start("s", far.chain("a", retry=ONCE))
    await eventually(lambda: far.runs == ["a"])
    await manager.give_up(saga.id, "a", **WHO)
    assert (await manager.wait(saga.id, SECONDS)).is_compensated
    gate.set()
    await eventually(manager.residuals)
    (residual,) = await manager.residuals()
    undo = await manager.undo_residual(saga.id, residual.number, **WHO)
    assert (await manager.wait(undo.id, SECONDS)).is_compensated
    assert far.runs == ["a", "undo_a", "undo_a"]
    ctx = far.contexts[-1]
    assert far.given[-1] == {"charge": 9}
    assert (ctx.saga_id, ctx.fence.saga_id) == (saga.id, undo.id)
    assert ctx.idempotency_key != far.contexts[1].idempotency_key
    assert await manager.residuals() == []
    told = await _told(manager, saga.id, HistoryKind.RESIDUAL_UNDO_REQUESTED)
    assert told == {**WHO, "residual": residual.number, "undo_id": undo.id}


async def test_force_undoes_a_completed_saga(manager: Manager, far: Service) -> None:
    """And is on record as such."""
    saga = await manager.start("s", far.chain("ab"))
    assert (await manager.wait(saga.id, SECONDS)).is_completed
    await manager.compensate(saga.id, force=True, **WHO)
    assert (await manager.wait(saga.id, SECONDS)).is_compensated
    assert far.runs == ["a", "b", "undo_b", "undo_a"]
    told = await _told(manager, saga.id, HistoryKind.COMPENSATE_REQUESTED)
    assert told == {**WHO, "force": True}


async def test_past_the_pivot_a_saga_only_goes_forward(
    manager: Manager, far: Service
) -> None:
    """It stops, with nothing undone, and completes when a person asks again."""
    far.does["c"] = raising(StepFailed("no"), times=1)
    (a,), (b,), (c,) = (far.chain("a"), far.chain("b", pivot=True), far.chain("c"))
    saga = await manager.start("s", [a, b, c])
    saga = await manager.wait(saga.id, SECONDS)
    assert (saga.is_failed, far.runs) == (True, ["a", "b", "c"])
    assert "past the pivot" in saga.reason
    with pytest.raises(TransitionRefused, match="force"):
        await manager.compensate(saga.id, **WHO)
    await manager.retry(saga.id, **WHO)
    assert (await manager.wait(saga.id, SECONDS)).is_completed
    assert far.runs == ["a", "b", "c", "c"]


async def test_an_undo_that_gives_up_is_a_persons(
    manager: Manager, far: Service
) -> None:
    """Never recorded as undone; its data is kept, and it is undone when asked again."""
    far.does["b"] = raising(StepFailed("no"))
    far.does["undo_a"] = raising(ConnectionError("half of it"), times=2)
    twice = RetryPolicy(max_attempts=2, initial_delay=dt.timedelta(0))
    saga = await manager.start("s", far.chain("ab", compensation_retry=twice))
    saga = await manager.wait(saga.id, SECONDS)
    assert (saga.is_failed, saga.status("a").state) == (True, StepState.COMPENSATING)
    assert "half of it" in saga.reason
    assert saga.outputs["a"] == {"by": "a"}
    await manager.retry(saga.id, **WHO)
    assert (await manager.wait(saga.id, SECONDS)).is_compensated
    assert far.runs == ["a", "b", "undo_a", "undo_a", "undo_a"]
    assert far.given[-1] == {"by": "a"}
