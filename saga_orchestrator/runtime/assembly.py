"""Putting a process together: from URLs to open parts that know one another."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from dataclasses import dataclass

from saga_orchestrator.core.waiting import StaleAfter
from saga_orchestrator.ports.adapters import BROKERS, adapter_for
from saga_orchestrator.ports.broker import Broker
from saga_orchestrator.ports.clock import Clock, SystemClock
from saga_orchestrator.ports.store import Keep, Store
from saga_orchestrator.runtime.engine import Client, Engine, EventsTo
from saga_orchestrator.runtime.registry import Registry
from saga_orchestrator.runtime.starting import Catalogue
from saga_orchestrator.telemetry.logging import spare_stdout
from saga_orchestrator.wire.topology import Topology

CONCURRENCY = 64
"""Handlers that run at a time in one process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a manager was asked to be made of."""

    store: str | Store
    broker: str | Broker | None
    broker_may_be_away: bool
    registry: Registry
    catalogue: Catalogue
    engine: bool | None
    topology: Topology
    concurrency: int
    keep: Keep
    events: EventsTo
    lifecycle_events: bool
    migrate: bool | None
    clock: Clock | None
    rng: random.Random
    watch: StaleAfter | None = None


@dataclass(frozen=True, slots=True)
class Assembled:
    """Open parts; closing them is up to the owner, the engine first."""

    store: Store
    broker: Broker | None
    engine: Client
    clock: Clock


async def assemble(parts: Parts) -> Assembled:
    """Open the parts in order; close what was opened when a later one fails."""
    spare_stdout()
    async with AsyncExitStack() as opened:
        store = parts.store
        if isinstance(store, str):
            store = await Store.open(store, clock=parts.clock, migrate=parts.migrate)
        opened.push_async_callback(store.close)
        if parts.lifecycle_events:
            store.tells_lifecycle = True
        clock = parts.clock or SystemClock()
        has_engine = parts.engine
        if has_engine is None:
            has_engine = bool(parts.registry.services)
        broker = None
        if has_engine:
            broker = await open_broker(
                parts.broker,
                topology=parts.topology,
                clock=clock,
                rng=parts.rng,
                may_be_away=parts.broker_may_be_away,
            )
            opened.push_async_callback(broker.close)
        engine = _engine(parts, store, broker, clock)
        opened.push_async_callback(engine.close)
        await engine.open()
        opened.pop_all()
        return Assembled(store, broker, engine, clock)


async def open_broker(
    broker: str | Broker | None,
    *,
    topology: Topology,
    clock: Clock,
    rng: random.Random,
    may_be_away: bool = False,
) -> Broker:
    """Open the broker behind a URL, or take the open one; None: in this process.

    Where it may be away, and nobody answers, the handle connects later.

    Raises:
        ConfigurationError: an unknown scheme.
        BrokerUnavailableError: no such server, or wrong credentials.
    """
    if broker is not None and not isinstance(broker, str):
        return broker
    url = broker or "memory://"
    adapter = adapter_for(BROKERS, "broker", url)
    opened: Broker = adapter(url, topology=topology, clock=clock, rng=rng)
    try:
        await opened.open(may_be_away=may_be_away)
    except BaseException:
        await opened.close()
        raise
    return opened


def _engine(parts: Parts, store: Store, broker: Broker | None, clock: Clock) -> Client:
    if broker is None:
        return Client(store, clock, parts.rng)
    return Engine(
        store,
        broker,
        parts.registry,
        clock,
        parts.rng,
        topology=parts.topology,
        concurrency=parts.concurrency,
        watch=parts.watch,
        keep=parts.keep,
        catalogue=parts.catalogue,
        events=parts.events,
    )
