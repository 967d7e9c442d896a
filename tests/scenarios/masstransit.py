"""MassTransit Courier: routing slips, a slip is a saga and an activity a step.

A faulted activity is not compensated (P1b): the type of what it throws is named
as a definite no. Slips on an engine are in ``masstransit_engine.py``.
"""

from __future__ import annotations

import datetime as dt

from saga_orchestrator import Handlers, RetryPolicy, StepContext, StepFailed
from saga_orchestrator.testing import Given, action, undo
from tests.scenarios.cases import begun, history, played
from tests.scenarios.engines import Service
from tests.scenarios.sagas import UNDO_ONCE, saga, step
from tests.scenarios.table import Case, Later, Scenario, Stage, row

FAULT = RetryPolicy(non_retryable=("IntentionalTestException",))
TWICE_MORE = RetryPolicy(max_attempts=3, initial_delay=dt.timedelta(0))
ITINERARY = (
    "Courier lets an activity rewrite the rest of the itinerary; here a saga's plan "
    "is fixed at its start, and a condition on an output decides what of it is done"
)

a3_throws = action("A3").errs("boom", error_type="IntentionalTestException")
three = saga("A1", "A2", step("A3", retry=FAULT)).when(a3_throws)


def variables() -> Given:
    """A1 sets two variables, A2 reads them and sets one to null."""
    slip = Handlers("slip")

    @slip.step("slip.test")
    async def test(ctx: StepContext) -> dict[str, object]:
        ctx.update({"Value": "Hello", "ToBeRemoved": "soon"})
        return {"original": ctx.input}

    @slip.step("slip.second")
    async def second(ctx: StepContext) -> dict[str, object]:
        ctx.update({"ToBeRemoved": None})
        return {"seen": ctx.context["Value"]}

    first = step("A1", action="slip.test", input={"Value": {"$ref": "context.Start"}})
    steps = [first, step("A2", action="slip.second")]
    return saga(*steps, context={"Start": "Go"}, handlers=[slip])


def throws_at_once() -> Given:
    """A1 raises before anything else."""
    slip = Handlers("slip")

    class IntentionalTestException(Exception):
        """What the activity throws."""

    @slip.step("slip.faulty")
    def faulty(ctx: StepContext) -> None:
        raise IntentionalTestException("boom")

    only = step("A1", action="slip.faulty", retry=FAULT)
    return saga(only, handlers=[slip])


async def original_input(stage: Stage) -> None:
    """What A1 was given stays what it was given, though A2 changes the variable."""
    service = Service()
    first = service.step("A1", input={"Value": {"$ref": "context.Value"}})
    second = service.step("A2", lambda ctx: ctx.update({"Value": "changed"}))
    slip = saga(first, second, context={"Value": "Go"}, handlers=[service.handlers])
    async with begun(stage, slip, "MT-02-log") as play:
        outcome = (await play.run()).expect("completed", context={"Value": "changed"})
        await play.operator.compensate(outcome.saga.id, reason="look back", force=True)
        (await play.run()).expect("compensated", undone=["A2", "A1"])
    assert service.runs[-1] == "undo A1"
    assert service.contexts[-1].input == {"Value": "Go"}


async def every_event(stage: Stage) -> None:
    """The history tells of each activity once, and all is one slip's."""
    slip = saga(
        "A1",
        step("A2", compensation=""),
        step("A3", retry=FAULT),
        context={"Variable": "Knife"},
    ).when(a3_throws)
    outcome = await played(stage, slip, "MT-09")
    calls = ["A1", "A2", "A3: error", "undo A1"]
    outcome.expect("compensated", calls=calls, context={"Variable": "Knife"})
    assert history(outcome) == [
        "saga_started",
        "step_succeeded A1",
        "step_succeeded A2",
        "step_failed A3",
        "step_succeeded undo A1",
    ]


def faulted_with_variables() -> Given:
    """A1 sets a variable, then faults."""
    slip = Handlers("slip")

    @slip.step("slip.faulty")
    async def faulty(ctx: StepContext) -> None:
        ctx.update({"Test": "Data"})
        raise StepFailed("no")

    return saga(step("A1", action="slip.faulty"), handlers=[slip])


