"""A definition that changes while its sagas run, on PostgreSQL and RabbitMQ."""

from __future__ import annotations

import dataclasses

from saga_orchestrator import Manager, SagaDefinition
from saga_orchestrator.core.saga import Saga
from tests.support.waiting import eventually
from tests.unit.runtime.stage import Service

SECONDS = 60


async def test_a_running_saga_keeps_the_definition_it_was_started_with(
    postgres_url: str, rabbit_url: str
) -> None:
    """A release without its action uses no attempt and says what is missing."""
    urls = {"store": postgres_url, "broker": rabbit_url}
    near, far, later = Service("near", "a"), Service("far", "b"), Service("later", "c")
    first = SagaDefinition("order", steps=[*near.chain("a"), *far.chain("b")])
    second = dataclasses.replace(first, steps=[*near.chain("a"), *later.chain("c")])

    async with Manager.open(**urls, migrate=True, handlers=[near.handlers]) as manager:
        old = await manager.start(first, context={"n": 1}, key="o-1")
        await eventually(lambda: _lacks_a_service(manager, old))

    released = [near.handlers, later.handlers]
    async with Manager.open(**urls, handlers=released, definitions=[second]) as manager:
        new = await manager.start("order", context={"n": 2}, key="o-2")
        assert (await manager.wait(new.id, SECONDS)).completed_steps == ("a", "c")
        again = await manager.start("order", context={"n": 1}, key="o-1")
        assert (again.id, again.plan.steps) == (old.id, first.steps)
        await eventually(lambda: _lacks_a_service(manager, old))
        waiting = await manager.get(old.id)
        assert (waiting.status("b").attempt, waiting.status("b").generation) == (1, 1)
        async with Manager.open(**urls, handlers=[far.handlers]):
            ended = await manager.wait(old.id, SECONDS)
    assert ended.is_completed
    assert ended.completed_steps == ("a", "b")
    assert (near.runs, far.runs, later.runs) == (["a", "a"], ["b"], ["c"])


async def _lacks_a_service(manager: Manager, saga: Saga) -> bool:
    outbox = (await manager.record(saga.id)).outbox
    return any(row.error == "no service handles far.b" for row in outbox)
