"""The machines of a world: each boots a process again when it has died."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from saga_orchestrator import Manager
from saga_orchestrator.errors import SagaError
from saga_orchestrator.runtime.registry import Registry
from saga_orchestrator.runtime.supervisor import Supervisor
from saga_orchestrator.runtime.worker import Worker
from tests.simulation.participant import Participant
from tests.simulation.process import Life, ProcessClock
from tests.simulation.scenario import SERVICES
from tests.simulation.seam import ProcessBroker
from tests.simulation.storehandle import StoreHandle

if TYPE_CHECKING:
    from saga_orchestrator import Handlers
    from tests.simulation.world import World

SKEW_SECONDS = 600.0
REBOOT_SECONDS = 8.0
RARE_SECONDS = 40.0
"""So late the service comes that is rare; until then it has no queue."""
CONCURRENCY = 8


Process = Manager | Worker


class Machine:
    """One machine: one process after another.

    Attributes:
        life: of the process that runs now.
        manager: its manager, where it is an engine that is open.
    """

    def __init__(
        self, world: World, name: str, services: tuple[str, ...], *, engine: bool
    ) -> None:
        self._world = world
        self._services = services
        self._is_engine = engine
        self._rng = world.rng(name)
        # Dead ones too: what hangs in them must not be collected.
        self._processes: list[Process] = []
        self._lives: list[Life] = []
        self._is_old = False
        self.life = Life()
        self.broker: ProcessBroker | None = None
        self.manager: Manager | None = None

    async def run(self) -> None:
        """Boot, wait for the end, and boot again, for ever."""
        if self._services == ("rare",):
            await self._world.clock_sleep(self._rng.random() * RARE_SECONDS)
        while True:
            self._begin()
            boot = self._boot_engine if self._is_engine else self._boot_worker
            self._world.spawn(self._boot(boot))
            await self.life.over.wait()
            self.manager = None
            self._world.process_died(self)
            await self._world.clock_sleep(self._rng.random() * REBOOT_SECONDS)

    async def drain(self) -> bool:
        """Tell the process to stop, as an orchestrator of containers does."""
        if not self._processes or self.life.is_over:
            return False
        process, life = self._processes[-1], self.life
        await process.stop(timeout=self._rng.random() * 20)
        await process.close()
        life.end()
        return True

    def failed_loops(self) -> list[str]:
        """Name the loops of its processes that raised: none should."""
        return [
            f"{name}: {text}"
            for process in self._processes
            for name, (text, _) in _supervisor_of(process)._problems.items()
        ]

    def calm_down(self) -> None:
        """Live on, as the latest version."""
        self.life.fuse = 0
        self.life.pause(0.0)
        if self._is_old:
            self.life.end()

    def _begin(self) -> None:
        weather = self._world.weather
        fuse = 0
        if weather.lifetime and not weather.is_calm:
            fuse = 1 + int(self._rng.expovariate(1 / weather.lifetime))
        self.life = Life(fuse)
        self._lives.append(self.life)
        self._is_old = False

    async def _boot(self, boot: Callable[[], Awaitable[None]]) -> None:
        life = self.life
        try:
            await boot()
        except SagaError:
            life.end()  # it cannot start, and is started again

    async def _boot_engine(self) -> None:
        life = self.life
        self.broker = ProcessBroker(self._world, life)
        await self.broker.open()
        manager = await Manager.open(
            store=StoreHandle(self._world, life),
            broker=self.broker,
            handlers=self._handlers(life),
            clock=self._clock(life),
            rng=random.Random(self._rng.random()),
            concurrency=CONCURRENCY,
            engine=True,
        )
        self._processes.append(manager)
        if life is self.life and not life.is_over:
            self.manager = manager

    async def _boot_worker(self) -> None:
        life = self.life
        self.broker = ProcessBroker(self._world, life)
        await self.broker.open()
        worker = Worker(
            broker=self.broker,
            registry=Registry(self._handlers(life)),
            clock=self._clock(life),
            rng=random.Random(self._rng.random()),
            topology=self._world.topology,
            concurrency=CONCURRENCY,
        )
        self._processes.append(worker)
        await worker.open()

    def _handlers(self, life: Life) -> list[Handlers]:
        without = ""
        if not self._is_engine and self._world.weather.strikes("old_worker"):
            without = self._rng.choice(("do", "defer", "long"))
            self._is_old = True
        participant = Participant(self._world, life, self._world.outside)
        return [
            participant.handlers(service, without=without) for service in self._services
        ]

    def _clock(self, life: Life) -> ProcessClock:
        skew = 0.0
        if self._world.weather.strikes("skew"):
            skew = (self._rng.random() * 2 - 1) * SKEW_SECONDS
        return ProcessClock(life, skew)


def _supervisor_of(process: Process) -> Supervisor:
    if isinstance(process, Manager):
        return process._engine.supervisor
    return process._supervisor


def machines_of(world: World) -> list[Machine]:
    """Return the machines of a world; an embedded engine has all services."""
    if world.is_embedded:
        return [Machine(world, "engine", SERVICES, engine=True)]
    return [
        Machine(world, "engine 1", ("near",), engine=True),
        Machine(world, "engine 2", ("near",), engine=True),
        Machine(world, "worker 1", ("far",), engine=False),
        Machine(world, "worker 2", ("far",), engine=False),
        Machine(world, "worker 3", ("rare",), engine=False),
    ]
