"""A trip: three bookings at the same time, undone at the same time, all or none.

The undo of a booking is registered before the act: it is sent whatever became
of the act, and where that was refused it finds nothing.
"""

from __future__ import annotations

from saga_orchestrator.core.definition import Step
from saga_orchestrator.demo.scenarios.scenario import Balance, Refusal, Scenario
from saga_orchestrator.participant.signals import StepFailed


class NoRoom(StepFailed):
    """The hotel is full."""


class NoSeat(StepFailed):
    """The flight is full."""


class TooFewGuests(StepFailed):
    """The excursion does not take place."""


KINDS = ("hotel", "flight", "excursion")
BOOKINGS = tuple(f"book_{kind}" for kind in KINDS)

TRIP = Scenario(
    name="trip",
    steps=(
        Step("plan_trip", "trips.plan", "trips.discard"),
        *(
            Step(
                booking,
                f"{kind}.book",
                f"{kind}.cancel",
                depends_on=["plan_trip"],
                undo_failed="always",
            )
            for kind, booking in zip(KINDS, BOOKINGS, strict=True)
        ),
        Step("confirm_trip", "trips.confirm", depends_on=BOOKINGS),
    ),
    refusals={
        "book_hotel": Refusal(NoRoom, "the hotel is full", 0.06),
        "book_flight": Refusal(NoSeat, "the flight is full", 0.1),
        "book_excursion": Refusal(TooFewGuests, "too few guests", 0.05),
    },
    balance=Balance(
        "a trip is booked whole and confirmed, or not at all",
        "booked hotel",
        (*BOOKINGS, "confirm_trip"),
    ),
    context={"cents": range(20_000, 200_000)},
    parallel_compensation=True,
)
