"""Restate: a lock at the end of a call tree, keys, terminal errors, pausing."""

from __future__ import annotations

import datetime as dt

from saga_orchestrator import SagaDefinition, StepContext, StepFailed
from saga_orchestrator.core.events import StepFailed as StepHasFailed
from saga_orchestrator.testing import action, operator
from tests.scenarios.cases import begun, own_url, played
from tests.scenarios.engines import SECONDS, Service, manager_on
from tests.scenarios.sagas import saga
from tests.scenarios.table import Case, Later, Scenario, Stage, row

SECOND = dt.timedelta(seconds=1)


async def a_killed_saga_leaves_no_lock(stage: Stage) -> None:
    """What the leaf of a call tree locked, another saga can lock afterwards."""
    locked: set[str] = set()

    def lock(ctx: StepContext) -> None:
        if locked:
            raise StepFailed("locked")
        locked.add(ctx.saga_id)

    singleton = Service("singleton")
    leaf = singleton.step("leaf", lock, lambda ctx: locked.discard(ctx.saga_id))
    tree = saga("root", leaf, "call", handlers=[singleton.handlers])
    hangs = tree.when(action("call").defers())
    async with begun(stage, hangs, "RES-04-killed") as play:
        killed = (await play.run(until=SECOND)).expect("started").saga
        (await played(stage, tree, "RES-04-locked-out")).expect("compensated")
        await play.operator.compensate(killed.id, reason="killed")
        await play.operator.give_up(killed.id, "call", reason="killed")
        (await play.run()).expect("compensated", undone=["call", "leaf", "root"])
    (await played(stage, tree, "RES-04-next")).expect("completed")
    assert len(locked) == 1


async def one_effect_for_one_key(stage: Stage) -> None:
    """Who repeats a call gets the first one's result; it is made once."""
    counter = Service("res-05")
    kind = SagaDefinition("res-05", [counter.step("add", lambda _: len(counter.runs))])
    async with manager_on(await own_url(stage), counter.handlers) as manager:
        first = await manager.start(kind, key="add")
        second = await manager.start(kind, key="add")  # waits for neither
        assert (await manager.wait(first.id, SECONDS)).outputs == {"add": 1}
        third = await manager.start(kind, key="add")
        assert (await manager.get(third.id)).outputs == {"add": 1}
    assert {second.id, third.id} == {first.id}
    assert counter.runs == ["add"]


async def started_twice(stage: Stage) -> None:
    """The second start is the first saga; its output can be read later."""
    service = Service("res-06")
    kind = SagaDefinition("res-06", [service.step("work", lambda _: "done")])
    url = await own_url(stage)
    async with manager_on(url, service.handlers) as manager:
        first = await manager.start(kind, context={"for": "ann"}, key="workflow-1")
        again = await manager.start(kind, context={"for": "ann"}, key="workflow-1")
        assert again.id == first.id
        await manager.wait(first.id, SECONDS)
    async with manager_on(url) as later:
        assert (await later.get(first.id)).outputs == {"work": "done"}


async def a_signal_that_is_rejected(stage: Stage) -> None:
    """A no from outside ends the step like a no of its handler."""
    waits = saga("before", "signal", "after").when(action("signal").defers())
    async with begun(stage, waits, "RES-07-signal") as play:
        waiting = (await play.run(until=SECOND)).saga
        rejected = StepHasFailed(
            waiting.fence_of(1),
            refused=True,
            error_type="Rejected",
            error="not today",
            retryable=False,
        )
        await play.submit(rejected)
        (await play.run()).expect(
            "compensated",
            calls=["before", "signal: deferred", "undo before"],
            reason="step signal: Rejected: not today",
        )


async def paused_and_resumed(stage: Stage) -> None:
    """A saga whose handler was mended goes on with what it was started with."""
    mended = Service("res-09")
    work = mended.step("work", lambda ctx: ctx.context["n"])
    parks = saga(work, context={"n": 7}, on_failure="park", handlers=[mended.handlers])
    parks = parks.when(action("work").errs("a bug", times=3))
    async with begun(stage, parks, "RES-09-input") as play:
        paused = (await play.run()).expect("failed", reason="a bug").saga
        assert not paused.is_compensated
        await play.operator.retry(paused.id, reason="mended")
        (await play.run()).expect(
            "completed", calls=["work: error"] * 3 + ["work"], outputs={"work": 7}
        )


SCENARIOS: list[Scenario] = [
    Case("RES-04", a_killed_saga_leaves_no_lock),
    Case("RES-05", one_effect_for_one_key),
    Case("RES-06", started_twice),
    row(
        "RES-07",
        saga("outer", "inner").when(
            action("inner").refuses("not today", error_type="Rejected")
        ),
        "compensated",
        variant="terminal",
        calls=["outer", "inner: refused", "undo outer"],
        reason="step inner: Rejected: not today",
    ),
    Case("RES-07", a_signal_that_is_rejected, variant="signal"),
    row(
        "RES-09",
        saga("work", on_failure="park").when(
            action("work").errs("a bug", times=3), operator.retries()
        ),
        "completed",
        calls=["work: error"] * 3 + ["work"],
    ),
    Case("RES-09", paused_and_resumed, variant="input"),
]

LATER: list[Later] = []
