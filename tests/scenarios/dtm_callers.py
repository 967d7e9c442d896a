"""dtm: callers that start a saga again or wait for it, and an engine that stops."""

from __future__ import annotations

import datetime as dt

import pytest

from saga_orchestrator import RetryLater, SagaDefinition, StepContext, StepFailed
from tests.scenarios.cases import own_url
from tests.scenarios.engines import SECONDS, Service, manager_on
from tests.scenarios.sagas import ONCE
from tests.scenarios.table import Case, Later, Scenario, Stage
from tests.support.waiting import eventually

SOON = dt.timedelta(milliseconds=20)


def ongoing(_: StepContext) -> None:
    """Answer "not done yet"."""
    raise RetryLater(SOON)


def poor(_: StepContext) -> None:
    """Answer a definite no."""
    raise StepFailed("Insufficient balance")


async def started_again(stage: Stage) -> None:
    """The same start again is the same saga, running or ended."""
    url = await own_url(stage)
    bank = Service()
    kind = SagaDefinition("transfer", [bank.step("S1"), bank.step("S2")])
    async with manager_on(url) as nobody_works:
        first = await nobody_works.start(kind, context={"amount": 30}, key="gid")
        second = await nobody_works.start(kind, context={"amount": 30}, key="gid")
    assert second.id == first.id
    assert second.state == "started"
    async with manager_on(url, bank.handlers) as manager:
        assert (await manager.wait(first.id, SECONDS)).is_completed
        third = await manager.start(kind, context={"amount": 30}, key="gid")
    assert third.id == first.id
    assert third.is_completed
    assert bank.runs == ["S1", "S2"]


async def waited_for(stage: Stage) -> None:
    """Who waits is told when the saga is completed."""
    bank = Service()
    steps = [bank.step("S1"), bank.step("S2")]
    async with manager_on(await own_url(stage), bank.handlers) as manager:
        saga = await manager.start("transfer", steps)
        assert (await manager.wait(saga.id, SECONDS)).is_completed
        assert (await manager.get(saga.id)).is_completed
    assert bank.runs == ["S1", "S2"]


async def waited_too_short(stage: Stage) -> None:
    """A wait ends with an error while S1 is ongoing; the saga goes on."""
    bank = Service()
    is_done = False

    def transfer_out(ctx: StepContext) -> None:
        if not is_done:
            ongoing(ctx)

    steps = [bank.step("S1", transfer_out, retry=ONCE), bank.step("S2")]
    async with manager_on(await own_url(stage), bank.handlers) as manager:
        saga = await manager.start("transfer", steps)
        await eventually(lambda: len(bank.runs) >= 1)
        with pytest.raises(TimeoutError):
            await manager.wait(saga.id, timeout=0.1)
        assert (await manager.get(saga.id)).state == "started"
        is_done = True
        assert (await manager.wait(saga.id, SECONDS)).is_completed
    assert bank.runs == ["S1"] * (len(bank.runs) - 1) + ["S2"]
    assert {ctx.attempt for ctx in bank.contexts} == {1}


async def waited_for_an_undo(stage: Stage) -> None:
    """Who waits learns that it was undone, and why."""
    bank = Service()
    steps = [
        bank.step("S1", undo_failed="always"),
        bank.step("S2", poor, undo_failed="always"),
    ]
    async with manager_on(await own_url(stage), bank.handlers) as manager:
        saga = await manager.start("transfer", steps)
        saga = await manager.wait(saga.id, SECONDS)
    assert saga.is_compensated
    assert "Insufficient balance" in saga.reason
    assert bank.runs == ["S1", "S2", "undo S2", "undo S1"]


async def resumed_by_another(stage: Stage) -> None:
    """B is ongoing when its engine stops; the next goes on with B, not with A."""
    url = await own_url(stage)
    first, second = Service(), Service()
    steps = [first.step("A"), first.step("B", ongoing)]
    assert steps == [second.step("A"), second.step("B")]
    async with manager_on(url, first.handlers) as manager:
        saga = await manager.start("workflow", steps)
        await eventually(lambda: first.runs[:2] == ["A", "B"])
        await manager.stop()
    async with manager_on(url, second.handlers) as manager:
        assert (await manager.wait(saga.id, SECONDS)).is_completed
    assert set(first.runs[1:]) == {"B"}
    assert second.runs == ["B"]


SCENARIOS: list[Scenario] = [
    Case(
        "DTM-05",
        started_again,
        deviation="dtm refuses a start whose saga has ended; here a key returns its "
        "saga whatever its state, so that a caller may always repeat itself",
    ),
    Case("DTM-17", waited_for),
    Case("DTM-18", waited_too_short),
    Case(
        "DTM-19",
        waited_for_an_undo,
        deviation="dtm's wait fails with the reason; ours returns the saga, whose "
        "state and reason say so: that it was undone is an answer, not an error",
    ),
    Case("DTM-33", resumed_by_another, variant="restart"),
]

LATER: list[Later] = []
