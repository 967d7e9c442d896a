"""Three nodes that lose one, and then another: row F43 of the faults."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator import Manager
from saga_orchestrator.brokers.rabbitmq import RabbitBroker
from tests.chaos.cluster import RabbitCluster
from tests.support.proxy import TcpProxy
from tests.support.waiting import eventually, until_well
from tests.unit.runtime.stage import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.rabbitmq import RabbitServer

pytestmark = [pytest.mark.slow, pytest.mark.rabbitmq, pytest.mark.timeout(300)]

QUEUE = "saga.steps.near"


@pytest.fixture
def cluster() -> Iterator[RabbitCluster]:
    """Three nodes of this test alone."""
    nodes = RabbitCluster()
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.close()


async def _start(manager: Manager, near: Service, count: int) -> list[str]:
    return [(await manager.start("s", near.chain())).id for _ in range(count)]


async def _complete(manager: Manager, ids: list[str]) -> None:
    for saga_id in ids:
        assert (await manager.wait(saga_id, timeout=90)).is_completed


@pytest.mark.usefixtures("short_claims")
async def test_a_leader_is_lost_and_then_the_majority(
    postgres_url: str, cluster: RabbitCluster
) -> None:
    """Without its leader it goes on; without its majority it waits, and says so."""
    near = Service("near")
    nodes = cluster.nodes
    proxy = TcpProxy(nodes[0].port, *(node.port for node in nodes[1:]))
    async with proxy:
        broker = RabbitBroker(
            proxy.through(nodes[0].url()),
            rng=random.Random(1),
            publish_timeout=2,
            call_timeout=5,
            check_interval=0.3,
            reconnect_interval=0.5,
        )
        await broker.open()
        async with Manager.open(
            store=postgres_url, migrate=True, broker=broker, handlers=[near.handlers]
        ) as manager:
            await asyncio.to_thread(cluster.flush_new_queues)
            await _complete(manager, await _start(manager, near, 5))

            ids = await _start(manager, near, 20)
            leader = await asyncio.to_thread(cluster.leader_of, QUEUE)
            assert leader is not None
            await asyncio.to_thread(leader.kill)
            await _complete(manager, ids + await _start(manager, near, 5))

            other = next(node for node in nodes[1:] if node.is_running)
            await asyncio.to_thread(other.kill)
            ids = await _start(manager, near, 10)
            await eventually(lambda: _says(manager, "not confirmed"))
            assert all([await _waits(manager, saga_id) for saga_id in ids])

            await _start_again(other, leader)
            await _complete(manager, ids)
            await until_well(manager)
        assert len(near.runs) >= 40 * 3


def _says(manager: Manager, words: str) -> bool:
    return words in str(manager.problems())


async def _waits(manager: Manager, saga_id: str) -> bool:
    return len((await manager.record(saga_id)).outbox) == 1


async def _start_again(*nodes: RabbitServer) -> None:
    await asyncio.gather(*(asyncio.to_thread(node.start) for node in nodes))
