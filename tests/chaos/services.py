"""The participants: what `saga worker` runs in a chaos run.

What goes wrong by itself (errors and stalls, before the effect and after it) is
the demo's; refusals are those of ``sagas``.
"""

from __future__ import annotations

import asyncio

from saga_orchestrator.core.payload import Json
from saga_orchestrator.demo.effects import Effects
from saga_orchestrator.demo.faults import Fate, fate_of
from saga_orchestrator.participant.context import StepContext
from saga_orchestrator.participant.handlers import Handlers
from saga_orchestrator.participant.signals import StepFailed
from tests.chaos.sagas import DEFINITIONS, TIMEOUT, refuses, refuses_undo, seconds_of

# The variables that tell a worker process its ledger of effects and its seed.
LEDGER = "CHAOS_LEDGER"
SEED = "CHAOS_SEED"


class Services:
    """The handlers of all sagas, as one service.

    Args:
        seed: decides what goes wrong.
        effects: where effects go.
    """

    def __init__(self, seed: int, effects: Effects) -> None:
        self._seed = seed
        self._effects = effects

    def handlers(self) -> Handlers:
        """Return the registered handlers."""
        handlers = Handlers()
        for definition in DEFINITIONS.values():
            for step in definition.steps:
                handlers.step(step.action)(self._do)
                if step.compensation:
                    handlers.compensation(step.compensation)(self._undo)
        return handlers

    async def _do(self, ctx: StepContext, request: dict[str, int]) -> Json:
        number = request["number"]
        if refuses(self._seed, number, ctx.saga_name, ctx.step):
            raise StepFailed("not this time")
        return await self._perform(ctx, number, request["cents"])

    async def _undo(self, ctx: StepContext, done: dict[str, int] | None) -> None:
        request = ctx.input
        assert isinstance(request, dict), "it is the context"
        number, generation = request["number"], ctx.fence.generation
        if refuses_undo(self._seed, number, ctx.saga_name, ctx.step, generation):
            raise StepFailed("it cannot be undone")
        cents = done["amount"] if done else request["cents"]
        await self._perform(ctx, number, cents)

    async def _perform(self, ctx: StepContext, number: int, cents: int) -> Json:
        fate = fate_of(self._seed, number, ctx.step, ctx.direction, ctx.attempt)
        await asyncio.sleep(seconds_of(self._seed, number, ctx.step))
        if fate is Fate.STALL_BEFORE:
            await _stall()
        if fate is Fate.ERROR_BEFORE:
            raise ConnectionError("no connection")
        output = await self._effects.append(ctx, {"amount": cents})
        if fate is Fate.STALL_AFTER:
            await _stall()
        if fate is Fate.ERROR_AFTER:
            raise ConnectionError("the answer was lost")
        return output


async def _stall() -> None:
    """Wait until the runtime cancels the run."""
    await asyncio.sleep(2 * TIMEOUT.total_seconds())
