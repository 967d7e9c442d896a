"""A process of the bench: an orchestrator, or a worker.

``python -m saga_orchestrator.bench.child`` reads lines of JSON from stdin: first its
task (URLs hold passwords, so not from its arguments), then orders. It answers with
lines of JSON on stdout: that it is ready, how far it is, where its account is. When
stdin ends it stops; so it never outlives its parent.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import random
import sys
import threading
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from saga_orchestrator.bench.account import Account, Counters
from saga_orchestrator.bench.counting import CountingBroker
from saga_orchestrator.bench.load import Load, LoadOrder
from saga_orchestrator.bench.parts import (
    Servers,
    open_orchestrator,
    open_participant,
)
from saga_orchestrator.bench.plan import Shape
from saga_orchestrator.bench.subject import Subject, topology_of
from saga_orchestrator.bench.tickets import Tickets
from saga_orchestrator.bootstrap import run_process
from saga_orchestrator.core.decision import Decision
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.runtime.manager import Manager
from saga_orchestrator.telemetry import logging

Role = Literal["orchestrator", "worker"]

LINGER_SECONDS = 20.0
"""A child that has not stopped by then ends without asking."""
TELL_SECONDS = 0.05
"""How often an orchestrator says how far it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a child is to be.

    Attributes:
        role: an orchestrator has the engine and starts sagas, a worker only handlers.
        run: the run's name.
        shape: what a saga is, as a ``Shape``'s fields.
        seed: decides the payload, and how retries are spread.
        store: the store's URL.
        broker: the broker's.
        with_handlers: whether an orchestrator has the handlers too.
    """

    role: Role
    run: str
    shape: dict[str, Any]
    seed: int
    store: str
    broker: str
    with_handlers: bool

    def to_json(self) -> dict[str, Any]:
        """Return it as an object of JSON."""
        return dataclasses.asdict(self)


class BenchChild:
    """One process, from its first load to its last.

    Args:
        task: what it is to be.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._clock = SystemClock()
        self._subject = Subject(Shape(**task.shape), task.run)
        self._context = self._subject.context(task.seed)
        self._orders: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._load: Load | None = None

    async def serve(self) -> None:
        """Open the parts, and do what is ordered until stdin ends."""
        _read_stdin(asyncio.get_running_loop(), self._orders)
        servers = Servers(
            self._task.store,
            self._task.broker,
            topology_of(self._task.run),
            self._clock,
            random.Random(f"{self._task.seed} {os.getpid()}"),  # noqa: S311 - spreads
        )
        async with AsyncExitStack() as opened:
            broker = await servers.open_broker()
            manager = await self._open(servers, broker, opened)
            _say({"ready": True})
            while (order := await self._orders.get()) is not None:
                account = await self._perform(order["load"], broker, manager)
                account.write(Path(order["account"]))
                _say({"account": order["account"]})

    async def _open(
        self, servers: Servers, broker: CountingBroker, opened: AsyncExitStack
    ) -> Manager | None:
        handlers = [self._subject.handlers()]
        if self._task.role == "worker":
            await open_participant(servers, broker, handlers, opened)
            return None
        own = handlers if self._task.with_handlers else []
        return await open_orchestrator(servers, broker, own, self._notice, opened)

    def _notice(self, decisions: Sequence[Decision]) -> None:
        if self._load is not None:
            self._load.notice(decisions)

    async def _perform(
        self,
        order: dict[str, Any] | None,
        broker: CountingBroker,
        manager: Manager | None,
    ) -> Account:
        """Work until the parent says that this load is over; return what it took."""
        since = Counters.now(broker)
        if order is None or manager is None:
            await self._orders.get()
            return Counters.now(broker).account(since, {}, {})
        load = Load(
            manager, self._subject, self._context, LoadOrder(**order), self._clock
        )
        self._load = load
        async with asyncio.TaskGroup() as group:
            with Tickets(Path(order["tickets"]), order["sagas"]) as tickets:
                starting = group.create_task(load.run(tickets))
                telling = group.create_task(self._tell(load))
                await self._orders.get()
                starting.cancel()
                telling.cancel()
        return Counters.now(broker).account(since, load.started, load.ended)

    async def _tell(self, load: Load) -> None:
        """Say how many sagas came to rest, for ever."""
        told = 0
        while True:
            if len(load.ended) > told:
                told = len(load.ended)
                _say({"ended": told})
            await self._clock.sleep(TELL_SECONDS)


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _read_stdin(
    loop: asyncio.AbstractEventLoop, orders: asyncio.Queue[dict[str, Any] | None]
) -> None:
    """Read orders in a thread: no busy loop can keep it from seeing the end."""

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(orders.put_nowait, json.loads(line))
        loop.call_soon_threadsafe(orders.put_nowait, None)
        threading.Event().wait(LINGER_SECONDS)
        os._exit(1)

    threading.Thread(target=read, name="bench-stdin", daemon=True).start()


def main() -> None:
    """Run the child."""
    logging.configure("warning", "json")
    child = BenchChild(Task(**json.loads(sys.stdin.readline())))
    run_process(child.serve())


if __name__ == "__main__":
    main()
