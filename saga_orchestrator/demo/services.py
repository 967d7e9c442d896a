"""The services of a scenario: handlers that fail by the seed."""

from __future__ import annotations

from saga_orchestrator.core.payload import Json
from saga_orchestrator.demo.effects import Effects
from saga_orchestrator.demo.faults import Fate, fate_of, is_refused, is_unanswered
from saga_orchestrator.demo.scenarios import Scenario
from saga_orchestrator.demo.scenarios.scenario import TIMEOUT
from saga_orchestrator.participant.context import StepContext
from saga_orchestrator.participant.handlers import Handlers
from saga_orchestrator.ports.clock import Clock


class Services:
    """The handlers of all services of a scenario.

    Args:
        scenario: what they are for.
        run: whose actions they are for.
        seed: decides what goes wrong.
        effects: where effects go.
        clock: what stalls wait on.
    """

    def __init__(
        self, scenario: Scenario, run: str, seed: int, effects: Effects, clock: Clock
    ) -> None:
        self._scenario = scenario
        self._run = run
        self._seed = seed
        self._effects = effects
        self._clock = clock

    def handlers(self) -> Handlers:
        """Return the registered handlers."""
        handlers = Handlers()
        for step in self._scenario.definition(self._run).steps:
            handlers.step(step.action)(self._do)
            if step.compensation:
                handlers.compensation(step.compensation)(self._undo)
        return handlers

    async def _do(self, ctx: StepContext, request: dict[str, int]) -> Json:
        number = request[self._scenario.name]
        refusal = self._scenario.refusals.get(ctx.step)
        if refusal and is_refused(self._seed, number, ctx.step, refusal.share):
            raise refusal.error(refusal.reason)
        output = await self._perform(ctx, number, self._change(ctx.step, request))
        share = self._scenario.unanswered.get(ctx.step, 0)
        if is_unanswered(self._seed, number, ctx.step, share):
            raise ConnectionError("the answer was lost")
        return output

    async def _undo(self, ctx: StepContext, done: dict[str, int] | None) -> None:
        request = ctx.input
        assert isinstance(request, dict), "it is the context"
        # Where nobody knows the output, the input tells what it would have been.
        change = done or self._change(ctx.step, request)
        amount = change["amount"]
        if ctx.step in self._scenario.snapshots:
            amount = change["after"] - change["before"]
        await self._perform(ctx, request[self._scenario.name], {"amount": amount})

    def _change(self, step: str, request: dict[str, int]) -> dict[str, int]:
        """Return what a step does: an amount, and a value before and after."""
        amount = request[self._scenario.unit]
        changed = self._scenario.snapshots.get(step)
        if changed is None:
            return {"amount": amount}
        before = request[changed]
        return {"amount": amount, "before": before, "after": before + amount}

    async def _perform(
        self, ctx: StepContext, number: int, change: dict[str, int]
    ) -> Json:
        fate = fate_of(self._seed, number, ctx.step, ctx.direction, ctx.attempt)
        if fate is Fate.STALL_BEFORE:
            await self._stall()
        if fate is Fate.ERROR_BEFORE:
            raise ConnectionError("no connection")
        output = await self._effects.append(ctx, change)
        if fate is Fate.STALL_AFTER:
            await self._stall()
        if fate is Fate.ERROR_AFTER:
            raise ConnectionError("the answer was lost")
        return output

    async def _stall(self) -> None:
        """Wait until the runtime cancels the run."""
        await self._clock.sleep(2 * TIMEOUT.total_seconds())
