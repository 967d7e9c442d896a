"""One run: processes that crash and come back, clients, faults, then calm."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from saga_orchestrator import Manager, Store, Topology
from saga_orchestrator.brokers.memory import MemoryBroker
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.errors import StoreError
from saga_orchestrator.ports.store import SagaRecord
from saga_orchestrator.runtime.registry import Registry
from saga_orchestrator.runtime.worker import Worker
from saga_orchestrator.testing.virtual_time import LoopClock, run_virtual
from tests.simulation.process import FencedStore, Life, ProcessClock, Weather
from tests.simulation.scenario import Ledger, Participant, definitions

SAGAS = 6
STORM_SECONDS = 300
CALM_SECONDS = 48 * 3600
RESTING = frozenset({SagaState.COMPLETED, SagaState.COMPENSATED, SagaState.FAILED})


@dataclass
class Run:
    """What a run leaves behind for the judge."""

    seed: int
    ledger: Ledger
    started: dict[str, str] = field(default_factory=dict)
    records: dict[str, SagaRecord] = field(default_factory=dict)
    fired: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


_NUMBERS = itertools.count()


class World:
    """The simulated machines of one seed."""

    def __init__(self, seed: int, *, barrier: bool) -> None:
        self.rng = random.Random(seed)
        self.run = Run(seed, Ledger(has_barrier=barrier))
        self.weather = Weather(random.Random(self.rng.random()))
        self.kinds = definitions(self.rng)
        self.clock = LoopClock()
        self.crashes = 0
        # Never an id(): the queues of a world that is gone live on under its name.
        self._name = f"sim-{next(_NUMBERS)}"
        self._store: Store | None = None
        self._lives: list[tuple[Life, MemoryBroker]] = []
        self._processes: list[object] = []  # dead ones too: see Life.check

    async def play(self) -> Run:
        """Run the storm, then the calm, and collect what is left."""
        self._store = await Store.open("memory://", clock=self.clock)
        boots: list[Callable[[], Awaitable[None]]] = [
            self._boot_engine,
            self._boot_engine,
            self._boot_worker,
            self._boot_worker,
        ]
        async with asyncio.TaskGroup() as group:
            machines = [group.create_task(self._keep(boot)) for boot in boots]
            clients = [group.create_task(self._client(n)) for n in range(SAGAS)]
            cutter = group.create_task(self._cut_connections())
            await self.clock.sleep(STORM_SECONDS)
            self.weather.is_calm = True
            cutter.cancel()
            for client in clients:
                await client
            await self._settle_down()
            await self._collect()
            for machine in machines:
                machine.cancel()
        self.run.fired = {**self.weather.fired, "crash": self.crashes}
        return self.run

    async def _keep(self, boot: Callable[[], Awaitable[None]]) -> None:
        """Boot a process; crash it now and then during the storm; boot again."""
        while True:
            await boot()
            life, broker = self._lives[-1]
            await self.clock.sleep(self.rng.random() * STORM_SECONDS)
            if self.weather.is_calm:
                await asyncio.Event().wait()
            life.is_over = True
            broker.crash()
            self.crashes += 1
            await self.clock.sleep(self.rng.random() * 20)

    async def _boot_engine(self) -> None:
        life, broker, rng = await self._machine()
        participant = Participant(self.run.seed, self.run.ledger, life)
        manager = await Manager.open(
            store=FencedStore(self._store, life, self.weather),
            broker=broker,
            handlers=[participant.handlers("near")],
            clock=ProcessClock(life),
            rng=rng,
        )
        self._processes.append(manager)

    async def _boot_worker(self) -> None:
        life, broker, rng = await self._machine()
        participant = Participant(self.run.seed, self.run.ledger, life)
        worker = Worker(
            broker=broker,
            registry=Registry([participant.handlers("far")]),
            clock=ProcessClock(life),
            rng=rng,
            topology=Topology(),
            concurrency=8,
        )
        await worker.open()
        self._processes.append(worker)

    async def _machine(self) -> tuple[Life, MemoryBroker, random.Random]:
        life = Life()
        broker = MemoryBroker(
            f"memory://{self._name}", clock=ProcessClock(life), faults=self.weather
        )
        # What survives a process on a real broker survives it here: the queues
        # belong to the name, not to the handle.
        broker.outlives_process = True
        await broker.open()
        self._lives.append((life, broker))
        return life, broker, random.Random(self.rng.random())

    async def _client(self, number: int) -> None:
        """Start one saga by key, and again and again until it is told the id."""
        await self.clock.sleep(self.rng.random() * STORM_SECONDS / 2)
        kind = self.rng.choice(self.kinds)
        key = f"key-{number}"
        store = FencedStore(self._store, Life(), self.weather)
        rng = random.Random(self.rng.random())
        manager = await Manager.open(
            store=store, engine=False, clock=self.clock, rng=rng
        )
        for _ in range(self.rng.randint(1, 3)):
            saga = await self._insist(manager, kind, key, number)
            known = self.run.started.setdefault(key, saga.id)
            if known != saga.id:
                self.run.problems.append(f"{key}: two sagas, {known} and {saga.id}")
        await manager.stop()
        await manager._engine.close()

    async def _insist(self, manager: Manager, kind, key: str, number: int):
        while True:
            try:
                return await manager.start(kind, context={"n": number}, key=key)
            except StoreError:
                await self.clock.sleep(0.1)

    async def _cut_connections(self) -> None:
        while True:
            await self.clock.sleep(10)
            if self._lives and self.weather.strikes("cut"):
                self.rng.choice(self._lives)[1].cut_connection()

    async def _settle_down(self) -> None:
        """Wait until every saga rests, or the bound passes."""
        for _ in range(CALM_SECONDS // 60):
            counts = await self._store.counts()
            if all(state in RESTING for state, count in counts.items() if count):
                return
            await self.clock.sleep(60)

    async def _collect(self) -> None:
        for saga_id in self.run.started.values():
            record = await self._store.record(saga_id)
            if record is not None:
                self.run.records[saga_id] = record


def simulate(seed: int, *, barrier: bool = True) -> Run:
    """Play one seed."""

    async def play() -> Run:
        return await World(seed, barrier=barrier).play()

    return run_virtual(play())
