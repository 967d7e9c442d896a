"""ServiceComb Pack: a booking of a car and a hotel; transactions that interleave.

The booking service itself, which calls the others and may fail between them, is
a step without a compensation.
"""

from __future__ import annotations

import datetime as dt

from saga_orchestrator import Step
from saga_orchestrator.testing import Outcome, action, operator
from tests.scenarios.cases import begun, history, played
from tests.scenarios.sagas import saga, step
from tests.scenarios.table import Case, Later, Scenario, Stage, row

SECOND = dt.timedelta(seconds=1)

BOOKING = step("booking", compensation="")
END = Step("end")  # nothing to do: the saga ends with it

booking = saga("car", "hotel")
fails_after_car = saga("car", BOOKING, "hotel").when(action("booking").refuses("boom"))
fails_after_hotel = saga("car", "hotel", BOOKING).when(
    action("booking").refuses("boom")
)
sleeps_10_s = action("booking").answers_after(10 * SECOND)
stock = saga("inventory", "payment")
three = saga("tx1", "tx2", "tx3")
# The last step has nothing to do; it makes a graph of the three before it.
side_by_side = saga(
    *("tx1", "tx2", "tx3"), Step("end", depends_on=["tx1", "tx2", "tx3"])
)


async def every_event_is_told(stage: Stage) -> None:
    """The history tells the start, each end, and the end of all."""
    outcome = (await played(stage, booking, "SCB-01-events")).expect("completed")
    assert history(outcome) == [
        "saga_started",  # and the car's start
        "step_succeeded car",  # and the hotel's start
        "step_succeeded hotel",  # and the end of the saga
    ]
    assert ends(outcome) == [3]


def ends(outcome: Outcome) -> list[int]:
    """Return the numbers of the entries after which the saga had ended."""
    ended = ("completed", "compensated")
    return [entry.seq for entry in outcome.record.history if entry.state in ended]


async def only_the_failed_saga_is_undone(stage: Stage) -> None:
    """Of two sagas at once one aborts; the other knows nothing of it."""
    fails = saga("tx1", "tx2").when(action("tx2").refuses())
    goes_well = saga("tx1", "tx2").when(action("tx2").answers_after(SECOND))
    async with (
        begun(stage, fails, "SCB-22-fails") as first,
        begun(stage, goes_well, "SCB-22-goes-well") as second,
    ):
        (await second.run(until=SECOND / 2)).expect("started")
        (await first.run()).expect("compensated", undone=["tx1"])
        (await second.run()).expect("completed", calls=["tx1", "tx2"])


async def the_end_is_told_last(stage: Stage) -> None:
    """What ends only after the abort is undone too, before the saga ends."""
    late = saga("tx1", "tx2", deadline=SECOND)
    late = late.when(action("tx2").answers_after(2 * SECOND))
    outcome = (await played(stage, late, "SCB-25")).expect("compensated")
    assert history(outcome) == [
        "saga_started",
        "step_succeeded tx1",
        "deadline_passed",
        "step_succeeded tx2",
        "step_succeeded undo tx2",
        "step_succeeded undo tx1",
    ]
    assert ends(outcome) == [6]


SCENARIOS: list[Scenario] = [
    row("SCB-01", booking, "completed", calls=["car", "hotel"]),
    Case("SCB-01", every_event_is_told, variant="events"),
    row(
        "SCB-02",
        fails_after_car,
        "compensated",
        calls=["car", "booking: refused", "undo car"],
        steps={"car": "compensated", "hotel": "pending"},
        reason="boom",
    ),
    row(
        "SCB-03",
        fails_after_hotel,
        "compensated",
        calls=["car", "hotel", "booking: refused", "undo hotel", "undo car"],
    ),
    row(
        "SCB-04",
        saga(
            *("car", "hotel", BOOKING, END),
            deadline=5 * SECOND,
            on_deadline="suspend",
        ).when(sleeps_10_s),
        "failed",
        calls=["car", "hotel", "booking"],
        steps={"car": "completed", "hotel": "completed", "end": "pending"},
        reason="its deadline passed",
    ),
    row(
        "SCB-05",
        saga("car", "hotel", BOOKING, deadline=5 * SECOND).when(sleeps_10_s),
        "compensated",
        calls=["car", "hotel", "booking", "undo hotel", "undo car"],
        reason="its deadline passed",
    ),
    row(
        "SCB-06",
        booking.when(action("car").refuses("11 cars are too many")),
        "compensated",
        calls=["car: refused"],
        steps={"hotel": "pending"},
    ),
    row(
        "SCB-07",
        booking.when(action("hotel").refuses("3 rooms are too many")),
        "compensated",
        calls=["car", "hotel: refused", "undo car"],
        steps={"hotel": "failed"},
    ),
    # A service that calls others is done after them.
    row(
        "SCB-09",
        saga("B", "A").when(action("A").refuses()),
        "compensated",
        calls=["B", "A: refused", "undo B"],
    ),
    row(
        "SCB-10",
        saga("B", "C", "A").when(action("C").refuses()),
        "compensated",
        calls=["B", "C: refused", "undo B"],
        steps={"A": "pending", "C": "failed"},
    ),
    row(
        "SCB-11",
        saga("C", "B", "A").when(action("C").refuses()),
        "compensated",
        calls=["C: refused"],
        steps={"A": "pending", "B": "pending"},
    ),
    row(
        "SCB-12",
        stock.when(action("payment").refuses("no funds")),
        "compensated",
        variant="payment",
        calls=["inventory", "payment: refused", "undo inventory"],
        reason="no funds",
    ),
    row(
        "SCB-12",
        stock.when(action("inventory").refuses("sold out")),
        "compensated",
        variant="inventory",
        calls=["inventory: refused"],
        reason="sold out",
    ),
    row(
        "SCB-12",
        stock.when(action("payment").refuses(error_type="UnknownUser")),
        "compensated",
        variant="unknown-user",
        calls=["inventory", "payment: refused", "undo inventory"],
        reason="UnknownUser",
    ),
    row(
        "SCB-13",
        three.when(action("tx3").refuses()),
        "compensated",
        calls=["tx1", "tx2", "tx3: refused", "undo tx2", "undo tx1"],
        steps={"tx1": "compensated", "tx2": "compensated", "tx3": "failed"},
    ),
    row(
        "SCB-15",
        three.when(operator.compensates(force=True)),
        "compensated",
        calls=["tx1", "tx2", "tx3", "undo tx3", "undo tx2", "undo tx1"],
    ),
    row(
        "SCB-17",
        side_by_side.when(
            action("tx1").answers_after(3 * SECOND),
            action("tx2").answers_after(SECOND),
            action("tx3").answers_after(2 * SECOND),
        ),
        "completed",
        calls={"tx1", "tx2", "tx3"},
    ),
    row(
        "SCB-19",
        saga(
            *("tx1", "tx2", "tx3", BOOKING, END),
            deadline=5 * SECOND,
            on_deadline="suspend",
        ).when(sleeps_10_s),
        "failed",
        calls=["tx1", "tx2", "tx3", "booking"],
        steps={"tx1": "completed", "tx2": "completed", "tx3": "completed"},
        reason="its deadline passed",
    ),
    Case("SCB-22", only_the_failed_saga_is_undone),
    Case("SCB-25", the_end_is_told_last),
    row(
        "SCB-26",
        saga("tx1").when(action("tx1").errs(times=1)),
        "completed",
        calls=["tx1: error", "tx1"],
    ),
]

LATER: list[Later] = []