def revised(outputs: dict[str, object]) -> Given:
    """A1 decides whether A2 is done, and with what."""
    slip = Handlers("slip")

    @slip.step("slip.first")
    async def first(ctx: StepContext) -> dict[str, object]:
        return outputs

    @slip.step("slip.second")
    async def second(ctx: StepContext) -> object:
        return ctx.input

    then = step(
        "A2",
        action="slip.second",
        input={"$ref": "outputs.A1.argument"},
        when={"outputs.A1.goes_on": True},
    )
    return saga(step("A1", action="slip.first"), then, handlers=[slip])


def redelivered(times: int) -> Scenario:
    """A1 faults always, and is redelivered so many times."""
    policy = RetryPolicy(max_attempts=times + 1)
    slip = saga(
        step("A1", compensation="", retry=policy), context={"Value": "Hello"}
    ).when(action("A1").errs("it always faults"))
    return row(
        "MT-15",
        slip,
        "compensated",
        calls=["A1: error"] * (times + 1),
        reason="it always faults",
        context={"Value": "Hello"},
        variant=str(times),
    )


SCENARIOS: list[Scenario] = [
    row("MT-01", saga(), "completed", calls=[]),
    row(
        "MT-02",
        variables(),
        "completed",
        calls=["A1", "A2"],
        context={"Start": "Go", "Value": "Hello"},
        outputs={"A1": {"original": {"Value": "Go"}}, "A2": {"seen": "Hello"}},
    ),
    Case("MT-02", original_input, variant="log"),
    row("MT-03", throws_at_once(), "compensated", calls=["A1: error"], reason="boom"),
    row(
        "MT-04",
        three,
        "compensated",
        calls=["A1", "A2", "A3: error", "undo A2", "undo A1"],
    ),
    row(
        "MT-05",
        saga("A1", step("A2", compensation=""), step("A3", retry=FAULT)).when(
            a3_throws
        ),
        "compensated",
        calls=["A1", "A2", "A3: error", "undo A1"],
        steps={"A1": "compensated", "A2": "completed", "A3": "failed"},
    ),
    row(
        "MT-06",
        saga(
            "A1", step("A2", compensation_retry=UNDO_ONCE), step("A3", retry=FAULT)
        ).when(a3_throws, undo("A2").errs("stuck")),
        "failed",
        calls=["A1", "A2", "A3: error", "undo A2: error"],
        steps={"A1": "completed", "A2": "compensating"},
        reason="undo of step A2: RuntimeError: stuck",
    ),
    row(
        "MT-08",
        faulted_with_variables(),
        "compensated",
        calls=["A1: refused"],
        context={"Test": "Data"},
    ),
    Case("MT-09", every_event),
    row(
        "MT-10",
        saga("A1", step("A2", retry=TWICE_MORE)).when(action("A2").errs(times=1)),
        "completed",
        calls=["A1", "A2: error", "A2"],
    ),
    row(
        "MT-11",
        saga(
            "A1", step("A2", compensation_retry=TWICE_MORE), step("A3", retry=FAULT)
        ).when(a3_throws, undo("A2").errs(times=1)),
        "compensated",
        calls=["A1", "A2", "A3: error", "undo A2: error", "undo A2", "undo A1"],
    ),
    row(
        "MT-12",
        saga(
            "A1", step("A2", compensation_retry=TWICE_MORE), step("A3", retry=FAULT)
        ).when(a3_throws, undo("A2").errs()),
        "failed",
        calls=["A1", "A2", "A3: error", *["undo A2: error"] * 3],
        steps={"A1": "completed"},
    ),
    row(
        "MT-13",
        revised({"goes_on": True, "argument": "Added"}),
        "completed",
        calls=["A1", "A2"],
        outputs={"A2": "Added"},
        deviation=ITINERARY,
    ),
    row(
        "MT-14",
        revised({"goes_on": False, "argument": None}),
        "completed",
        calls=["A1"],
        steps={"A2": "skipped"},
        deviation=ITINERARY,
    ),
    *map(redelivered, (1, 2, 3)),
]

LATER: list[Later] = []
