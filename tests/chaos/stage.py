"""Everything that a run is made of: servers, proxies, processes, a client."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from saga_orchestrator.demo.effects import create_effects
from saga_orchestrator.runtime.manager import Manager
from tests.chaos.cluster import RabbitCluster
from tests.chaos.fleet import Child, Fleet
from tests.chaos.watch import Watch
from tests.support.postgres import PostgresServer
from tests.support.proxy import TcpProxy
from tests.support.wire import AmqpWire, PostgresWire

ORCHESTRATORS = 2
WORKERS = 2

# The prefix tells whose error a line of the log is. A deadlock is looked for
# before the lock timeout of the engine's sessions, a second, is over.
_POSTGRES = {"log_line_prefix": "%a ", "deadlock_timeout": "400ms"}


@dataclass(frozen=True, slots=True)
class Stage:
    """What the faults play on.

    Attributes:
        cluster: the broker.
        postgres: the database server.
        store: the store's URL, past all proxies.
        ledger: the database of effects.
        fleet: our processes.
        manager: the client's; it has no engine.
        client: the proxy between the client and the database.
        watch: looks at the database from outside.
    """

    cluster: RabbitCluster
    postgres: PostgresServer
    store: str
    ledger: Path
    fleet: Fleet
    manager: Manager
    client: TcpProxy
    watch: Watch

    @property
    def amqp(self) -> list[TcpProxy]:
        """The proxies to the broker."""
        return [child.amqp for child in self.fleet.children]

    @property
    def sql(self) -> list[TcpProxy]:
        """The proxies to the database, the client's too."""
        ours = [child.postgres for child in self.fleet.orchestrators]
        return [self.client, *(proxy for proxy in ours if proxy)]


@contextlib.asynccontextmanager
async def opened_stage(folder: Path, seed: int) -> AsyncIterator[Stage]:
    """Start everything; end everything, whatever happens.

    Args:
        folder: for logs and the ledger.
        seed: decides what the handlers do.
    """
    async with contextlib.AsyncExitStack() as opened:
        cluster, postgres = await _servers(opened, folder)
        store = postgres.create_database()
        client = await _proxy_to(opened, postgres)
        manager = await opened.enter_async_context(
            Manager.open(store=client.through(store), engine=False, migrate=True)
        )
        ledger = folder / "effects.db"
        await create_effects(ledger)
        fleet = Fleet(folder, ledger=ledger, seed=seed)
        opened.callback(fleet.end)
        for number in range(ORCHESTRATORS + WORKERS):
            nodes = cluster.nodes[number % 3 :] + cluster.nodes[: number % 3]
            ports = [node.port for node in nodes]
            amqp = await opened.enter_async_context(TcpProxy(*ports, wire=AmqpWire))
            broker = amqp.through(nodes[0].url())
            if number >= ORCHESTRATORS:
                fleet.add_worker(broker=broker, amqp=amqp)
                continue
            sql = await _proxy_to(opened, postgres)
            fleet.add_orchestrator(
                store=sql.through(store), broker=broker, amqp=amqp, postgres=sql
            )
        watch = Watch(store)
        opened.push_async_callback(watch.close)
        lives = opened.enter_context(_supervised(fleet.children, seed))
        await asyncio.gather(*(child.ready(1) for child in fleet.children))
        await asyncio.to_thread(cluster.flush_new_queues)
        yield Stage(cluster, postgres, store, ledger, fleet, manager, client, watch)
        for life in lives:
            if life.done():
                life.result()


async def _servers(
    opened: contextlib.AsyncExitStack, folder: Path
) -> tuple[RabbitCluster, PostgresServer]:
    cluster = RabbitCluster()
    postgres = PostgresServer(**_POSTGRES)
    opened.callback(cluster.close)
    opened.callback(postgres.close)
    opened.callback(_copy_logs, cluster, postgres, folder)
    await asyncio.gather(
        asyncio.to_thread(cluster.start), asyncio.to_thread(postgres.start)
    )
    return cluster, postgres


async def _proxy_to(
    opened: contextlib.AsyncExitStack, postgres: PostgresServer
) -> TcpProxy:
    return await opened.enter_async_context(TcpProxy(postgres.port, wire=PostgresWire))


@contextlib.contextmanager
def _supervised(children: list[Child], seed: int) -> Iterator[list[asyncio.Task[None]]]:
    """Let the processes live; they are not started again after."""
    lives = [
        asyncio.create_task(child.live(random.Random(f"{seed}/{child.name}")))
        for child in children
    ]
    try:
        yield lives
    finally:
        for life in lives:
            life.cancel()


def _copy_logs(cluster: RabbitCluster, postgres: PostgresServer, folder: Path) -> None:
    """Keep what the servers wrote beside what our processes wrote."""
    for name, log in [
        ("postgres.log", postgres.log),
        *((f"rabbit-{n}.log", node.log) for n, node in enumerate(cluster.nodes, 1)),
    ]:
        if log.exists():
            shutil.copy(log, folder / name)
