"""Seata Saga: state machines with choices, retries, and unknown outcomes.

Loops are in ``seata_loops.py``, timeouts in ``seata_timeouts.py``.
"""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from saga_orchestrator import KeyConflict, Manager, Outcome, RetryPolicy, StepState
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.testing import Given, action
from tests.scenarios.cases import begun, own_url, played
from tests.scenarios.engines import SECONDS, Service, manager_on
from tests.scenarios.phases import at, phases
from tests.scenarios.sagas import ONCE, saga, step
from tests.scenarios.table import Case, Later, Scenario, Stage, row

SECOND = dt.timedelta(seconds=1)
UNTIL_IT_WORKS = RetryPolicy(max_attempts=None, initial_delay=SECOND, jitter=0)
THREE_TIMES = RetryPolicy(
    max_attempts=3,
    initial_delay=SECOND,
    multiplier=1.5,
    jitter=0,
    non_retryable=("DemoException",),
)


def choice(a: int) -> Given:
    """First, then Second if ``a`` is 1, Third if it is 2."""
    return saga(
        "First",
        step("Second", depends_on=["First"], when={"context.a": 1}),
        step("Third", depends_on=["First"], when={"context.a": 2}),
        context={"a": a},
    )


# The choice is a step's output: a branch whose name it does not tell is an error.
decided = saga(
    "First",
    step("Choice", compensation=""),
    step("Second", when={"outputs.Choice.next": "Second"}),
    step("Third", when={"outputs.Choice.next": "Third"}),
)
plain = saga(
    step("First", compensation=""), step("Second", compensation="", retry=ONCE)
)


async def caught_without_waiting(stage: Stage) -> None:
    """The caller goes on at once; later it finds the exception."""
    service = Service()

    def throw(_: object) -> None:
        raise RuntimeError("demo")

    steps = [
        service.step("First", compensation=""),
        service.step("Second", throw, compensation="", retry=ONCE),
    ]
    url = await own_url(stage)
    async with manager_on(url) as caller:
        started = await caller.start("machine", steps)
        assert started.state == "started"
        assert service.runs == []
        async with manager_on(url, service.handlers):
            ended = await caller.wait(started.id, SECONDS)
    assert ended.is_compensated
    assert ended.reason == "step Second: RuntimeError: demo"
    assert service.runs == ["First", "Second"]


async def unknown_is_not_failed(stage: Stage) -> None:
    """After an exception the outcome is unknown, and the step is retried forward."""
    kind = saga("First", step("Second", retry=UNTIL_IT_WORKS)).when(
        action("Second").errs("DemoException", times=2)
    )
    async with begun(stage, kind, "SEA-05") as play:
        outcome = await play.run(SECOND / 2)
        outcome.expect("started", calls=["First", "Second: error"])
        second = outcome.saga.status("Second")
        assert (second.state, second.outcome) == (StepState.STARTED, Outcome.UNKNOWN)
        outcome = await play.run()
        calls = ["First", "Second: error", "Second: error", "Second"]
        outcome.expect("completed", calls=calls)
        assert outcome.saga.status("Second").outcome is Outcome.SUCCEEDED


async def started_twice(stage: Stage) -> None:
    """A business key has one saga: the same start returns it, another is refused."""
    steps = [step("First")]
    async with manager_on(await own_url(stage)) as manager:
        first = await manager.start("machine", steps, {"a": 1}, key="K")
        again = await manager.start("machine", steps, {"a": 1}, key="K")
        assert again.id == first.id
        with pytest.raises(KeyConflict):
            await manager.start("machine", steps, {"a": 2}, key="K")
        other = await manager.start("machine", steps, {"a": 2}, key="L")
        active = [saga.id for saga in await manager.list_active()]
    assert sorted(active) == sorted([first.id, other.id])


async def history_of_retries(stage: Stage) -> None:
    """However many retries: two step rows, and a line of history for each attempt."""
    times = 5
    retry = RetryPolicy(max_attempts=times)
    kind = saga("First", step("Second", retry=retry, compensation="")).when(
        action("Second").errs()
    )
    outcome = await played(stage, kind, "SEA-13")
    calls = ["First", *["Second: error"] * times, "undo First"]
    outcome.expect("compensated", calls=calls)
    assert len(outcome.saga.steps) == 2
    kinds = [entry.kind for entry in outcome.record.history]
    assert kinds.count(HistoryKind.STEP_FAILED) == times
    assert kinds.count(HistoryKind.STEP_RETRIED) == times - 1


async def concurrently(stage: Stage) -> None:
    """A hundred instances from ten callers all finish within ten seconds."""
    service = Service()
    steps = [service.step(name) for name in ("First", "Second")]

    async def caller(manager: Manager) -> list[str]:
        return [(await manager.start("machine", steps)).id for _ in range(10)]

    async with manager_on(await own_url(stage), service.handlers) as manager:
        async with asyncio.timeout(10):
            started = await asyncio.gather(*(caller(manager) for _ in range(10)))
            ids = [saga_id for each in started for saga_id in each]
            for saga_id in ids:
                assert (await manager.wait(saga_id)).is_completed
    assert len(set(ids)) == 100
    assert sorted(service.runs) == ["First"] * 100 + ["Second"] * 100


SCENARIOS: list[Scenario] = [
    row("SEA-01", choice(1), "completed", calls=["First", "Second"], variant="1"),
    row("SEA-01", choice(2), "completed", calls=["First", "Third"], variant="2"),
    row(
        "SEA-02",
        decided.when(action("Choice").returns({})),
        "compensated",
        calls=["First", "Choice", "undo First"],
        reason="outputs.Choice.next",
        steps={"Second": "failed", "Third": "pending"},
    ),
    row(
        "SEA-02",
        choice(3),
        "completed",
        calls=["First"],
        steps={"Second": "skipped", "Third": "skipped"},
        variant="conditions",
        deviation="where no branch matches Seata's engine fails; here conditions on "
        "values that are there may all be false, and nothing is left to do",
    ),
    row(
        "SEA-03",
        plain.when(action("Second").errs("demo")),
        "compensated",
        calls=["First", "Second: error"],
        steps={"First": "completed", "Second": "failed"},
        reason="demo",
    ),
    Case("SEA-03", caught_without_waiting, variant="async"),
    phases(
        "SEA-04",
        saga("First", step("Second", retry=THREE_TIMES, compensation="")).when(
            action("Second").errs(error_type="SocketException")
        ),
        at(0.9, "started", calls=["First", "Second: error"]),
        at(2.4, "started", calls=["First", *["Second: error"] * 2]),
        at(2.5, "compensated", calls=["First", *["Second: error"] * 3, "undo First"]),
        variant="retried",
    ),
    row(
        "SEA-04",
        saga("First", step("Second", retry=THREE_TIMES)).when(
            action("Second").errs(error_type="DemoException")
        ),
        "compensated",
        calls=["First", "Second: error", "undo First"],
        variant="not-retried",
    ),
    Case("SEA-05", unknown_is_not_failed),
    Case(
        "SEA-12",
        started_twice,
        deviation="Seata refuses the second start; here the same start returns the "
        "first saga, and only a start with another body is refused",
    ),
    Case(
        "SEA-13",
        history_of_retries,
        deviation="Seata updates a step's row in place; here the row is too, but the "
        "history also keeps each attempt, bounded by the retry policy",
    ),
    Case("SEA-16", concurrently),
]

LATER: list[Later] = [Later("SEA-07", "child sagas: a step that another saga does")]
