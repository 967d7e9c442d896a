"""Operators in the storm: each asks for something that may be refused."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from saga_orchestrator import Manager
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import ENDED, Direction, SagaState
from saga_orchestrator.errors import SagaError, TransitionRefused
from tests.simulation.process import Life, ProcessClock
from tests.simulation.storehandle import StoreHandle

if TYPE_CHECKING:
    from tests.simulation.world import World

_WHO: Any = {"principal": "ann", "reason": "asked"}
_ROUNDS = 4


class Operators:
    """People with a manager that has no engine.

    They are told when something is refused; nothing is wrong with that.
    """

    _manager: Manager

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng

    async def open(self) -> None:
        """Connect to the store."""
        life = Life()
        self._manager = await Manager.open(
            store=StoreHandle(self._world, life),
            engine=False,
            clock=ProcessClock(life),
            rng=random.Random(self._rng.random()),
        )

    async def act(self, kind: str) -> bool:
        """Do one act of that kind; tell whether it was done."""
        try:
            return bool(await getattr(self, f"_{kind}")())
        except SagaError:
            return False  # refused, or the store is away: as people are told

    async def tidy_up(self) -> None:
        """Lead failed sagas on, in the calm; some are left for the judge."""
        for _ in await self._manager.residuals():
            kind = self._rng.choice(("undo", "undo", "dismiss", "leave"))
            if kind != "leave":
                await self.act(f"residual_{kind}")
        await self._world.until_rest()
        for _ in range(_ROUNDS):
            failed = [
                saga
                for saga in self._world.books.sagas.values()
                if saga.state is SagaState.FAILED and self._rng.random() < 0.8
            ]
            if not failed:
                return
            for saga in failed:
                with suppress(TransitionRefused):
                    await self._lead_on(saga)
            await self._world.until_rest()

    async def _lead_on(self, saga: Saga) -> None:
        draw = self._rng.random()
        if draw < 0.5:
            await self._manager.retry(saga.id, **_WHO)
        elif draw < 0.8 and saga.failed_steps:
            step = self._rng.choice(saga.failed_steps)
            await self._resolve_step(saga, step)
        else:
            await self._manager.compensate(saga.id, force=True, **_WHO)

    # -- acts ----------------------------------------------------------------

    async def _compensate(self) -> bool:
        return await self._pick_and("compensate")

    async def _force(self) -> bool:
        saga = self._pick(*SagaState)
        if saga is None:
            return False
        await self._manager.compensate(saga.id, force=True, **_WHO)
        return True

    async def _retry(self) -> bool:
        return await self._pick_and("retry", SagaState.FAILED)

    async def _resolve(self) -> bool:
        saga = self._pick(SagaState.FAILED)
        if saga is None:
            return False
        names = saga.failed_steps or tuple(saga.plan.number)
        await self._resolve_step(saga, self._rng.choice(names))
        return True

    async def _give_up(self) -> bool:
        saga = self._pick(SagaState.STARTED, SagaState.COMPENSATING)
        if saga is None:
            return False
        pairs = zip(saga.plan.steps, saga.steps, strict=True)
        names = [step.name for step, status in pairs if status.is_in_flight]
        if not names:
            return False
        await self._manager.give_up(saga.id, self._rng.choice(names), **_WHO)
        return True

    async def _residual_undo(self) -> bool:
        for residual in await self._manager.residuals():
            saga_id, number = residual.fence.saga_id, residual.number
            await self._manager.undo_residual(saga_id, number, **_WHO)
            return True
        return False

    async def _residual_dismiss(self) -> bool:
        for residual in await self._manager.residuals():
            saga_id, number = residual.fence.saga_id, residual.number
            await self._manager.dismiss_residual(saga_id, number, **_WHO)
            return True
        return False

    async def _prune(self) -> bool:
        saga = self._pick(*ENDED)
        if saga is None or saga.id not in self._world.clients.through:
            return False
        await self._manager.store.delete(saga.id)
        return True

    async def _resolve_step(self, saga: Saga, step: str) -> None:
        output = {"step": step} if saga.direction is Direction.ACTION else None
        await self._manager.resolve(saga.id, step, output=output, **_WHO)

    async def _pick_and(self, act: str, *states: SagaState) -> bool:
        saga = self._pick(*(states or SagaState))
        if saga is None:
            return False
        await getattr(self._manager, act)(saga.id, **_WHO)
        return True

    def _pick(self, *states: SagaState) -> Saga | None:
        """Choose a saga, of those in these states where there are any."""
        sagas = list(self._world.books.sagas.values())
        likely = [saga for saga in sagas if saga.state in states]
        return self._rng.choice(likely or sagas) if sagas else None
