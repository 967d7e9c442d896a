"""A sample: hotel, flight and excursion, booked side by side, cancelled so too.

Each booking owes its undo from the moment it is sent, as in a saga that
registers the undo before the act: a booking that was refused is cancelled
like one that was made, and like one of which nobody knows. The agencies keep
their books in one SQLite file (``TRIP_DATABASE``, default ``trip.db``); every
effect goes through the barrier: it happens once, and never after its undo.
"""

from __future__ import annotations

import functools
import os
import sqlite3
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel

from saga_orchestrator import (
    Handlers,
    RetryPolicy,
    SagaDefinition,
    SqliteBarrier,
    Step,
    StepContext,
    StepFailed,
)

KINDS = ("hotel", "flight", "excursion")
TRIP_ID = {"$ref": "outputs.plan_trip.trip_id"}


def booking(kind: str) -> Step:
    """Return the step that books the hotel, the flight or the excursion."""
    return Step(
        f"book_{kind}",
        action=f"{kind}.book",
        compensation=f"{kind}.cancel",
        depends_on=["plan_trip"],
        input={"trip_id": TRIP_ID, "kind": kind, "name": {"$ref": f"context.{kind}"}},
        retry=RetryPolicy(max_attempts=2),
        timeout=timedelta(seconds=5),
        undo_failed="always",  # by default a refused booking is not cancelled
    )


trip = SagaDefinition(
    "trip",
    steps=[
        Step("plan_trip", action="trips.plan", compensation="trips.discard"),
        *(booking(kind) for kind in KINDS),
        Step(
            "confirm_trip",
            action="trips.confirm",
            depends_on=[f"book_{kind}" for kind in KINDS],
            input={
                "trip_id": TRIP_ID,
                "budget_cents": {"$ref": "context.budget_cents"},
                "prices_cents": [
                    {"$ref": f"outputs.book_{kind}.price_cents"} for kind in KINDS
                ],
            },
        ),
    ],
    # All undos are sent at once, so none may count on another having run.
    parallel_compensation=True,
)

trips = Handlers("trips")
hotels = Handlers("hotels")
flights = Handlers("flights")
excursions = Handlers("excursions")

# What there is to book: its price in cents, how many are free.
OFFERS = {
    ("hotel", "lodge"): (18_000, 1_000_000),
    ("hotel", "igloo"): (25_000, 0),
    ("hotel", "hideaway"): (12_000, 1_000_000),
    ("flight", "SE-100"): (32_000, 1_000_000),
    ("flight", "SE-900"): (21_000, 0),
    ("excursion", "volcano"): (15_000, 1_000_000),
    ("excursion", "eclipse"): (60_000, 0),
}
LINE_DROPS = frozenset({"hideaway"})
"""Who takes a booking, and then loses the line before it can say so."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS offers (
    kind TEXT NOT NULL, name TEXT NOT NULL, price_cents INTEGER NOT NULL,
    free INTEGER NOT NULL CHECK (free >= 0), PRIMARY KEY (kind, name));
CREATE TABLE IF NOT EXISTS trips (
    trip_id INTEGER PRIMARY KEY, action_key TEXT NOT NULL UNIQUE,
    customer_id TEXT NOT NULL, total_cents INTEGER);
CREATE TABLE IF NOT EXISTS bookings (
    booking_id INTEGER PRIMARY KEY, action_key TEXT NOT NULL UNIQUE,
    trip_id INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
    cancelled INTEGER NOT NULL DEFAULT 0);
"""


@functools.cache
def database() -> SqliteBarrier:
    """Open the file on first use; return the barrier that guards it."""
    path = Path(os.environ.get("TRIP_DATABASE", "trip.db"))
    with sqlite3.connect(path, timeout=30) as db:
        db.executescript(SCHEMA)
        db.executemany(
            "INSERT OR IGNORE INTO offers VALUES (?, ?, ?, ?)",
            [(*offer, *numbers) for offer, numbers in OFFERS.items()],
        )
    db.close()
    return SqliteBarrier(path)


class NothingFree(StepFailed):
    """It is sold out, or there is no such offer."""


class OverBudget(StepFailed):
    """All was to be had, but not for that money."""


