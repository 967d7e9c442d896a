"""Clocks that are an hour off, or jump: rows F71 and F73 of the faults.

The database's clock is right, the others are libfaketime's.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator import Manager, RetryPolicy, SagaDefinition, Step
from saga_orchestrator.core.decision import HistoryEntry, HistoryKind
from tests.support.books import Books
from tests.support.clocks import WrongClock
from tests.support.engine_process import engine_process
from tests.support.waiting import eventually
from tests.support.worker_process import worker_process

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.slow

SECONDS = 60
LIMIT = dt.timedelta(minutes=10)


def _order(names: str = "ab", **options: object) -> SagaDefinition:
    steps = [
        Step(name, action=f"book.{name}", compensation=f"book.undo_{name}", **options)  # type: ignore[arg-type]  # a step's
        for name in names
    ]
    return SagaDefinition("order", steps)


@pytest.mark.parametrize("skew", ["+1h", "-1h"])
async def test_a_worker_whose_clock_is_wrong(
    skew: str, postgres_url: str, rabbit_url: str, books: Books, tmp_path: Path
) -> None:
    """Ten minutes are ten minutes: nothing is refused as late, no attempt is used."""
    clock = WrongClock(tmp_path / "clock", skew)
    urls = {"store": postgres_url, "broker": rabbit_url}
    with worker_process(rabbit_url, tmp_path, environment=clock.environment) as worker:
        await worker.ready()
        async with Manager.open(**urls, migrate=True, engine=True) as manager:
            for _ in range(3):
                saga = await manager.start(_order(limit=LIMIT))
                saga = await manager.wait(saga.id, SECONDS)
                assert saga.is_completed
                assert {saga.status(step).attempt for step in "ab"} == {1}
            history = (await manager.record(saga.id)).history
    kinds = {entry.kind for entry in history}
    assert HistoryKind.STEP_POSTPONED not in kinds  # by then it knows
    assert set(books.effects().values()) == {1}


@pytest.mark.parametrize("skew", ["+1h", "-1h"])
async def test_an_engine_whose_clock_is_wrong(
    skew: str, postgres_url: str, rabbit_url: str, client: Manager, tmp_path: Path
) -> None:
    """What is due in half an hour stays; a retry in two seconds comes, not early."""
    clock = WrongClock(tmp_path / "clock", skew)
    delay = dt.timedelta(seconds=2)
    retry = RetryPolicy(2, initial_delay=delay, jitter=0)
    wrong = {"environment": clock.environment, "serves": False}
    with engine_process(postgres_url, rabbit_url, tmp_path, **wrong) as engine:
        await engine.ready()
        later = await client.start(_order(limit=LIMIT * 3))
        with worker_process(rabbit_url, tmp_path) as worker:
            await worker.ready()
            failing = await client.start(
                _order("c", retry=retry), context={"rough": {"c": "fail"}}
            )
            assert (await client.wait(failing.id, SECONDS)).is_completed
            assert (await client.wait(later.id, SECONDS)).is_completed
    times = _times((await client.record(failing.id)).history)
    gap = times[HistoryKind.STEP_RETRIED] - times[HistoryKind.STEP_FAILED]
    assert delay <= gap < dt.timedelta(minutes=2)


def _times(history: Sequence[HistoryEntry]) -> dict[HistoryKind, dt.datetime]:
    """Return when each kind of entry came first."""
    return {entry.kind: entry.at for entry in reversed(history)}


async def test_clocks_that_jump_while_sagas_run(
    postgres_url: str, rabbit_url: str, client: Manager, books: Books, tmp_path: Path
) -> None:
    """An hour on, two back, and right again: each step once, no attempt used."""
    clock = WrongClock(tmp_path / "clock")
    wrong = {"environment": clock.environment}
    with (
        engine_process(postgres_url, rabbit_url, tmp_path, **wrong) as engine,
        worker_process(rabbit_url, tmp_path, **wrong) as worker,
    ):
        await engine.ready()
        await worker.ready()
        for offset in ("+1h", "-1h", "+0"):
            clock.set(offset)
            saga = await client.start(_order(limit=LIMIT))
            saga = await client.wait(saga.id, SECONDS)
            assert saga.is_completed
            assert {saga.status(step).attempt for step in "ab"} == {1}
        await eventually(lambda: engine.is_alive and worker.is_alive)
    assert set(books.effects().values()) == {1}
