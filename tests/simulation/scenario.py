"""What happens in a run: random sagas, and handlers that behave by the seed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from saga_orchestrator import (
    Handlers,
    RetryLater,
    RetryPolicy,
    SagaDefinition,
    Skip,
    Step,
    StepContext,
    StepFailed,
)
from saga_orchestrator.core.states import Direction
from saga_orchestrator.participant.signals import Superseded
from tests.simulation.process import Life, ProcessClock, instant

TIMEOUT_SECONDS = 30
ACTIONS = 6
TOMBSTONE = object()


@dataclass
class Effect:
    """One thing that happened in the simulated world."""

    saga_id: str
    step: str
    direction: Direction


@dataclass
class Ledger:
    """The world's account, which knows nothing of the engine.

    ``claims`` is the participants' barrier: a row per saga, step and direction,
    written together with the effect; without ``has_barrier`` actions ignore it.
    """

    has_barrier: bool = True
    effects: list[Effect] = field(default_factory=list)
    claims: dict[tuple[str, str, str], object] = field(default_factory=dict)
    runs: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    refused_undos: set[str] = field(default_factory=set)

    def act(self, ctx: StepContext) -> dict[str, object]:
        """Take effect once, unless the undo was here first."""
        key = (ctx.saga_id, ctx.step, "action")
        found = self.claims.get(key) if self.has_barrier else None
        if found is TOMBSTONE:
            raise Superseded("its undo came first")
        if found is None:
            found = {"step": ctx.step}
            self.claims[key] = found
            self.effects.append(Effect(ctx.saga_id, ctx.step, Direction.ACTION))
        return found

    def undo(self, ctx: StepContext) -> None:
        """Undo once; of what never happened there is nothing to undo."""
        key = (ctx.saga_id, ctx.step, "compensation")
        if key in self.claims:
            return
        self.claims[key] = True
        if self.claims.setdefault((ctx.saga_id, ctx.step, "action"), TOMBSTONE) is (
            TOMBSTONE
        ):
            return
        self.effects.append(Effect(ctx.saga_id, ctx.step, Direction.COMPENSATION))


def definitions(rng: random.Random) -> list[SagaDefinition]:
    """Draw the kinds of sagas of a run."""
    return [_definition(rng, f"kind{number}") for number in range(3)]


def _definition(rng: random.Random, name: str) -> SagaDefinition:
    count = rng.randint(1, 6)
    is_graph = rng.random() < 0.6
    steps = []
    for number in range(count):
        before = [f"s{i}" for i in range(number)]
        most = min(2, len(before))
        steps.append(
            Step(
                f"s{number}",
                action=f"{rng.choice(('near', 'far'))}.do{rng.randrange(ACTIONS)}",
                compensation=rng.choice(("near.undo", "far.undo", "far.undo", "")),
                depends_on=rng.sample(before, rng.randint(0, most)) if is_graph else (),
                retry=RetryPolicy(
                    rng.randint(1, 4), non_retryable=("StepFailed",) * rng.randrange(2)
                ),
                compensation_retry=RetryPolicy(None, max_delay=instant(20)),
                timeout=instant(TIMEOUT_SECONDS),
                limit=rng.choice((None, instant(120))),
                undo_failed=rng.choice(("if_unknown", "if_unknown", "always")),
            )
        )
    return SagaDefinition(
        name,
        steps=steps,
        deadline=rng.choice((None, None, instant(200))),
        parallel_compensation=rng.random() < 0.3,
        on_compensation_failure=rng.choice(("halt", "continue")),
    )


class Participant:
    """A service's handlers in one process, behaving as the seed says."""

    def __init__(self, seed: int, ledger: Ledger, life: Life) -> None:
        self._seed = seed
        self._ledger = ledger
        self._clock = ProcessClock(life)

    def handlers(self, service: str) -> Handlers:
        """Return the handlers of ``near`` or ``far``."""
        handlers = Handlers(service)
        for number in range(ACTIONS):
            handlers.step(f"{service}.do{number}")(self._act)
        handlers.compensation(f"{service}.undo")(self._undo)
        return handlers

    def _draw(self, ctx: StepContext, direction: str) -> tuple[random.Random, int]:
        key = (ctx.saga_id, ctx.step, direction)
        self._ledger.runs[key] += 1
        run = self._ledger.runs[key]
        text = f"{self._seed}/{ctx.context['n']}/{ctx.step}/{direction}/{run}"
        return random.Random(text), run

    async def _act(self, ctx: StepContext, request: object) -> dict[str, object]:
        rng, run = self._draw(ctx, "action")
        await self._clock.sleep(rng.random() * 2)
        mood = rng.random()
        if mood < 0.08:
            raise StepFailed("declined", retryable=rng.random() < 0.5)
        if mood < 0.14:
            raise RuntimeError("before the effect")
        if mood < 0.17 and run < 4:
            raise RetryLater(instant(rng.random() * 10), "busy")
        if mood < 0.19:
            raise Skip("nothing to do")
        if mood < 0.24:
            await self._clock.sleep(TIMEOUT_SECONDS * 2)
        output = self._ledger.act(ctx)
        if mood > 0.95:
            raise RuntimeError("after the effect")
        if mood > 0.92:
            await self._clock.sleep(TIMEOUT_SECONDS * 2)
        return output

    async def _undo(self, ctx: StepContext, done: object) -> None:
        rng, run = self._draw(ctx, "compensation")
        await self._clock.sleep(rng.random() * 2)
        mood = rng.random()
        if mood < 0.02:
            self._ledger.refused_undos.add(ctx.saga_id)
            raise StepFailed("cannot be undone")
        if mood < 0.2 and run < 5:
            raise RuntimeError("before the undo")
        self._ledger.undo(ctx)
        if mood > 0.9 and run < 5:
            raise RuntimeError("after the undo")
