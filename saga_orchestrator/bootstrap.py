"""The composition root of our own processes: from settings to open parts."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from saga_orchestrator.core.definition import SagaDefinition
from saga_orchestrator.core.states import Direction
from saga_orchestrator.participant.handlers import Handlers
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.runtime.assembly import open_broker
from saga_orchestrator.runtime.manager import Manager
from saga_orchestrator.runtime.opening import Opening
from saga_orchestrator.runtime.registry import Registry
from saga_orchestrator.runtime.worker import Worker
from saga_orchestrator.settings import Settings

_COLLECT_AFTER = (50_000, 20, 100)
"""Nearly all that a saga needs is freed by its reference counts. At Python's own pace
the collector goes through everything that lives every few sagas, in vain."""


def run_process(main: Coroutine[Any, Any, None]) -> None:
    """Run the main coroutine of a process that works on sagas and on nothing else."""
    gc.collect()
    gc.freeze()  # what was imported stays
    gc.set_threshold(*_COLLECT_AFTER)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes a process's event loop: uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def open_manager(
    settings: Settings,
    *,
    definitions: Sequence[SagaDefinition] = (),
    handlers: Sequence[Handlers] = (),
    engine: bool = False,
    broker_may_be_away: bool = False,
    migrate: bool | None = None,
) -> Opening[Manager]:
    """Open a manager as the settings say."""
    return Manager.open(
        store=settings.store,
        broker=settings.broker,
        broker_may_be_away=broker_may_be_away,
        handlers=handlers,
        definitions=definitions,
        engine=engine,
        topology=settings.topology,
        concurrency=settings.concurrency,
        keep=settings.keep,
        events=settings.events,
        lifecycle_events=settings.lifecycle_events,
        migrate=migrate,
        watch=settings.stale_thresholds if engine else None,
    )


def open_worker(
    settings: Settings,
    handlers: Sequence[Handlers],
    directions: frozenset[Direction] = frozenset(Direction),
    *,
    broker_may_be_away: bool = False,
) -> Opening[Worker]:
    """Open a participant without a store as the settings say."""
    clock = SystemClock()
    rng = random.SystemRandom()
    registry = Registry(handlers)

    async def opener() -> Worker:
        broker = await open_broker(
            settings.broker,
            topology=settings.topology,
            clock=clock,
            rng=rng,
            may_be_away=broker_may_be_away,
        )
        worker = Worker(
            broker=broker,
            registry=registry,
            clock=clock,
            rng=rng,
            topology=settings.topology,
            concurrency=settings.concurrency,
            directions=directions,
            watch=bool(settings.metrics),
        )
        try:
            await worker.open()
        except BaseException:
            await worker.close()
            raise
        return worker

    return Opening(opener)
