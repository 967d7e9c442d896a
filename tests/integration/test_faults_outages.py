"""A broker that dies, stands still, or raises an alarm: rows F37, F39 and F40.

An engine and a worker are on a private RabbitMQ. Both look for problems, and come
back, sooner than a user's: a test's time is short.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator import Manager, SagaDefinition
from saga_orchestrator.brokers.rabbitmq import RabbitBroker
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.runtime.registry import Registry
from saga_orchestrator.runtime.worker import Worker
from saga_orchestrator.wire.topology import Topology
from tests.support.proxy import TcpProxy
from tests.support.waiting import eventually
from tests.unit.runtime.stage import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.rabbitmq import RabbitServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KILLS = 3
RECONNECT_SECONDS = 0.5


def _broker(url: str, heartbeat: int) -> RabbitBroker:
    """Return a handle that is as impatient as the test."""
    return RabbitBroker(
        url,
        rng=random.Random(1),
        publish_timeout=2,
        call_timeout=2,
        check_interval=0.3,
        reconnect_interval=RECONNECT_SECONDS,
        heartbeat=heartbeat,
    )


class Company:
    """An engine with the service ``near``, and a worker with the service ``far``.

    Attributes:
        manager: the engine's.
        worker: the worker.
        near: its handlers run beside the engine.
        far: its handlers run in the worker.
    """

    def __init__(self, manager: Manager, worker: Worker) -> None:
        self.manager = manager
        self.worker = worker
        self.near = Service("near")
        self.far = Service("far")

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, store: str, url: str, *, heartbeat: int = 10
    ) -> AsyncIterator[Company]:
        """Open both on a store and a broker."""
        near, far = Service("near"), Service("far")
        brokers = [_broker(url, heartbeat) for _ in range(2)]
        for broker in brokers:
            await broker.open()
        worker = Worker(
            broker=brokers[1],
            registry=Registry([far.handlers]),
            clock=SystemClock(),
            rng=random.Random(2),
            topology=Topology(),
            concurrency=4,
        )
        await worker.open()
        async with Manager.open(
            store=store, migrate=True, broker=brokers[0], handlers=[near.handlers]
        ) as manager:
            company = cls(manager, worker)
            company.near, company.far = near, far
            yield company
            await worker.stop()
            await worker.close()

    def trip(self) -> SagaDefinition:
        """Return a saga with steps here and there."""
        return SagaDefinition(
            "trip", [*self.near.chain("a"), *self.far.chain("b"), *self.near.chain("c")]
        )

    @property
    def problems(self) -> list[str]:
        """What both complain of."""
        return self.manager.problems() + self.worker.problems()

    async def all_complete(self, ids: list[str], *, seconds: float = 90) -> None:
        """Wait until each saga has completed, and hold it to its history."""
        async with asyncio.timeout(seconds):
            for saga_id in ids:
                assert (await self.manager.wait(saga_id)).is_completed
        for saga_id in ids:
            record = await self.manager.record(saga_id)
            kinds = Counter(entry.kind for entry in record.history)
            assert kinds[HistoryKind.STEP_SUCCEEDED] == 3
        await eventually(lambda: self.problems == [])


async def test_a_broker_that_is_killed_again_and_again(
    postgres_url: str, killable_rabbit: RabbitServer
) -> None:
    """SIGKILL under load, again and again: no saga is lost, and none is stuck."""
    async with Company.open(postgres_url, killable_rabbit.url()) as company:
        await asyncio.to_thread(killable_rabbit.flush_new_queues)
        ids: list[str] = []
        for number in range(KILLS):
            load = asyncio.create_task(_load(company, ids))
            begun = len(company.far.runs)
            await eventually(lambda: len(company.far.runs) > begun + 2)  # noqa: B023 - waits here
            await asyncio.to_thread(killable_rabbit.kill)
            await load  # a start needs no broker
            assert company.problems or number
            await asyncio.to_thread(killable_rabbit.start)
        await company.all_complete(ids, seconds=90)
    assert len(ids) == KILLS * 20
    assert len(set(ids)) == len(ids)


async def _load(company: Company, ids: list[str]) -> None:
    for _ in range(20):
        saga = await company.manager.start(company.trip())
        ids.append(saga.id)


async def test_a_broker_that_is_gone_for_a_while(
    postgres_url: str, rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """Both stay up and say so; they knock, without a storm, and catch up."""
    async with (
        Counting(rabbit_server.port) as proxy,
        Company.open(postgres_url, proxy.through(rabbit_url)) as company,
    ):
        proxy.refuse(on=True)
        proxy.cut()
        await eventually(lambda: len(company.manager.problems()) > 1)
        await eventually(lambda: len(company.worker.problems()) > 1)
        before, since = proxy.knocks, time.monotonic()
        sagas = [await company.manager.start(company.trip()) for _ in range(20)]
        await eventually(lambda: proxy.knocks >= before + 24)
        rounds = (time.monotonic() - since) / RECONNECT_SECONDS
        links = 4  # of two processes, one to publish and one to consume
        assert proxy.knocks - before <= links * (rounds + 1)
        assert "connection" in str(company.manager.problems())
        proxy.refuse(on=False)
        await company.all_complete([saga.id for saga in sagas])


class Counting(TcpProxy):
    """A proxy that counts who knocks.

    Attributes:
        knocks: connections that were asked for, whether they were let in or not.
    """

    def __init__(self, target_port: int) -> None:
        super().__init__(target_port)
        self.knocks = 0

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.knocks += 1
        await super()._serve(reader, writer)


async def test_a_broker_that_stands_still(
    postgres_url: str, killable_rabbit: RabbitServer
) -> None:
    """With its connections open: found by heartbeats, and no publish waits for ever."""
    url = killable_rabbit.url()
    async with Company.open(postgres_url, url, heartbeat=1) as company:
        manager = company.manager
        killable_rabbit.pause()
        try:
            sagas = [await manager.start(company.trip()) for _ in range(5)]
            await eventually(lambda: _says(manager, "connecting again"))
            await eventually(lambda: _says(manager, "near.a: commands not confirmed"))
            await eventually(lambda: "connection" in str(company.worker.problems()))
        finally:
            killable_rabbit.resume()
        await company.all_complete([saga.id for saga in sagas])


def _says(manager: Manager, words: str) -> bool:
    return words in str(manager.problems())


ALARMS = {
    "memory": (["set_vm_memory_high_watermark", "0"], "0.4"),
    "disk": (["set_disk_free_limit", str(10**15)], "10MB"),
}


@pytest.mark.parametrize("what", ALARMS)
async def test_an_alarm(
    postgres_url: str, rabbit_server: RabbitServer, rabbit_url: str, what: str
) -> None:
    """Consuming goes on, commands wait in the outbox, and it mends by itself."""
    command, well = ALARMS[what]
    go_on = asyncio.Event()
    async with Company.open(postgres_url, rabbit_url) as company:
        manager = company.manager
        company.near.does["a"] = lambda _: go_on.wait()
        early = await manager.start(company.trip())
        await eventually(lambda: company.near.runs == ["a"])
        await asyncio.to_thread(rabbit_server.rabbitmqctl, *command)
        try:
            late = await manager.start(company.trip())
            await eventually(lambda: _says(manager, "memory or disk alarm is on"))
            go_on.set()  # its answer is committed, and the delivery acknowledged
            await eventually(lambda: _waits(manager, early.id, "b"))
            await eventually(lambda: _unsettled(rabbit_server, rabbit_url, 0))
            assert await _waits(manager, late.id, "a")
            assert company.far.runs == []
        finally:
            await asyncio.to_thread(rabbit_server.rabbitmqctl, command[0], well)
        new = await manager.start(company.trip())
        await company.all_complete([early.id, late.id, new.id])


async def _waits(manager: Manager, saga_id: str, step: str) -> bool:
    return [row.fence.step for row in (await manager.record(saga_id)).outbox] == [step]


async def _unsettled(server: RabbitServer, url: str, count: int) -> bool:
    rows = await asyncio.to_thread(server.queues, url, "messages_unacknowledged")
    return sum(row["messages_unacknowledged"] for row in rows) == count
