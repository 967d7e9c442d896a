"""The parts of a bench's processes: those of the product, put together as usual."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from saga_orchestrator.bench.counting import CountingBroker
from saga_orchestrator.core.decision import Decision
from saga_orchestrator.participant.handlers import Handlers
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import Keep
from saga_orchestrator.runtime.assembly import (
    CONCURRENCY,
    Parts,
    assemble,
    open_broker,
)
from saga_orchestrator.runtime.ids import ulids
from saga_orchestrator.runtime.manager import Manager
from saga_orchestrator.runtime.registry import Registry
from saga_orchestrator.runtime.starting import Catalogue
from saga_orchestrator.runtime.worker import Worker
from saga_orchestrator.wire.topology import Topology

Listener = Callable[[Sequence[Decision]], None]


@dataclass(frozen=True, slots=True)
class Servers:
    """Where a process of the bench finds what it shares with the others."""

    store: str
    broker: str
    topology: Topology
    clock: Clock
    rng: random.Random

    async def open_broker(self) -> CountingBroker:
        """Open the broker; whoever gets it closes it."""
        inner = await open_broker(
            self.broker, topology=self.topology, clock=self.clock, rng=self.rng
        )
        return CountingBroker(inner)


async def open_orchestrator(
    servers: Servers,
    broker: CountingBroker,
    handlers: Sequence[Handlers],
    listener: Listener,
    opened: AsyncExitStack,
) -> Manager:
    """Open a manager with an engine, as ``Manager.open`` does.

    Args:
        servers: where store and broker are.
        broker: an open one.
        handlers: those that run in this process.
        listener: told of each commit; waiting for each saga would ask the store for
            it, and be measured too.
        opened: stops and closes it.
    """
    registry = Registry(handlers)
    catalogue = Catalogue(registry, ())
    parts = Parts(
        store=servers.store,
        broker=broker,
        broker_may_be_away=False,
        registry=registry,
        catalogue=catalogue,
        engine=True,
        topology=servers.topology,
        concurrency=CONCURRENCY,
        keep=Keep(),
        events="broker",
        lifecycle_events=False,
        migrate=False,
        clock=None,
        rng=servers.rng,
    )
    assembled = await assemble(parts)
    assembled.engine.pipeline.listen(listener)
    manager = Manager(assembled, catalogue, ulids(assembled.clock, servers.rng))
    opened.push_async_callback(manager.close)
    opened.push_async_callback(manager.stop)
    return manager


async def open_participant(
    servers: Servers,
    broker: CountingBroker,
    handlers: Sequence[Handlers],
    opened: AsyncExitStack,
) -> Worker:
    """Open a worker, as ``saga worker`` does; ``opened`` stops and closes it."""
    worker = Worker(
        broker=broker,
        registry=Registry(handlers),
        clock=servers.clock,
        rng=servers.rng,
        topology=servers.topology,
        concurrency=CONCURRENCY,
    )
    opened.push_async_callback(worker.close)
    await worker.open()
    opened.push_async_callback(worker.stop)
    return worker