class TripRequest(BaseModel):
    """What the saga is started with: its context."""

    customer_id: str
    hotel: str
    flight: str
    excursion: str
    budget_cents: int


class Trip(BaseModel):
    """A trip, planned."""

    trip_id: int


class BookingRequest(BaseModel):
    """A room, a seat or a place to book."""

    trip_id: int
    kind: str
    name: str


class Booking(BaseModel):
    """What was booked, and for how much."""

    booking_id: int
    price_cents: int


class Bill(BaseModel):
    """What the bookings of a trip cost, and what they may."""

    trip_id: int
    budget_cents: int
    prices_cents: list[int]


class Confirmation(BaseModel):
    """What the whole trip costs."""

    total_cents: int


@trips.step("trips.plan")
async def plan(ctx: StepContext, request: TripRequest) -> Trip:
    """Open the trip; its bookings carry its number."""

    def effect(db: sqlite3.Connection) -> Trip:
        made = db.execute(
            "INSERT INTO trips (action_key, customer_id) VALUES (?, ?)"
            " RETURNING trip_id",
            (ctx.idempotency_key, request.customer_id),
        ).fetchone()
        return Trip(trip_id=made[0])

    return await database().run(ctx, effect)


@trips.compensation("trips.discard")
async def discard(ctx: StepContext, planned: Trip | None) -> None:
    """Remove the trip, confirmed or not; its bookings see to themselves."""

    def effect(db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM trips WHERE action_key = ?", (ctx.action_key,))

    await database().run(ctx, effect)


# The three agencies work alike, so one function does for all of them.


@hotels.step("hotel.book")
@flights.step("flight.book")
@excursions.step("excursion.book")
async def book(ctx: StepContext, request: BookingRequest) -> Booking:
    """Book one, if one is free."""

    def effect(db: sqlite3.Connection) -> Booking:
        price = db.execute(
            "UPDATE offers SET free = free - 1"
            " WHERE kind = ? AND name = ? AND free > 0 RETURNING price_cents",
            (request.kind, request.name),
        ).fetchone()
        if price is None:
            raise NothingFree(f"{request.kind} {request.name!r}: nothing free")
        made = db.execute(
            "INSERT INTO bookings (action_key, trip_id, kind, name)"
            " VALUES (?, ?, ?, ?) RETURNING booking_id",
            (ctx.idempotency_key, request.trip_id, request.kind, request.name),
        ).fetchone()
        return Booking(booking_id=made[0], price_cents=price[0])

    booked = await database().run(ctx, effect)
    if request.name in LINE_DROPS:
        # Not a StepFailed: the booking stands, and the saga must not rely on a no.
        raise ConnectionError("the line dropped before the answer")
    return booked


@hotels.compensation("hotel.cancel")
@flights.compensation("flight.cancel")
@excursions.compensation("excursion.cancel")
async def cancel(ctx: StepContext, booked: Booking | None) -> None:
    """Cancel the booking, if there is one; the books keep it.

    ``booked`` is None when the booking was refused and when nobody knows, so
    it is found by the action's key. Where none was made the barrier does not
    call the effect, and keeps out a booking that comes late.
    """

    def effect(db: sqlite3.Connection) -> None:
        offer = db.execute(
            "UPDATE bookings SET cancelled = 1 WHERE action_key = ?"
            " RETURNING kind, name",
            (ctx.action_key,),
        ).fetchone()
        db.execute(
            "UPDATE offers SET free = free + 1 WHERE kind = ? AND name = ?", offer
        )

    await database().run(ctx, effect)


@trips.step("trips.confirm")
async def confirm(ctx: StepContext, bill: Bill) -> Confirmation:
    """Confirm the trip, if it is within the budget."""

    def effect(db: sqlite3.Connection) -> Confirmation:
        total = sum(bill.prices_cents)
        if total > bill.budget_cents:
            raise OverBudget(f"{total} cents, the budget is {bill.budget_cents}")
        db.execute(
            "UPDATE trips SET total_cents = ? WHERE trip_id = ?", (total, bill.trip_id)
        )
        return Confirmation(total_cents=total)

    return await database().run(ctx, effect)
