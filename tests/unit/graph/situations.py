"""Sagas and definitions that the pictures are drawn of."""

from __future__ import annotations

from itertools import product

from msgspec.structs import replace

from saga_orchestrator.core.definition import SagaDefinition
from saga_orchestrator.core.plan import compile_plan
from saga_orchestrator.core.saga import Saga, StepStatus
from saga_orchestrator.core.states import (
    Direction,
    Outcome,
    Phase,
    SagaState,
    StepState,
)
from saga_orchestrator.graph import Picture, picture_of_plan, picture_of_saga
from tests.support.sagas import Run, definition, sequence, step

HOSTILE = (
    "<script>alert('x')</script> ]]> \" & # ` \x00 \x1b[31m \ud800 \u202e \n--- end "
) + "x" * 500

NAMES = ["end", "class", "o-", "x--x", "_", "1", "graph", "default", "-", "style"]
"""Names that Mermaid would read as something else."""


def drawn(*steps: object, **options: object) -> Picture:
    """Return the picture of a definition of these steps."""
    return of_definition(definition(*steps, **options))  # type: ignore[arg-type] # steps


def of_definition(made: SagaDefinition) -> Picture:
    """Return the picture of a definition."""
    return picture_of_plan(compile_plan(made))


def of_run(run: Run) -> Picture:
    """Return the picture of a saga with its history."""
    return picture_of_saga(run.saga, run.history)


def diamond() -> SagaDefinition:
    """Return ``a``, then ``b`` and ``c`` side by side, then ``d``."""
    return definition(
        step("a"),
        step("b", depends_on=["a"]),
        step("c", depends_on=["a"]),
        step("d", depends_on=["b", "c"]),
    )


def fan(width: int) -> SagaDefinition:
    """Return a step, then many side by side, then one that waits for them all."""
    names = [f"s{i}" for i in range(width)]
    return definition(
        step("first"),
        *[step(name, depends_on=["first"]) for name in names],
        step("last", depends_on=names),
    )


def compensated() -> Run:
    """Return a saga whose third step was refused, and which was undone."""
    run = Run(definition(*sequence("a", "b", "c", "d")))
    run.succeed("a")
    run.succeed("b")
    run.refuse("c", error="no", error_type="Declined")
    run.succeed("b")
    run.succeed("a")
    assert run.saga.is_compensated
    return run


def in_every_state() -> Saga:
    """Return a saga with a step in each state, outcome and phase, likely or not."""
    every = [
        StepStatus(state, outcome, phase, generation=2, attempt=2)
        for state, outcome, phase in product(StepState, Outcome, Phase)
    ]
    saga = Run(definition(*sequence(*[f"s{i}" for i in range(len(every))]))).saga
    return replace(
        saga,
        steps=tuple(every),
        state=SagaState.COMPENSATING,
        direction=Direction.COMPENSATION,
    )
