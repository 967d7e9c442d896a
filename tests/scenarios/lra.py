"""MicroProfile LRA TCK: participants join an activity that is closed or cancelled.

An activity is a saga, and each participant that joined a step. It stays open in
a last step that puts itself off; *close* lets that step end, *cancel* is what an
operator asks.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable

from saga_orchestrator import Handlers, Step, StepContext
from saga_orchestrator.testing import Given, action, operator
from tests.scenarios.cases import begun
from tests.scenarios.sagas import ONCE, saga, step
from tests.scenarios.table import Case, Later, Scenario, Stage, row

SECOND, HOUR = dt.timedelta(seconds=1), dt.timedelta(hours=1)

OPEN = step("decide", compensation="")
CLOSE = action("decide").comes_later(SECOND, times=1)
CANCEL = (action("decide").comes_later(HOUR), operator.compensates(at=60 * SECOND))


def activity(*participants: Step | str) -> Given:
    """An activity that these have joined."""
    return saga(*participants, OPEN)


two = activity("one", "two")
joined_twice = activity("one").when(action("one").runs_twice())
joined_again = activity("one").when(action("one").errs_after_effect(times=1))
left = activity("one").when(action("one").errs(times=1).skips("leaves"))


def is_no_longer_listed(lra: Given, state: str) -> Callable[[Stage], Awaitable[None]]:
    """It is listed as active until it has ended."""

    async def run(stage: Stage) -> None:
        store = await stage.open_store()
        async with begun(stage, lra, f"LRA-01-{state}") as play:
            saga_id = (await play.run(until=SECOND / 2)).saga.id
            assert saga_id in [saga.id for saga in await store.list_active()]
            (await play.run()).expect(state, undone=[])
        assert saga_id not in [saga.id for saga in await store.list_active()]
        await store.close()

    return run


def late_join() -> Given:
    """B's command waits in its queue for longer than its limit."""
    b = Handlers("late")

    @b.step("late.join")
    async def join(ctx: StepContext) -> None:
        raise AssertionError("it came too late to be begun")

    half = SECOND / 2
    joining = Step("B", "late.join", "undo.B", timeout=half, limit=half, retry=ONCE)
    lra = saga("A", joining, handlers=[b])
    return lra.when(action("B").arrives_after(SECOND))


SCENARIOS: list[Scenario] = [
    Case(
        "LRA-01",
        is_no_longer_listed(activity().when(CLOSE), "completed"),
        variant="close",
    ),
    Case(
        "LRA-01",
        is_no_longer_listed(activity().when(*CANCEL), "compensated"),
        variant="cancel",
    ),
    row(
        "LRA-02",
        two.when(*CANCEL),
        "compensated",
        calls=["one", "two", "decide: later", "undo two", "undo one"],
        reason="compensate requested",
    ),
    row(
        "LRA-03",
        two.when(CLOSE),
        "completed",
        calls=["one", "two", "decide: later", "decide"],
    ),
    # Joining twice is a command that comes twice, or that is sent twice.
    row(
        "LRA-04",
        joined_twice.when(CLOSE),
        "completed",
        variant="same-close",
        calls=["one", "one", "decide: later", "decide"],
    ),
    row(
        "LRA-04",
        joined_twice.when(*CANCEL),
        "compensated",
        variant="same-cancel",
        calls=["one", "one", "decide: later", "undo one"],
    ),
    row(
        "LRA-04",
        joined_again.when(CLOSE),
        "completed",
        variant="different-close",
        calls=["one: error", "one", "decide: later", "decide"],
    ),
    row(
        "LRA-04",
        joined_again.when(*CANCEL),
        "compensated",
        variant="different-cancel",
        calls=["one: error", "one", "decide: later", "undo one"],
    ),
    row(
        "LRA-05",
        left.when(CLOSE),
        "completed",
        variant="close",
        calls=["one: error", "one: skipped", "decide: later", "decide"],
        steps={"one": "skipped"},
    ),
    row(
        "LRA-05",
        left.when(*CANCEL),
        "compensated",
        variant="cancel",
        calls=["one: error", "one: skipped", "decide: later"],
        steps={"one": "skipped"},
    ),
    row(
        "LRA-06",
        saga("one", step("complete", compensation=""), deadline=SECOND).when(
            action("one").answers_after(2 * SECOND)
        ),
        "compensated",
        variant="deadline",
        calls=["one", "undo one"],
        steps={"complete": "pending"},
        reason="its deadline passed",
    ),
    row(
        "LRA-06",
        saga(step("one", timeout=SECOND, retry=ONCE), "complete").when(
            action("one").times_out()
        ),
        "compensated",
        variant="timeout",
        calls=["one: timeout", "undo one"],
        steps={"complete": "pending"},
        reason="Timeout",
    ),
    row(
        "LRA-07",
        saga("A", "B", deadline=SECOND / 2).when(action("A").answers_after(SECOND)),
        "compensated",
        variant="not-sent",
        calls=["A", "undo A"],
        steps={"B": "pending"},
    ),
    row(
        "LRA-07",
        late_join(),
        "compensated",
        variant="in-the-queue",
        calls=["A", "undo B", "undo A", "B: later"],
        reason="its limit passed",
    ),
]

LATER: list[Later] = [
    Later(f"LRA-{number}", "child sagas") for number in ("09", "10", "11", "12", "23")
]
