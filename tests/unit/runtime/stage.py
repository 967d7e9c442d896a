"""The stage for runtime tests: virtual time, a service, a store that can fail."""

from __future__ import annotations

import datetime as dt
import functools
import inspect
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from saga_orchestrator import Handlers, Manager, RetryPolicy, Step, StepContext, Store
from saga_orchestrator.brokers.memory import MemoryBroker
from saga_orchestrator.ports.broker import OutgoingMessage, QueueSpec, Receipt
from saga_orchestrator.runtime.registry import Registry
from saga_orchestrator.runtime.worker import Worker
from saga_orchestrator.testing.virtual_time import LoopClock, run_virtual
from saga_orchestrator.wire.topology import Topology
from tests.support.inbox import Inbox

ONCE = RetryPolicy(max_attempts=1)
TOPOLOGY = Topology()
_NAMES = itertools.count()


def virtual(test):
    """Run an async test in virtual time: waiting costs nothing."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        run_virtual(test(*args, **kwargs))

    return run


def seconds(number: float) -> dt.timedelta:
    """Return a duration."""
    return dt.timedelta(seconds=number)


def fresh_name() -> str:
    """Return a name for a store or a broker that no other test uses."""
    return f"runtime-{next(_NAMES)}"


def open_manager(*handlers: Handlers, **options: Any):
    """Open a manager that lives in the loop's time."""
    options.setdefault("clock", LoopClock())
    options.setdefault("rng", random.Random(7))
    return Manager.open(handlers=handlers, **options)


async def open_store(name: str = "") -> Store:
    """Open a memory store that lives in the loop's time."""
    return await Store.open(f"memory://{name or fresh_name()}", clock=LoopClock())


async def open_broker(name: str, faults: Any = None) -> MemoryBroker:
    """Open a handle on the in-process broker of this name."""
    broker = MemoryBroker(f"memory://{name}", clock=LoopClock(), faults=faults)
    await broker.open()
    return broker


async def open_worker(
    broker: MemoryBroker, *handlers: Handlers, watch: bool = False
) -> Worker:
    """Open a participant process on a broker handle of its own."""
    worker = Worker(
        broker=broker,
        registry=Registry(handlers),
        clock=LoopClock(),
        rng=random.Random(next(_SEEDS)),
        topology=TOPOLOGY,
        concurrency=8,
        watch=watch,
    )
    try:
        await worker.open()
    except BaseException:
        await worker.close()
        raise
    return worker


async def until(condition: Callable[[], Any], *, limit: float = 60) -> None:
    """Wait in the loop's time until the condition holds."""
    clock = LoopClock()
    end = clock.monotonic() + limit
    while True:
        holds = condition()
        if await holds if inspect.isawaitable(holds) else holds:
            return
        assert clock.monotonic() < end, f"not within {limit} s"
        await clock.sleep(0.01)


_SEEDS = itertools.count(8)
"""Processes draw differently, as they do in the world."""


class Service:
    """A service whose handlers note their runs, and do what the test says.

    Attributes:
        handlers: to be given to a manager or a worker.
        runs: the names of what was run, in order; undos as ``undo_a``.
        contexts: the context of each run.
        does: what a handler does, by that name; else it returns ``{"by": name}``.
    """

    def __init__(self, name: str = "near", actions: str = "abc") -> None:
        self.name = name
        self.handlers = Handlers(name)
        self.runs: list[str] = []
        self.contexts: list[StepContext] = []
        self.given: list[object] = []
        self.does: dict[str, Callable[[StepContext], Awaitable[object]]] = {}
        for action in actions:
            self.handlers.step(f"{name}.{action}")(self._handler(action))
            undo = f"undo_{action}"
            self.handlers.compensation(f"{name}.{undo}")(self._handler(undo))

    def _handler(self, name: str):
        async def run(ctx: StepContext, given):
            self.runs.append(name)
            self.contexts.append(ctx)
            self.given.append(given)
            does = self.does.get(name)
            return {"by": name} if does is None else await does(ctx)

        return run

    def chain(self, names: str = "abc", **options: Any) -> list[Step]:
        """Return steps, one after the other, with the actions of their names."""
        return [
            Step(
                name,
                action=f"{self.name}.{name}",
                compensation=f"{self.name}.undo_{name}",
                **options,
            )
            for name in names
        ]


def raising(error: Exception, *, times: int = 1_000_000):
    """Return what makes a handler raise, the first so many times."""
    left = itertools.count(1)

    async def run(ctx: StepContext) -> object:
        if next(left) <= times:
            raise error
        return {"by": ctx.step}

    return run


class WatchedStore:
    """A real store's handle that counts calls, and fails where a test says."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.calls: Counter[str] = Counter()
        self.batches: list[int] = []
        self.gates: dict[str, Callable[..., Awaitable[None]]] = {}

    def __getattr__(self, name: str):
        found = getattr(self.inner, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def watched(*args, **kwargs):
            self.calls[name] += 1
            if name == "transact":
                self.batches.append(len(args[0]))
            if name in self.gates:
                await self.gates[name](*args, **kwargs)
            return await found(*args, **kwargs)

        return watched

    def fail(self, name: str, error: Exception, *, times: int = 1_000_000) -> None:
        """Let the next calls of a method raise, before anything is done."""
        left = itertools.count(1)

        async def gate(*args, **kwargs):
            del args, kwargs
            if next(left) <= times:
                raise error

        self.gates[name] = gate

    def poison(self, name: str, saga_id: Callable[[], str | None], error) -> None:
        """Let a method raise whenever it is asked about this saga."""

        async def gate(items, *args, **kwargs):
            del args, kwargs
            if any(item.saga_id == saga_id() for item in items):
                raise error

        self.gates[name] = gate


@dataclass
class Faults:
    """What goes wrong on the broker, for commands that hold a text.

    Attributes:
        text: which messages are meant.
        lost: they are not stored, and their publisher never hears.
        unconfirmed: they are stored, and their publisher never hears.
        seen: how many such messages were published.
    """

    text: bytes = b""
    lost: bool = False
    unconfirmed: bool = False
    seen: int = field(default=0)

    def _meant(self, message: OutgoingMessage) -> bool:
        return message.kind == "saga.commands" and self.text in message.body

    def copies(self, message: OutgoingMessage) -> int:
        """Lose what is meant."""
        self.seen += self._meant(message)
        return 0 if self.lost and self._meant(message) else 1

    def loses_confirm(self, message: OutgoingMessage) -> bool:
        """Keep the confirm back."""
        return (self.lost or self.unconfirmed) and self._meant(message)

    def delivery_delay(self, queue: str) -> float:
        """Deliver at once."""
        del queue
        return 0.0

    def loses_ack(self, queue: str) -> bool:
        """Lose no acknowledgement."""
        del queue
        return False


async def dead_letters(broker: MemoryBroker) -> Inbox:
    """Read the queue of messages that can never be processed."""
    inbox = Inbox(ack=True)
    await broker.consume(QueueSpec(TOPOLOGY.dead), inbox, prefetch=100)
    return inbox


async def put(broker: MemoryBroker, queue: str, body: bytes, kind: str) -> None:
    """Put a message into a queue, as any program with access could."""
    message = OutgoingMessage(queue, body, kind, exchange="")
    assert await broker.publish([message]) == [Receipt.CONFIRMED]
