"""Engines on servers that fall over: nothing is lost, nothing is decided twice."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from saga_orchestrator import Manager, SagaDefinition
from saga_orchestrator.brokers.rabbitmq import RabbitBroker
from saga_orchestrator.core.decision import HistoryKind
from tests.support.waiting import eventually, until_well
from tests.unit.runtime.stage import Service

ROOT = Path(__file__).parents[2]
SAGAS = 50


def _service(seconds: float = 0.02) -> Service:
    service = Service("book")

    async def act(ctx):
        await asyncio.sleep(seconds)
        return {"by": ctx.step}

    for name in ("a", "b", "c"):
        service.does[name] = act
    return service


def _broker(url: str) -> RabbitBroker:
    """A handle that comes back quickly, as the test's time is short."""
    return RabbitBroker(url, rng=random.Random(1), reconnect_interval=0.3)


async def _opened(url: str) -> RabbitBroker:
    broker = _broker(url)
    await broker.open()
    return broker


async def _start(manager: Manager, service: Service) -> list[str]:
    kind = SagaDefinition("trip", service.chain())
    sagas = await asyncio.gather(
        *(manager.start(kind, key=f"trip-{n}") for n in range(SAGAS))
    )
    return [saga.id for saga in sagas]


async def _all_complete(manager: Manager, ids: list[str], *, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        for saga_id in ids:
            assert (await manager.wait(saga_id)).is_completed
    for saga_id in ids:
        record = await manager.record(saga_id)
        kinds = Counter(entry.kind for entry in record.history)
        assert kinds[HistoryKind.STEP_SUCCEEDED] == 3
        assert kinds[HistoryKind.SAGA_STARTED] == 1
        assert [e.seq for e in record.history] == list(
            range(1, len(record.history) + 1)
        )


@pytest.mark.slow
async def test_a_broker_that_is_killed_and_comes_back(postgres_url, killable_rabbit):
    """Fifty sagas in flight all end, and each step counts once."""
    service = _service()
    killable_rabbit_url = killable_rabbit.url()
    broker = await _opened(killable_rabbit_url)
    async with Manager.open(
        store=postgres_url,
        migrate=True,
        broker=broker,
        handlers=[service.handlers],
        concurrency=4,
    ) as manager:
        await asyncio.to_thread(killable_rabbit.flush_new_queues)
        ids = await _start(manager, service)
        await eventually(lambda: len(service.runs) >= 40)
        await asyncio.to_thread(killable_rabbit.kill)
        assert len(service.runs) < 150
        await eventually(lambda: bool(manager.problems()))
        await asyncio.to_thread(killable_rabbit.start)
        await _all_complete(manager, ids, seconds=60)
        await until_well(manager)


@pytest.mark.slow
async def test_a_database_that_is_killed_and_comes_back(killable_postgres, rabbit_url):
    """Answers wait for it; no handler's work is lost, none is decided twice."""
    service = _service()
    url = killable_postgres.create_database()
    broker = await _opened(rabbit_url)
    async with Manager.open(
        store=url,
        migrate=True,
        broker=broker,
        handlers=[service.handlers],
        concurrency=4,
    ) as manager:
        ids = await _start(manager, service)
        await eventually(lambda: len(service.runs) >= 40)
        await asyncio.to_thread(killable_postgres.kill)
        assert len(service.runs) < 150
        await eventually(lambda: bool(manager.problems()))
        await asyncio.to_thread(killable_postgres.start)
        await _all_complete(manager, ids, seconds=60)
        runs = len(service.runs)
        assert runs <= 150 + 4 * 3  # what was in hand may have come again
        await until_well(manager)


_ENGINE = """
import asyncio, sys
from saga_orchestrator import Handlers, Manager
service = Handlers("book")
async def act(ctx, given):
    print(ctx.saga_id, ctx.step, flush=True)
    await asyncio.sleep(0.02)
    return {"by": ctx.step}
for name in "abc":
    service.step(f"book.{name}")(act)
    service.compensation(f"book.undo_{name}")(act)
async def main():
    store, broker = sys.argv[1:]
    async with Manager.open(store=store, broker=broker, handlers=[service]) as manager:
        await manager.run()
asyncio.run(main())
"""


@pytest.mark.slow
async def test_an_engine_that_is_killed_and_another_that_goes_on(
    postgres_url, rabbit_url, tmp_path
):
    """What the dead process had in hand, the living one finishes."""
    service = _service()
    log = tmp_path / "engine.log"
    broker = await _opened(rabbit_url)
    async with Manager.open(
        store=postgres_url,
        migrate=True,
        broker=broker,
        handlers=[service.handlers],
        concurrency=4,
    ) as manager:
        child = _engine(postgres_url, rabbit_url, log)
        try:
            await eventually(lambda: _consumers(broker))
            ids = await _start(manager, service)
            await eventually(lambda: len(log.read_text().splitlines()) >= 5)
        finally:
            child.kill()
            child.wait()
        assert len(service.runs) < 150
        await _all_complete(manager, ids, seconds=60)


def _engine(store: str, broker: str, log: Path) -> subprocess.Popen[bytes]:
    with log.open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-c", _ENGINE, store, broker], stdout=output, cwd=ROOT
        )


async def _consumers(broker: RabbitBroker) -> bool:
    stats = await broker.stats("saga.steps.book")
    return stats is not None and stats.consumers == 2
