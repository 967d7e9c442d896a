"""One run: machines that crash and come back, people, faults, then the calm."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from saga_orchestrator import Topology
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.ports.broker import OutgoingMessage
from saga_orchestrator.ports.records import SagaRecord
from saga_orchestrator.testing.virtual_time import run_virtual
from tests.simulation.backends import Backend, open_backend
from tests.simulation.books import Books
from tests.simulation.clients import Clients
from tests.simulation.hostile import Hostile
from tests.simulation.ledger import Key, Ledger
from tests.simulation.machines import Machine, machines_of
from tests.simulation.operating import Operators
from tests.simulation.outside import Outside
from tests.simulation.process import WorldClock
from tests.simulation.scenario import definitions
from tests.simulation.spells import Spells
from tests.simulation.weather import Weather
from tests.simulation.wire import Node, Wire

STORM_SECONDS = 120.0
CALM_SECONDS = 3600.0
"""The bound to converge in: the longest pause before a resend, four times."""
DRAIN_SECONDS = 180.0
"""How long the outbox and the queues may take to empty after that."""

Patch = Callable[[], AbstractContextManager[object]]


@dataclass
class Run:
    """What a run leaves behind.

    Attributes:
        seed: decided everything.
        ledger: what happened in the world.
        started: sagas by the key that they were started with.
        records: what the store has of each saga at the end.
        fired: how often each fault happened.
        kinds: how often each kind of history entry was written.
        steps: calls of the store.
        problems: breaches; a run ends at the first one.
    """

    seed: int
    ledger: Ledger = field(default_factory=Ledger)
    started: dict[str, SagaId] = field(default_factory=dict)
    records: dict[SagaId, SagaRecord] = field(default_factory=dict)
    fired: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    problems: list[str] = field(default_factory=list)
    books: Books = field(init=False)


class World:
    """The simulated machines of one seed.

    Attributes:
        is_embedded: one process with everything, whose broker dies with it.
        polls: the engines poll the store, as real ones do.
        locks: until when a saga's row is locked.
    """

    def __init__(self, seed: int, store: str) -> None:
        self.run = Run(seed)
        self.topology = Topology()
        self.weather = Weather(seed)
        self.is_embedded = self.rng("embedded").random() < 0.1
        self.polls = self.rng("polls").random() < 0.02
        self.is_over = False
        self.kinds = definitions(self.rng("sagas"))
        self.clock = WorldClock()
        self.backend: Backend = open_backend(store, self.clock)
        self.books = Books(self.clock, self.run.ledger)
        self.wire = Wire(self)
        self.node = Node(self)
        self.locks: dict[SagaId, float] = {}
        self.store_away_until = 0.0
        self.blocked_until = 0.0
        self.broker_away_until = 0.0
        self.unrouted_until: dict[str, float] = {}
        self.outside = Outside(self)
        self.hostile = Hostile(self, self.rng("hostile"))
        self.operators = Operators(self, self.rng("operators"))
        self.clients = Clients(self, self.rng("clients"))
        self.machines: list[Machine] = machines_of(self)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def play(self) -> Run:
        """Run the storm, then the calm, until the end or the first breach."""
        try:
            asyncio.get_running_loop().set_exception_handler(self._unheard)
            self.spawn(self._story())
            await self._stopped
            self._collect()
        finally:
            self.is_over = True
            self.backend.close()
        return self.run

    # -- the story -----------------------------------------------------------

    async def _story(self) -> None:
        await self.outside.open()
        await self.operators.open()
        for machine in self.machines:
            self.spawn(machine.run())
        await self.clients.open()
        Spells(self).begin(STORM_SECONDS)
        await self.clock_sleep(STORM_SECONDS)
        self._calm_down()
        await self.clients.finish()
        await self.until_rest()
        await self.operators.tidy_up()
        await self._drained()
        if not self._stopped.done():
            self._stopped.set_result(None)

    def _calm_down(self) -> None:
        """End whatever is wrong with the world."""
        self.weather.is_calm = True
        self.store_away_until = self.blocked_until = self.broker_away_until = 0.0
        self.locks.clear()
        self.unrouted_until.clear()
        for machine in self.machines:
            machine.calm_down()

    async def until_rest(self) -> None:
        """Wait until every saga rests (L1)."""
        until = self.clock.monotonic() + CALM_SECONDS
        while not self.books.is_at_rest:
            if self.clock.monotonic() >= until:
                moving = [s for s in self.books.sagas.values() if s.wake_at]
                self.accuse(f"L1: never came to rest: {moving}")
                await asyncio.Event().wait()
            await self.books.moved.wait(until)

    async def _drained(self) -> None:
        """Wait until the outbox and the queues are empty (L3)."""
        for _ in range(int(DRAIN_SECONDS)):
            if not self._left_over():
                return
            await self.clock_sleep(1.0)
        self.accuse(f"L3: not drained: {self._left_over()}")

    def _left_over(self) -> list[str]:
        """Name what still waits in the outbox, in queues and with consumers."""
        brokers = [machine.broker for machine in self.machines if machine.broker]
        in_hand = sum(broker.unsettled for broker in brokers)
        return [
            *(fence.text for fence in self.books.outbox),
            *(f"{name}: {count} ready" for name, count in self.node.backlog().items()),
            *([f"{in_hand} in hand"] if in_hand else []),
        ]

    def _collect(self) -> None:
        run = self.run
        run.books = self.books
        run.fired = self.weather.fired
        run.kinds = self.books.kinds
        run.problems += run.ledger.problems
        for machine in self.machines:
            run.problems += machine.failed_loops()
        if run.problems:
            return
        for saga_id in self.books.sagas:
            run.records[saga_id] = self.backend.call("record", saga_id)
        run.records |= self.books.pruned
        counts = self.backend.call("counts")
        states = Counter(saga.state for saga in self.books.sagas.values())
        if counts != states:
            run.problems.append(f"S22: the store counts {counts}, not {states}")
        for body in self.hostile.babbled - self.wire.parked - self.wire.lost:
            run.problems.append(f"F34: {body[:40]!r} was not set aside")

    # -- what its parts ask --------------------------------------------------

    def rng(self, name: str) -> random.Random:
        """Return a source for one part: a new part changes no other's draws."""
        return random.Random(f"{self.run.seed}/{name}")

    def accuse(self, problem: str) -> None:
        """Note a breach, and end the run."""
        if not self._stopped.done():
            at = self.clock.monotonic()
            self.run.problems.append(f"{problem} (at {at:.3f} s)")
            self._stopped.set_result(None)

    def _unheard(self, _: object, context: dict[str, Any]) -> None:
        """Take an exception that nobody asked a task for."""
        if not self.is_over:
            self.accuse(f"unheard: {context.get('exception') or context['message']}")

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        """Run something beside the story; what it raises is a defect of the test."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - told with its seed
                self.accuse(f"the world itself failed: {error!r}")

        task = asyncio.ensure_future(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def clock_sleep(self, seconds: float) -> None:
        """Let the world's time pass."""
        await asyncio.sleep(seconds)

    def owner(self, fence: Fence) -> Key:
        """Return whose effect a dispatch is about."""
        saga = self.books.sagas.get(fence.saga_id)
        return (saga and saga.undoes) or fence.saga_id, fence.step

    def process_died(self, machine: Machine) -> None:
        """Count it; an embedded broker goes with its process."""
        self.weather.fired["crash"] += 1
        if self.is_embedded:
            self.weather.fired["wipe"] += 1
            self.node.wipe()

    @property
    def is_broker_away(self) -> bool:
        """Whether nobody reaches the broker now."""
        return self.broker_away_until > self.clock.monotonic()

    @property
    def broker_rest(self) -> float:
        """How long the broker stays away."""
        return max(0.0, self.broker_away_until - self.clock.monotonic())

    def is_unrouted(self, message: OutgoingMessage) -> bool:
        """Whether the binding that a message needs is gone now."""
        if message.exchange == "" or not self.unrouted_until:
            return False
        service = message.routing_key.split(".")[1]
        return self.unrouted_until.get(service, 0.0) > self.clock.monotonic()


def simulate(seed: int, *, store: str = "memory", patch: Patch = nullcontext) -> Run:
    """Play one seed.

    Args:
        seed: decides the whole run.
        store: ``memory``, ``sqlite``, or the URL of a PostgreSQL database of the
            simulation's own: it is emptied.
        patch: returns what is entered for the time of the run: a planted bug.
    """

    async def play() -> Run:
        return await World(seed, store).play()

    with patch():
        return run_virtual(play())
