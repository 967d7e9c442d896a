"""What handlers do to their process: rows F76, F77 and F79 of the faults.

The worker is a process of its own; every effect goes through the barrier, so the
books show it once, whatever became of the run.
"""

from __future__ import annotations

import datetime as dt
import signal
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator import Manager, Outcome, RetryPolicy, SagaDefinition, Step
from tests.support.books import Books
from tests.support.waiting import eventually
from tests.support.worker_process import BLOCKED_SECONDS, worker_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from saga_orchestrator.core.saga import Saga

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SECONDS = 90
LIMIT = dt.timedelta(seconds=4)
STOPPED = dt.timedelta(seconds=20)
"""Of a handler that is to be stopped first, on a busy machine too."""
ONCE = RetryPolicy(max_attempts=1)
MEMORY = 700 * 1024 * 1024


def order(**options: object) -> SagaDefinition:
    """Return a saga of two steps whose first one may be told to misbehave."""
    steps = [
        Step("a", action="book.a", compensation="book.undo_a", **options),  # type: ignore[arg-type]  # a step's
        Step("b", action="book.b", compensation="book.undo_b"),
    ]
    return SagaDefinition("order", steps)


@pytest.fixture
async def manager(postgres_url: str, rabbit_url: str) -> AsyncIterator[Manager]:
    """An engine without handlers; the workers are processes."""
    urls = {"store": postgres_url, "broker": rabbit_url}
    async with Manager.open(**urls, migrate=True, engine=True) as opened:
        yield opened


async def _rough(manager: Manager, what: str, **options: object) -> Saga:
    return await manager.start(order(**options), context={"rough": {"a": what}})


async def _completes(manager: Manager, saga: Saga) -> Saga:
    saga = await manager.wait(saga.id, SECONDS)
    assert saga.is_completed
    return saga


async def test_a_handler_that_blocks_the_loop(
    manager: Manager, rabbit_url: str, books: Books, tmp_path: Path
) -> None:
    """The broker gives its command to another worker, which is not held up."""
    with worker_process(rabbit_url, tmp_path, name="one", heartbeat=1) as one:
        await one.ready()
        blocking = await _rough(manager, "block")
        await eventually(lambda: bool(books.effects()), seconds=SECONDS)
        with worker_process(rabbit_url, tmp_path, name="two") as two:
            await two.ready()
            others = [await manager.start(order()) for _ in range(5)]
            for saga in [*others, blocking]:
                assert (await _completes(manager, saga)).status("a").attempt == 1
        workers = {worker for _, worker in books.runs("a")}
        assert "two" in workers
        assert one.is_alive
        again = await manager.start(order())  # the one that blocked is back
        await _completes(manager, again)
    assert set(books.effects().values()) == {1}
    assert BLOCKED_SECONDS > 2 * 1  # longer than a broker waits for two heartbeats


@pytest.mark.parametrize("what", ["hang", "stubborn"])
async def test_a_handler_that_never_returns(
    what: str, manager: Manager, rabbit_url: str, books: Books, tmp_path: Path
) -> None:
    """Its outcome is unknown, so it is undone; others run beside it meanwhile."""
    with worker_process(rabbit_url, tmp_path) as worker:
        await worker.ready()
        limits = {"timeout": LIMIT / 2, "limit": LIMIT, "retry": ONCE}
        hanging = await _rough(manager, what, **limits)
        for _ in range(5):
            await _completes(manager, await manager.start(order()))
        hanging = await manager.wait(hanging.id, SECONDS)
        assert worker.is_alive
    assert hanging.is_compensated
    assert hanging.status("a").outcome is Outcome.UNKNOWN
    assert books.effects()[hanging.id, "a", "compensation"] == 1


@pytest.mark.parametrize("what", ["segfault", "abort", "exit", "oom"])
async def test_a_handler_that_ends_its_process(
    what: str, manager: Manager, rabbit_url: str, books: Books, tmp_path: Path
) -> None:
    """Its supervisor starts another one, which finishes; no attempt is used."""
    with worker_process(rabbit_url, tmp_path) as worker:
        await worker.ready()
        deadly = await _rough(manager, what)
        others = [await manager.start(order()) for _ in range(3)]
        await eventually(lambda: not worker.is_alive, seconds=SECONDS)
    with worker_process(rabbit_url, tmp_path) as worker:
        await worker.ready()
        for saga in [deadly, *others]:
            assert (await _completes(manager, saga)).status("a").attempt == 1
    assert len({key for key, _ in books.runs("a")}) == 4
    assert set(books.effects().values()) == {1}


async def test_a_handler_that_takes_all_memory(
    manager: Manager, rabbit_url: str, books: Books, tmp_path: Path
) -> None:
    """At its process's bound it errs like any other: unknown, tried again, done."""
    with worker_process(rabbit_url, tmp_path, memory=MEMORY) as worker:
        await worker.ready()
        greedy = await _rough(manager, "leak")
        others = [await manager.start(order()) for _ in range(3)]
        for saga in others:
            await _completes(manager, saga)
        assert (await _completes(manager, greedy)).status("a").attempt == 2
        assert worker.is_alive
    assert set(books.effects().values()) == {1}


async def test_a_handler_that_forks(
    manager: Manager, rabbit_url: str, books: Books, tmp_path: Path
) -> None:
    """A child that ends leaves the connections of its parent alone."""
    with worker_process(rabbit_url, tmp_path) as worker:
        await worker.ready()
        for _ in range(3):
            saga = await _rough(manager, "fork_and_exit")
            assert (await _completes(manager, saga)).status("a").attempt == 1
        assert worker.is_alive
    assert len(books.runs("a")) == 3


async def test_a_child_that_keeps_a_dead_workers_connections(
    manager: Manager, rabbit_url: str, books: Books, tmp_path: Path
) -> None:
    """They stay open and say nothing: the broker lets go by its heartbeat."""
    with worker_process(rabbit_url, tmp_path, heartbeat=1) as first:
        await first.ready()
        saga = await _rough(manager, "fork")
        await eventually(lambda: not first.is_alive, seconds=SECONDS)
        with worker_process(rabbit_url, tmp_path) as second:
            await second.ready()
            assert (await _completes(manager, saga)).status("a").attempt == 1
    assert set(books.effects().values()) == {1}


async def test_a_worker_that_was_stopped_and_goes_on(
    manager: Manager, rabbit_url: str, books: Books, tmp_path: Path
) -> None:
    """SIGSTOP until the broker gave its work away, SIGCONT: its answer is counted."""
    with worker_process(rabbit_url, tmp_path, name="one", heartbeat=1) as one:
        await one.ready()
        slow = await _rough(manager, "hang", timeout=STOPPED, retry=ONCE)
        await eventually(lambda: bool(books.effects()), seconds=SECONDS)
        one.child.send_signal(signal.SIGSTOP)
        with worker_process(rabbit_url, tmp_path, name="two") as two:
            await two.ready()
            assert (await _completes(manager, slow)).status("a").attempt == 1
            one.child.send_signal(signal.SIGCONT)

            async def is_counted() -> bool:
                return bool((await manager.record(slow.id)).ignored)

            await eventually(is_counted, seconds=SECONDS)
        await _completes(manager, await manager.start(order()))
        assert one.is_alive
    assert set(books.effects().values()) == {1}
