"""MicroProfile LRA TCK: restarts, retries, kinds of failure, the end.

``lra.py`` has the activities.
"""

from __future__ import annotations

from saga_orchestrator import (
    Handlers,
    RetryLater,
    RetryPolicy,
    Step,
    StepContext,
    StepFailed,
)
from saga_orchestrator.testing import Given, action, operator, undo
from tests.scenarios.cases import own_url, played
from tests.scenarios.engines import SECONDS, Service, manager_on
from tests.scenarios.lra import CANCEL, HOUR, OPEN, SECOND, activity
from tests.scenarios.sagas import ONCE, saga, step
from tests.scenarios.table import Case, Later, Scenario, Stage, row
from tests.support.waiting import eventually

work = saga("work", step("order", retry=ONCE))
redirected = RetryPolicy(non_retryable=("SeeOther", "MovedPermanently"))
work_redirected = saga("work", step("order", retry=redirected))


async def the_listener_is_told_the_end(stage: Stage) -> None:
    """Who waits for a saga is told its final state, whichever it is."""
    service = Service("lra-13")
    one, two = service.step("one"), service.step("two", does=refuse)
    async with manager_on(await own_url(stage), service.handlers) as manager:
        closed = await manager.start("closed", [one])
        assert (await manager.wait(closed.id, SECONDS)).is_completed
        cancelled = await manager.start("cancelled", [one, two])
        assert (await manager.wait(cancelled.id, SECONDS)).is_compensated


def refuse(_: StepContext) -> None:
    """Say a definite no."""
    raise StepFailed("no")


async def cancelled_after_a_restart(stage: Stage) -> None:
    """The process that joined is gone; the one that came after it undoes."""
    url = await own_url(stage)
    outputs: list[object] = []

    def put_off(_: StepContext) -> None:
        raise RetryLater(HOUR)

    def process() -> tuple[Service, list[Step]]:
        service = Service("lra-14")
        joined = service.step("one", lambda _: 7, lambda c: outputs.append(c.output))
        return service, [joined, service.step("decide", put_off, undo_failed="never")]

    before, steps = process()
    async with manager_on(url, before.handlers) as manager:
        lra = await manager.start("lra", steps)
        await eventually(lambda: before.runs == ["one", "decide"])
        await manager.stop()
    after, _ = process()
    async with manager_on(url, after.handlers) as manager:
        await manager.compensate(lra.id, reason="cancelled")
        assert (await manager.wait(lra.id, SECONDS)).is_compensated
    assert after.runs == ["undo one"]
    assert outputs == [7]


def fails_in_its_own_time() -> Given:
    """A step is accepted at once and refused later; it asks to be undone then."""
    slow = Handlers("slow")
    slow.step("slow.do", long=True)(refuse_it)
    step_slow = Step("slow", "slow.do", "undo.slow", undo_failed="always")
    return saga(step_slow, step("complete", compensation=""), handlers=[slow])


async def refuse_it(ctx: StepContext) -> None:
    """Say a definite no."""
    refuse(ctx)


async def through_an_unaware_hop(stage: Stage) -> None:
    """What two services know of the saga is the same; the hop between adds nothing."""
    aware = Service("aware")
    unaware = step("unaware", compensation="")
    steps = [aware.step("first"), unaware, aware.step("second"), OPEN]
    lra = saga(*steps, context={"for": "ann"}, handlers=[aware.handlers])
    ended = (await played(stage, lra.when(*CANCEL), "LRA-26")).expect("compensated")
    assert aware.runs == ["first", "second", "undo second", "undo first"]
    known = [(ctx.saga_id, ctx.context) for ctx in aware.contexts]
    assert known == [(ended.saga.id, {"for": "ann"})] * 4


SCENARIOS: list[Scenario] = [
    Case("LRA-13", the_listener_is_told_the_end),
    Case("LRA-14", cancelled_after_a_restart),
    row(
        "LRA-16",
        activity("one").when(*CANCEL, undo("one").errs(times=1)),
        "compensated",
        calls=["one", "decide: later", "undo one: error", "undo one"],
    ),
    row(
        "LRA-18",
        saga("one", step("complete", compensation="", pivot=True)).when(
            action("complete").errs(times=1)
        ),
        "completed",
        variant="retry",
        calls=["one", "complete: error", "complete"],
    ),
    row(
        "LRA-18",
        saga("one", step("complete", compensation="", pivot=True)),
        "completed",
        variant="immediate",
        calls=["one", "complete"],
    ),
    # It says that it is still at it, is asked for its status, and fails; a person
    # must look, and lets it be forgotten.
    row(
        "LRA-20",
        activity("one").when(
            *CANCEL, undo("one").comes_later(SECOND, times=1).refuses("cannot")
        ),
        "failed",
        variant="failed",
        calls=["one", "decide: later", "undo one: later", "undo one: refused"],
        steps={"one": "compensating"},
        reason="undo of step one: StepFailed: cannot",
    ),
    row(
        "LRA-20",
        activity("one").when(
            *CANCEL,
            undo("one").comes_later(SECOND, times=1).refuses("cannot"),
            operator.resolves("one"),
        ),
        "compensated",
        variant="forget",
        calls=["one", "decide: later", "undo one: later", "undo one: refused"],
        steps={"one": "compensated"},
    ),
    row(
        "LRA-21",
        work.when(action("order").refuses("404 Not Found")),
        "compensated",
        variant="4xx",
        calls=["work", "order: refused", "undo work"],
        reason="404 Not Found",
    ),
    row(
        "LRA-21",
        work.when(action("order").errs("500 Internal Server Error")),
        "compensated",
        variant="5xx",
        calls=["work", "order: error", "undo order", "undo work"],
        reason="500 Internal Server Error",
    ),
    row(
        "LRA-21",
        work_redirected.when(action("order").errs(error_type="SeeOther")),
        "compensated",
        variant="303",
        calls=["work", "order: error", "undo work"],
        reason="SeeOther",
    ),
    row(
        "LRA-21",
        work_redirected.when(action("order").errs(error_type="MovedPermanently")),
        "compensated",
        variant="301",
        calls=["work", "order: error", "undo work"],
        reason="MovedPermanently",
    ),
    # What a participant does not count as an error it does not raise.
    row(
        "LRA-21",
        work.when(action("order").skips("500, which is none here")),
        "completed",
        variant="5xx-excluded",
        calls=["work", "order: skipped"],
        steps={"order": "skipped"},
    ),
    row(
        "LRA-21",
        activity("work", "remote").when(*CANCEL),
        "compensated",
        variant="remote",
        calls=["work", "remote", "decide: later", "undo remote", "undo work"],
    ),
    row(
        "LRA-25",
        fails_in_its_own_time(),
        "compensated",
        calls=["slow: refused", "undo slow"],
        steps={"complete": "pending"},
        reason="step slow: StepFailed: no",
    ),
    Case("LRA-26", through_an_unaware_hop),
]

LATER: list[Later] = []
