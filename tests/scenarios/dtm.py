"""dtm: sagas of two transfers, one by one and side by side, and their options.

Callers that wait are in ``dtm_callers.py``, messages in ``dtm_messages.py``.
"""

from __future__ import annotations

import datetime as dt

import pytest

from saga_orchestrator import (
    RetryLater,
    RetryPolicy,
    Step,
    StepContext,
    TransitionRefused,
)
from saga_orchestrator.testing import action, operator, undo
from tests.scenarios.cases import begun, history, played
from tests.scenarios.engines import Service
from tests.scenarios.phases import at, at_end, phases
from tests.scenarios.sagas import ONCE, saga, step
from tests.scenarios.table import Case, Later, Scenario, Stage, row

MINUTE = dt.timedelta(minutes=1)
RETRY_INTERVAL = dt.timedelta(seconds=150)
EVERY_150_S = RetryPolicy(
    initial_delay=RETRY_INTERVAL, max_delay=RETRY_INTERVAL, jitter=0
)

transfer = saga("S1", "S2")
# dtm also undoes the branch that refused: policy P1a.
transfer_p1a = saga(step("S1", undo_failed="always"), step("S2", undo_failed="always"))
# The last step has nothing to do; it makes a graph of the two before it.
side_by_side_p1a = saga(
    step("S1", undo_failed="always"),
    step("S2", undo_failed="always"),
    Step("both", depends_on=["S1", "S2"]),
)
s1_ongoing = action("S1").comes_later(MINUTE, times=1)
s2_refuses = action("S2").refuses("Insufficient balance")


async def same_headers_again(stage: Stage) -> None:
    """A retried run is given what the first was, under the same key."""
    bank = Service()

    def ongoing_once(_: StepContext) -> None:
        if len(bank.runs) == 1:
            raise RetryLater(MINUTE)

    headers = {"headers": {"test_header": "yes"}}
    kind = saga(bank.step("S1", ongoing_once, input=headers), handlers=[bank.handlers])
    async with begun(stage, kind, "DTM-22") as play:
        (await play.run(MINUTE / 2)).expect("started", calls=["S1: later"])
        (await play.run()).expect("completed", calls=["S1: later", "S1"])
    assert [ctx.input for ctx in bank.contexts] == [headers, headers]
    assert len({ctx.idempotency_key for ctx in bank.contexts}) == 1


async def stopped_after_success(stage: Stage) -> None:
    """A completed saga is not undone by a plain request; nothing changes."""
    async with begun(stage, transfer, "DTM-32") as play:
        before = (await play.run()).expect("completed").saga
        with pytest.raises(TransitionRefused):
            await play.operator.compensate(before.id, reason="too late")
        after = (await play.run()).expect("completed", calls=["S1", "S2"]).saga
    assert after.version == before.version


async def recorded_twice(stage: Stage) -> None:
    """The same answer again is counted, and makes no second transition."""
    twice = transfer.when(action("S1").answers_twice())
    outcome = await played(stage, twice, "DTM-35")
    outcome.expect("completed", calls=["S1", "S2"])
    (ignored,) = outcome.record.ignored
    assert (ignored.reason, ignored.fence.step) == ("repeated", "S1")
    assert history(outcome) == [
        "saga_started",
        "step_succeeded S1",
        "step_succeeded S2",
    ]


SCENARIOS: list[Scenario] = [
    row("DTM-01", transfer, "completed", calls=["S1", "S2"], reason=""),
    row(
        "DTM-02",
        transfer_p1a.when(s2_refuses),
        "compensated",
        calls=["S1", "S2: refused", "undo S2", "undo S1"],
        reason="Insufficient balance",
    ),
    phases(
        "DTM-03",
        transfer.when(s1_ongoing),
        at(30, "started", calls=["S1: later"], steps={"S2": "pending"}),
        at_end("completed", calls=["S1: later", "S1", "S2"]),
    ),
    phases(
        "DTM-04",
        transfer_p1a.when(s2_refuses, undo("S1").errs(times=1)),
        at(
            0.5,
            "compensating",
            calls=["S1", "S2: refused", "undo S2", "undo S1: error"],
        ),
        at_end("compensated", undone=["S2", "S1"]),
    ),
    row(
        "DTM-06",
        saga(step("S1", compensation=""), Step("S2")),
        "completed",
        calls=["S1"],
        steps={"S1": "completed", "S2": "completed"},
    ),
    phases(
        "DTM-09",
        side_by_side_p1a.when(
            action("S1").answers_after(MINUTE), action("S2").answers_after(MINUTE)
        ),
        at(30, "started", calls={"S1", "S2"}),
        at_end("completed", calls={"S1", "S2"}),
    ),
    phases(
        "DTM-10",
        side_by_side_p1a.when(
            action("S1").refuses(), undo("S1").comes_later(MINUTE, times=1)
        ),
        at(
            30, "compensating", calls=["S1: refused", "S2", "undo S2", "undo S1: later"]
        ),
        at_end("compensated", undone=["S2", "S1"]),
    ),
    phases(
        "DTM-14",
        saga(step("S1", retry=ONCE)).when(  # being ongoing uses no attempt
            action("S1").comes_later(RETRY_INTERVAL, times=1)
        ),
        at(149, "started", calls=["S1: later"]),
        at(150, "completed", calls=["S1: later", "S1"]),
    ),
    phases(
        "DTM-15",
        saga(step("S1", retry=EVERY_150_S)).when(action("S1").errs(times=1)),
        at(149, "started", calls=["S1: error"]),
        at(360, "completed", calls=["S1: error", "S1"]),
    ),
    row(
        "DTM-20",
        saga("S1", step("S2", retry=RetryPolicy(max_attempts=3))).when(
            action("S2").errs(times=2)
        ),
        "completed",
        calls=["S1", "S2: error", "S2: error", "S2"],
    ),
    Case("DTM-22", same_headers_again),
    row(
        "DTM-31",
        transfer.when(
            action("S1").comes_later(MINUTE), operator.compensates(at=MINUTE / 2)
        ),
        "compensated",
        calls=["S1: later", "undo S1"],
        steps={"S2": "pending"},
        deviation="dtm's force-stop ends the saga as failed where it stands; ours "
        "sends no action any more, and undoes what may have begun",
    ),
    Case("DTM-32", stopped_after_success),
    row(
        "DTM-33",
        saga("A", "B").when(action("B").comes_later(MINUTE, times=1)),
        "completed",
        calls=["A", "B: later", "B"],
    ),
    Case(
        "DTM-35",
        recorded_twice,
        deviation="dtm answers the second record with an error; here it is ignored "
        "and counted, for at-least-once delivery makes repeats normal",
    ),
]

LATER: list[Later] = []
