"""durable-workflow: a flight, a hotel, and a third step that fails."""

from __future__ import annotations

import datetime as dt
from itertools import chain

from saga_orchestrator import StepContext
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.testing import action, undo
from tests.scenarios.cases import played
from tests.scenarios.engines import Service
from tests.scenarios.phases import at, at_end, phases
from tests.scenarios.sagas import UNDO_ONCE, saga, step
from tests.scenarios.table import Case, Later, Scenario, Stage, row

SECOND = dt.timedelta(seconds=1)

PAYMENT = step("payment", compensation="")
payment_fails = action("payment").refuses("payment failed")

trip = saga("flight", "hotel", PAYMENT).when(payment_fails)
flight_once = step("flight", compensation_retry=UNDO_ONCE)
no_booking = undo("flight").errs("no such booking")
trip_halts = saga(*(flight_once, "hotel", PAYMENT), parallel_compensation=True).when(
    payment_fails, no_booking
)
trip_parallel = saga("flight", "hotel", PAYMENT, parallel_compensation=True).when(
    payment_fails
)


async def each_undo_gets_its_id(stage: Stage) -> None:
    """What an action returned, its undo is given: the last booking first."""
    agency, undone = Service("dwf-01"), list[object]()

    def cancel(ctx: StepContext) -> None:
        undone.append((ctx.step, ctx.output))

    booked = [
        agency.step("flight", lambda _: {"id": 1}, cancel),
        agency.step("hotel", lambda _: {"id": 2}, cancel),
    ]
    kind = saga(*booked, PAYMENT, handlers=[agency.handlers]).when(payment_fails)
    outcome = (await played(stage, kind, "DWF-01-ids")).expect(
        "compensated",
        calls=["flight", "hotel", "payment: refused", "undo hotel", "undo flight"],
        reason="payment failed",
    )
    assert undone == [("hotel", {"id": 2}), ("flight", {"id": 1})]
    assert outcome.saga.outputs == {"flight": {"id": 1}, "hotel": {"id": 2}}


async def nothing_is_missing_in_the_history(stage: Stage) -> None:
    """It tells five dispatches, four that went well and one that failed."""
    entries = (await played(stage, trip, "DWF-06")).record.history
    kinds = [entry.kind for entry in entries]
    assert len(list(chain.from_iterable(entry.sent for entry in entries))) == 5
    assert kinds.count(HistoryKind.STEP_SUCCEEDED) == 4
    assert kinds.count(HistoryKind.STEP_FAILED) == 1


SCENARIOS: list[Scenario] = [
    Case("DWF-01", each_undo_gets_its_id),
    row(
        "DWF-02",
        saga("flight", "hotel").when(
            action("flight").returns({"id": 1}), action("hotel").returns({"id": 2})
        ),
        "completed",
        calls=["flight", "hotel"],
        outputs={"flight": {"id": 1}, "hotel": {"id": 2}},
    ),
    phases(
        "DWF-03",
        trip_parallel.when(
            undo("flight").answers_after(10 * SECOND),
            undo("hotel").answers_after(10 * SECOND),
        ),
        at(
            5,
            "compensating",
            steps={"flight": "compensating", "hotel": "compensating"},
        ),
        at_end(
            "compensated",
            executed=["flight", "hotel"],
            undone={"flight", "hotel"},
            reason="payment failed",
        ),
    ),
    row(
        "DWF-04",
        saga(
            *("flight", step("hotel", compensation_retry=UNDO_ONCE), PAYMENT),
            on_compensation_failure="continue",
        ).when(payment_fails, undo("hotel").errs("no such booking")),
        "failed",
        calls=[
            "flight",
            "hotel",
            "payment: refused",
            "undo hotel: error",
            "undo flight",
        ],
        steps={"flight": "compensated", "hotel": "compensating"},
        reason="no such booking",
        deviation="the peer swallows the error of an undo and ends compensated; here "
        "the others are undone and the saga is failed, for the hotel still stands and "
        "nobody would look",
    ),
    row(
        "DWF-05",
        trip_halts,
        "failed",
        executed=["flight", "hotel"],
        undone=["hotel"],
        reason="no such booking",
    ),
    # What waits to be tried again is not, once another undo has given up.
    row(
        "DWF-05",
        trip_halts.when(undo("hotel").errs(times=1)),
        "failed",
        variant="waiting",
        executed=["flight", "hotel"],
        undone=[],
        reason="no such booking",
    ),
    Case("DWF-06", nothing_is_missing_in_the_history),
]

LATER: list[Later] = []
