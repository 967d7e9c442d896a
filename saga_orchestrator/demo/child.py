"""A process of the demo: an orchestrator, or a worker; made to be killed.

``python -m saga_orchestrator.demo.child`` reads its task, a line of JSON, from
stdin (not from its arguments: URLs hold passwords), says ``ready`` on stdout
and works until stdin ends. That is how the parent stops it, and how it learns
that its parent died: it never outlives it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
import threading
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from saga_orchestrator.bootstrap import open_worker
from saga_orchestrator.brokers.memory import MemoryBroker
from saga_orchestrator.demo.effects import Effects
from saga_orchestrator.demo.faults import SeededBrokerFaults
from saga_orchestrator.demo.names import topology_of
from saga_orchestrator.demo.scenarios import SCENARIOS
from saga_orchestrator.demo.services import Services
from saga_orchestrator.participant.handlers import Handlers
from saga_orchestrator.ports.broker import Broker
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.runtime.manager import Manager
from saga_orchestrator.settings import load_settings
from saga_orchestrator.telemetry import logging

Role = Literal["orchestrator", "worker"]

READY = b"ready\n"
LINGER_SECONDS = 20.0
"""A child that has not stopped by then ends without asking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a child is to be.

    Attributes:
        role: an orchestrator has the engine, a worker only handlers.
        scenario: the name of what is run.
        run: the run's name.
        seed: decides what goes wrong.
        life: counts the restarts of this child.
        store: the store's URL.
        broker: the broker's; ``memory://`` is one with faults.
        effects: the database of effects.
        with_handlers: whether an orchestrator has the handlers too.
        with_barrier: False takes the barrier's claim away.
    """

    role: Role
    scenario: str
    run: str
    seed: int
    life: int
    store: str
    broker: str
    effects: str
    with_handlers: bool
    with_barrier: bool

    def to_line(self) -> bytes:
        """Return it as a line of JSON."""
        return json.dumps(dataclasses.asdict(self)).encode() + b"\n"


async def serve(task: Task) -> None:
    """Do the task until stdin ends."""
    over = asyncio.Event()
    _watch_stdin(asyncio.get_running_loop(), over)
    effects = Effects(Path(task.effects), with_barrier=task.with_barrier)
    scenario = SCENARIOS[task.scenario]
    services = Services(scenario, task.run, task.seed, effects, SystemClock())
    async with AsyncExitStack() as opened:
        opened.callback(effects.close)
        if task.role == "worker":
            await _open_worker(task, services.handlers(), opened)
        else:
            handlers = [services.handlers()] if task.with_handlers else []
            await _open_orchestrator(task, handlers, opened)
        sys.stdout.buffer.write(READY)
        sys.stdout.buffer.flush()
        await over.wait()


async def _open_orchestrator(
    task: Task, handlers: list[Handlers], opened: AsyncExitStack
) -> None:
    broker: str | Broker = task.broker
    if task.broker.startswith("memory:"):
        broker = MemoryBroker(
            topology=topology_of(task.run),
            faults=SeededBrokerFaults(task.seed, task.life),
        )
        await broker.open()
    await opened.enter_async_context(
        Manager.open(
            store=task.store,
            broker=broker,
            broker_may_be_away=True,  # as `saga serve` has it; the parent has looked
            handlers=handlers,
            engine=True,
            topology=topology_of(task.run),
            migrate=False,
        )
    )


async def _open_worker(task: Task, handlers: Handlers, opened: AsyncExitStack) -> None:
    names = topology_of(task.run)
    settings = load_settings(
        broker=task.broker,
        exchange=names.exchange,
        steps_queue=names.steps,
        compensate_queue=names.compensate,
        replies_queue=names.replies,
        undelivered_queue=names.undelivered,
        dead_queue=names.dead,
    )
    opening = open_worker(settings, [handlers], broker_may_be_away=True)
    await opened.enter_async_context(opening)


def _watch_stdin(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    """Notice the end of stdin in a thread: no busy loop can keep it from that."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        loop.call_soon_threadsafe(over.set)
        threading.Event().wait(LINGER_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="demo-stdin", daemon=True).start()


def main() -> None:
    """Run the child."""
    logging.configure("warning", "json")
    task = Task(**json.loads(sys.stdin.buffer.readline()))
    asyncio.run(serve(task))


if __name__ == "__main__":
    main()
