"""The services' handlers, which behave by the seed, the step and the run."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from saga_orchestrator import (
    Deferred,
    Handlers,
    RetryLater,
    Skip,
    StepContext,
    StepFailed,
)
from saga_orchestrator.core.payload import Json
from tests.simulation.ledger import UNSTORABLE
from tests.simulation.process import Life, ProcessClock
from tests.simulation.scenario import LONG_SECONDS, seconds

if TYPE_CHECKING:
    from tests.simulation.outside import Outside
    from tests.simulation.world import World

_BEFORE = (
    "refuse", "error_before", "put_off", "skip", "hang_before", "stubborn",
)  # fmt: skip
_AFTER = ("error_after", "hang_after", "poison")
_UNDO_BEFORE = ("undo_refuse", "error_before", "put_off", "hang_before")
_UNDO_AFTER = ("error_after", "hang_after", "poison")
_NOES = ("refuse", "skip")
_PATIENCE = 5
"""After so many runs a handler no longer finds excuses."""


class Participant:
    """One process's handlers."""

    def __init__(self, world: World, life: Life, outside: Outside) -> None:
        self._world = world
        self._weather = world.weather
        self._ledger = world.run.ledger
        self._life = life
        self._clock = ProcessClock(life)
        self._outside = outside

    def handlers(self, service: str, *, without: str = "") -> Handlers:
        """Return a service's handlers, one left out in another version of it."""
        handlers = Handlers(service)
        functions = {"do": self._do, "defer": self._defer, "long": self._long}
        for name, function in functions.items():
            if name != without:
                handlers.step(f"{service}.{name}", long=name == "long")(function)
        handlers.compensation(f"{service}.undo")(self._undo)
        return handlers

    # -- handlers, without annotations: reading them takes long at each boot --

    async def _do(self, ctx: StepContext):
        rng, run = self._begin(ctx)
        await self._clock.sleep(rng.random())
        await self._suffer(ctx, rng, run, _BEFORE)
        output = self._act(ctx)
        if rng.random() < 0.1:
            ctx.update(rng.choice(({"flag": False}, {"flag": None}, {"seen": run})))
        await self._suffer(ctx, rng, run, _AFTER)
        if self._weather.mood(rng, "unstorable"):
            self._weather.fired["unstorable"] += 1
            return UNSTORABLE
        return output

    async def _defer(self, ctx: StepContext):
        rng, _ = self._begin(ctx)
        await self._clock.sleep(rng.random())
        self._outside.take(ctx, rng)
        raise Deferred

    async def _long(self, ctx: StepContext):
        rng, run = self._begin(ctx)
        await self._clock.sleep(rng.random() * LONG_SECONDS * 0.7)
        await self._suffer(ctx, rng, run, ("refuse", "error_before"))
        return self._act(ctx)

    async def _undo(self, ctx: StepContext):
        rng, run = self._begin(ctx)
        await self._clock.sleep(rng.random())
        await self._suffer(ctx, rng, run, _UNDO_BEFORE)
        self._ledger.undo(ctx, ctx.output)
        await self._suffer(ctx, rng, run, _UNDO_AFTER)

    def _act(self, ctx: StepContext) -> Json:
        stands = self._ledger.stands((ctx.saga_id, ctx.step))
        if (
            self._weather.is_consistent
            and self._ledger.has_declined(ctx)
            and not stands
        ):
            raise StepFailed("declined before")
        return self._ledger.act(ctx)

    # -- what ails them ------------------------------------------------------

    def _begin(self, ctx: StepContext) -> tuple[random.Random, int]:
        run = self._ledger.begin(ctx)
        who = f"{ctx.context['n']}/{ctx.step}/{ctx.direction}/{run}"
        return random.Random(f"{self._world.run.seed}/{who}"), run

    async def _suffer(
        self, ctx: StepContext, rng: random.Random, run: int, kinds: tuple[str, ...]
    ) -> None:
        """Do what a bad mood asks for; nothing in the calm."""
        mood = self._weather.mood(rng, *kinds)
        excused = run > _PATIENCE and mood != "poison"
        # Who has done it already does not say no.
        if mood in _NOES and self._ledger.stands((ctx.saga_id, ctx.step)):
            excused = True
        if mood and not excused:
            self._weather.fired[mood] += 1
            await getattr(self, f"_{mood}")(ctx, rng)

    async def _refuse(self, ctx: StepContext, rng: random.Random) -> None:
        self._ledger.decline(ctx)
        raise StepFailed("declined", retryable=rng.random() < 0.5)

    async def _undo_refuse(self, ctx: StepContext, rng: random.Random) -> None:
        self._ledger.refused_undos.add((ctx.saga_id, ctx.step))
        raise StepFailed("cannot be undone")

    async def _error_before(self, ctx: StepContext, rng: random.Random) -> None:
        stands = self._ledger.stands((ctx.saga_id, ctx.step))
        if stands or rng.random() < 0.5:
            raise RuntimeError("before the effect")
        self._ledger.decline(ctx)  # by policies that name it, a definite no
        raise OSError("before the effect")

    async def _error_after(self, ctx: StepContext, rng: random.Random) -> None:
        raise RuntimeError("after the effect")

    async def _put_off(self, ctx: StepContext, rng: random.Random) -> None:
        raise RetryLater(seconds(rng.random() * 10), "busy")

    async def _skip(self, ctx: StepContext, rng: random.Random) -> None:
        self._ledger.decline(ctx)
        raise Skip("nothing to do")

    async def _hang_before(self, ctx: StepContext, rng: random.Random) -> None:
        await self._clock.sleep(LONG_SECONDS)

    async def _hang_after(self, ctx: StepContext, rng: random.Random) -> None:
        await self._clock.sleep(LONG_SECONDS)

    async def _stubborn(self, ctx: StepContext, rng: random.Random) -> None:
        """Overhear that nobody waits any more, and have the effect after all."""
        try:
            await self._clock.sleep(LONG_SECONDS)
        except asyncio.CancelledError:
            if self._world.is_over:
                raise
            await self._clock.sleep(rng.random() * 20)

    async def _poison(self, ctx: StepContext, rng: random.Random) -> None:
        self._life.end()
        await self._life.hang()
