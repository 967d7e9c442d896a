"""The sagas of a run: their definition, their handlers, their names.

The names belong to one run, so that a bench never takes part in what others do on
the same servers.
"""

from __future__ import annotations

import random
import string
from collections.abc import Sequence

from saga_orchestrator.bench.plan import Shape
from saga_orchestrator.core.definition import SagaDefinition, Step
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.participant.context import StepContext
from saga_orchestrator.participant.handlers import Handlers
from saga_orchestrator.participant.signals import StepFailed
from saga_orchestrator.wire.topology import Topology

FIRST, LAST = "first", "last"


class Subject:
    """What the sagas of one run are.

    Args:
        shape: what each of them is.
        run: the run's name.

    Attributes:
        definition: to start them from.
        expected: the state that each must end in.
    """

    def __init__(self, shape: Shape, run: str) -> None:
        self._shape = shape
        self._run = run
        self._steps = self._new_steps()
        self.definition = SagaDefinition(f"bench_{run}", steps=self._steps)
        self.expected = (
            SagaState.COMPENSATED if shape.compensate else SagaState.COMPLETED
        )

    def handlers(self) -> Handlers:
        """Return handlers that do nothing, or refuse."""
        handlers = Handlers()
        refused = self._steps[-1].action if self._shape.compensate else None
        for action in {step.action for step in self._steps}:
            handlers.step(action)(_refuse if action == refused else _do)
        for undo in {step.compensation for step in self._steps}:
            handlers.compensation(undo)(_undo)
        return handlers

    def context(self, seed: int) -> dict[str, str]:
        """Return the context of every saga: text that does not compress well."""
        if not self._shape.payload:
            return {}
        rng = random.Random(seed)  # noqa: S311 - text to carry, not a secret
        letters = string.ascii_letters + string.digits
        return {"payload": "".join(rng.choices(letters, k=self._shape.payload))}

    def _new_steps(self) -> list[Step]:
        """Return the steps; each has an action of its own, as if of other services.

        Those of a fan-out share one: it is the same work on many things.
        """
        if not self._shape.fan_out:
            names = [f"step_{number}" for number in range(1, self._shape.steps + 1)]
            return [self._step(name, name) for name in names]
        branches = [f"branch_{number}" for number in range(self._shape.fan_out)]
        return [
            self._step(FIRST, FIRST),
            *(self._step(name, "branch", (FIRST,)) for name in branches),
            self._step(LAST, LAST, branches),
        ]

    def _step(self, name: str, action: str, depends_on: Sequence[str] = ()) -> Step:
        stem = f"bench-{self._run}.{action}"
        return Step(
            name, action=stem, compensation=f"{stem}.undo", depends_on=depends_on
        )


def topology_of(run: str) -> Topology:
    """Return the run's names on the broker."""
    return Topology.of_run(f"saga-bench.{run}")


async def _do(ctx: StepContext) -> None:
    """Do nothing: what is measured is everything around it."""


async def _undo(ctx: StepContext) -> None:
    """Undo nothing."""


async def _refuse(ctx: StepContext) -> None:
    """Say no, so that the saga turns back."""
    raise StepFailed("refused, as the bench asks")
