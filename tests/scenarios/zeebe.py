"""Camunda Zeebe: compensation handlers; a throw event is a step that refuses."""

from __future__ import annotations

import datetime as dt

from saga_orchestrator import Handlers, Step, StepContext
from saga_orchestrator.testing import Given, action, operator, undo
from tests.scenarios.phases import at, at_end, phases
from tests.scenarios.sagas import saga, step
from tests.scenarios.table import Later, Scenario, row

SECOND = dt.timedelta(seconds=1)

THROW = step("throw", compensation="")
thrown = action("throw").refuses("thrown")


def mapped() -> Given:
    """A step that is given x, and an undo that is given what the step made of it."""
    shop = Handlers("zee")

    @shop.step("zee.do")
    async def do(ctx: StepContext, x: int) -> int:
        return x + 1

    @shop.compensation("zee.undo")
    async def undo_it(ctx: StepContext, local: int | None) -> int:
        ctx.update({"undone_with": local, "was_given": ctx.input})
        return 99  # what an undo returns stays with it

    a = Step("A", "zee.do", "zee.undo", input={"$ref": "context.x"})
    return saga(a, THROW, context={"x": 1}, handlers=[shop]).when(thrown)


SCENARIOS: list[Scenario] = [
    phases(
        "ZEE-01",
        saga("A", "B", THROW).when(
            thrown,
            undo("B").answers_after(5 * SECOND),
            undo("A").answers_after(5 * SECOND),
        ),
        at(4, "compensating", calls=["A", "B", "throw: refused", "undo B"]),
        at(9, "compensating", steps={"A": "compensating", "B": "compensated"}),
        at_end("compensated", undone=["B", "A"]),
    ),
    row(
        "ZEE-02",
        saga("A", THROW).when(
            thrown,
            undo("A").answers_after(10 * SECOND),
            operator.compensates(at=5 * SECOND),
        ),
        "compensated",
        calls=["A", "throw: refused", "undo A"],
        deviation="the peer terminates the handler that compensates; here a request to "
        "compensate changes nothing while it does, for an undo that was cut off would "
        "leave nobody knowing what stands",
    ),
    row("ZEE-03", saga("A", "B"), "completed", calls=["A", "B"]),
    row(
        "ZEE-06",
        mapped(),
        "compensated",
        calls=["A", "throw: refused", "undo A"],
        context={"x": 1, "undone_with": 2, "was_given": 1},
        outputs={"A": 2},
    ),
]

LATER: list[Later] = [Later("ZEE-04", "child sagas"), Later("ZEE-05", "child sagas")]
