"""Clients: each starts a saga by key, again and again until it is told the id."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from saga_orchestrator import KeyConflict, Manager, SagaDefinition
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.payload import Json
from saga_orchestrator.errors import SagaError
from tests.simulation.process import Life, ProcessClock
from tests.simulation.scenario import context_of
from tests.simulation.storehandle import StoreHandle

if TYPE_CHECKING:
    from tests.simulation.world import World

SAGAS = 6
ANSWER_SECONDS = 10.0
LAST_START_SECONDS = 60.0


class Clients:
    """Those who start sagas: through a manager of their own, or an engine's.

    Attributes:
        through: sagas whose client starts them no more, so that they may go.
    """

    _own: Manager

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self.through: set[SagaId] = set()
        self._running: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Connect to the store, and begin."""
        life = Life()
        self._own = await Manager.open(
            store=StoreHandle(self._world, life),
            engine=False,
            clock=ProcessClock(life),
            rng=random.Random(self._rng.random()),
        )
        for number in range(SAGAS):
            rng = random.Random(self._rng.random())
            self._running.append(asyncio.ensure_future(self._client(number, rng)))

    async def finish(self) -> None:
        """Wait until every saga is started."""
        for client in self._running:
            await client

    async def _client(self, number: int, rng: random.Random) -> None:
        await self._world.clock_sleep(rng.random() * LAST_START_SECONDS)
        kind = rng.choice(self._world.kinds)
        key = f"key-{number}" if rng.random() < 0.9 else None
        context = context_of(rng, number)
        if key is None:
            await self._once(kind, context)
            return
        saga_id = await self._insist(kind, context, key, rng)
        self._world.run.started[key] = saga_id
        await self._world.clock_sleep(rng.random() * 20)
        if rng.random() < 0.3:
            again = await self._insist(kind, context, key, rng)
            self._world.weather.fired["start_again"] += 1
            if again != saga_id:
                self._world.accuse(f"S13: {key} is {saga_id} and {again}")
        if rng.random() < 0.2:
            await self._conflict(kind, key)
        self.through.add(saga_id)

    async def _once(self, kind: SagaDefinition, context: dict[str, Json]) -> None:
        """Start without a key: it may have been started, or not."""
        try:
            await self._own.start(kind, context=context)
        except SagaError:
            return

    async def _insist(
        self,
        kind: SagaDefinition,
        context: dict[str, Json],
        key: str,
        rng: random.Random,
    ) -> SagaId:
        while True:
            engines = [machine.manager for machine in self._world.machines]
            managers = [self._own, *(manager for manager in engines if manager)]
            manager = rng.choice(managers)
            try:
                # An engine that dies meanwhile never answers.
                async with asyncio.timeout(ANSWER_SECONDS):
                    saga = await manager.start(kind, context=context, key=key)
            except (SagaError, TimeoutError):
                await self._world.clock_sleep(0.2)
            else:
                return saga.id

    async def _conflict(self, kind: SagaDefinition, key: str) -> None:
        """Use a key for another body: refused, or the store is away."""
        try:
            await self._own.start(kind, context={"n": -1, "flag": True}, key=key)
        except KeyConflict:
            self._world.weather.fired["key_conflict"] += 1
        except SagaError:
            return
        else:
            self._world.accuse(f"S13: {key} was taken, and started another saga")
