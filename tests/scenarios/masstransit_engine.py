"""MassTransit Courier: slips on an engine, waited for, many at once.

MassTransit runs these on RabbitMQ. Here the broker is in this process; on
RabbitMQ they are in ``tests/integration/test_scenarios_rabbitmq.py``.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from pydantic import BaseModel

from saga_orchestrator import (
    Handlers,
    Manager,
    RetryPolicy,
    SagaDefinition,
    Step,
    StepContext,
    StepFailed,
)
from saga_orchestrator.core.decision import HistoryKind
from tests.scenarios.cases import own_url
from tests.scenarios.engines import SECONDS, Service, manager_on
from tests.scenarios.sagas import ONCE, UNDO_ONCE
from tests.scenarios.table import Case, Later, Scenario, Stage

FAULT = RetryPolicy(non_retryable=("IntentionalTestException",))


class IntentionalTestException(Exception):
    """What a faulty activity throws."""


class SlipRefused(StepFailed):
    """The answer that a fault is mapped to."""


def throw(_: StepContext) -> None:
    """Fault."""
    raise IntentionalTestException("boom")


def throw_mapped(ctx: StepContext) -> None:
    """Fault, and answer so that the caller understands."""
    try:
        throw(ctx)
    except IntentionalTestException as error:
        raise SlipRefused(f"mapped: {error}") from error


async def undo_failed_is_told(stage: Stage) -> None:
    """Who waits for the slip is told of the undo that failed, and of its end."""
    service = Service()
    steps = [
        service.step("A1"),
        service.step("A2", undoes=throw, compensation_retry=UNDO_ONCE),
        service.step("A3", throw, retry=FAULT),
    ]
    async with manager_on(await own_url(stage), service.handlers) as manager:
        started = await manager.start("slip", steps)
        told = await manager.wait(started.id, SECONDS)
        assert told.is_failed
        assert told.failed_steps == ("A2", "A3")
        last = (await manager.record(started.id)).history[-1]
    assert (last.kind, last.step) == (HistoryKind.STEP_FAILED, "A2")
    assert (last.direction, last.state) == ("compensation", "failed")
    assert service.runs == ["A1", "A2", "A3", "undo A2"]


async def request(stage: Stage, second: Service, *steps: Step) -> str:
    """Start a slip as a request: wait, and return how it ended and why."""
    async with manager_on(await own_url(stage), second.handlers) as manager:
        started = await manager.start("slip", steps)
        ended = await manager.wait(started.id, SECONDS)
    assert second.runs[:2] == ["A1", "A2"]
    return f"{ended.state}: {ended.reason}"


async def requested(stage: Stage) -> None:
    """The caller gets its response."""
    service = Service()
    steps = [service.step("A1"), service.step("A2")]
    assert await request(stage, service, *steps) == "completed: "


async def request_faulted(stage: Stage) -> None:
    """The caller gets what was thrown."""
    service = Service()
    steps = [service.step("A1"), service.step("A2", throw, retry=FAULT)]
    said = await request(stage, service, *steps)
    assert said == "compensated: step A2: IntentionalTestException: boom"
    assert service.runs == ["A1", "A2", "undo A1"]


async def request_faulted_mapped(stage: Stage) -> None:
    """The caller gets the answer that the activity made of it."""
    service = Service()
    steps = [service.step("A1"), service.step("A2", throw_mapped)]
    said = await request(stage, service, *steps)
    assert said == "compensated: step A2: SlipRefused: mapped: boom"


async def ten_at_once(manager: Manager, service: Service, steps: list[Step]) -> None:
    """Ten slips run to their end, each activity of each once."""
    slip = SagaDefinition("slip", steps)
    started = await asyncio.gather(*(manager.start(slip) for _ in range(10)))
    for one in started:
        assert (await manager.wait(one.id, SECONDS)).is_completed
    ran = Counter((ctx.saga_id, ctx.step) for ctx in service.contexts)
    assert ran == {(one.id, name): 1 for one in started for name in ("A1", "A2")}


async def many_in_a_row(stage: Stage) -> None:
    """Ten at once, on the broker in this process."""
    service = Service()
    steps = [service.step("A1"), service.step("A2")]
    async with manager_on(await own_url(stage), service.handlers) as manager:
        await ten_at_once(manager, service, steps)


class Arguments(BaseModel):
    """What A1 requires."""

    value: str


def validating() -> tuple[Handlers, Service, list[Step]]:
    """A1 requires an argument; A2 follows."""
    strict, service = Handlers("strict"), Service()

    @strict.step("strict.validate")
    async def validate(ctx: StepContext, arguments: Arguments) -> None:
        raise AssertionError("it is not run without its argument")

    first = Step("A1", action="strict.validate", input={}, retry=ONCE)
    return strict, service, [first, service.step("A2")]


async def argument_missing(manager: Manager, a2: Service, steps: list[Step]) -> None:
    """A1 is refused for its argument, by name; A2 does not run."""
    started = await manager.start("slip", steps)
    ended = await manager.wait(started.id, SECONDS)
    assert ended.is_compensated
    assert ended.status("A1").outcome == "refused"
    assert "value: Field required" in ended.reason
    assert a2.runs == []


async def not_validated(stage: Stage) -> None:
    """A missing argument, on the broker in this process."""
    strict, a2, steps = validating()
    async with manager_on(await own_url(stage), strict, a2.handlers) as manager:
        await argument_missing(manager, a2, steps)


SCENARIOS: list[Scenario] = [
    Case("MT-07", undo_failed_is_told),
    Case("MT-16", requested),
    Case("MT-16", request_faulted, variant="fault"),
    Case("MT-16", request_faulted_mapped, variant="mapped"),
    Case("MT-17", many_in_a_row),
    Case("MT-18", not_validated),
]

LATER: list[Later] = []
