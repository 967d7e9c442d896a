"""The trip: booked side by side; refused or unknown, every booking is cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers import trip as sample
from saga_orchestrator import Outcome, Superseded
from tests.support.participants import action, context_of, undo
from tests.unit.handlers.books import books_of, ended, query, undone

CONTEXT = {
    "customer_id": "c-1",
    "hotel": "lodge",
    "flight": "SE-100",
    "excursion": "volcano",
    "budget_cents": 100_000,
}
BOOKINGS = {"book_hotel", "book_flight", "book_excursion"}
ROOM = sample.BookingRequest(trip_id=1, kind="hotel", name="lodge")


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The agencies' own file."""
    with books_of(sample, tmp_path, monkeypatch) as path:
        yield path


def books(path: Path) -> dict[str, Any]:
    """Return what stands in the agencies' tables."""
    standing = query(path, "SELECT name FROM bookings WHERE NOT cancelled")
    offers = query(path, "SELECT name, free FROM offers")
    return {
        "trips": query(path, "SELECT customer_id, total_cents FROM trips"),
        "booked": sorted(name for (name,) in standing),
        "taken": sorted(name for name, free in offers if free not in (0, 1_000_000)),
    }


EMPTY = {"trips": [], "booked": [], "taken": []}


async def test_a_trip_is_booked(database: Path) -> None:
    """All three are booked, together, and the trip is confirmed at their price."""
    record = await ended(sample, sample.trip, CONTEXT)
    assert record.saga.is_completed
    (together,) = (entry.sent for entry in record.history if len(entry.sent) > 1)
    assert {dispatch.fence.step for dispatch in together} == BOOKINGS
    three = ["SE-100", "lodge", "volcano"]
    assert books(database) == {
        "trips": [("c-1", 65_000)],
        "booked": three,
        "taken": three,
    }


@pytest.mark.parametrize(
    "sold_out", [{"hotel": "igloo"}, {"flight": "SE-900"}, {"excursion": "eclipse"}]
)
async def test_a_refused_booking_is_cancelled_too(
    database: Path, sold_out: dict[str, str]
) -> None:
    """Its undo runs beside the others' and finds nothing; nothing stands."""
    record = await ended(sample, sample.trip, {**CONTEXT, **sold_out})
    assert record.saga.is_compensated
    (kind,) = sold_out
    assert record.saga.status(f"book_{kind}").outcome is Outcome.REFUSED
    assert set(undone(record)) == BOOKINGS | {"plan_trip"}
    assert max(len(entry.sent) for entry in record.history) == 4  # all undos at once
    assert books(database) == EMPTY
    assert query(database, "SELECT count(*) FROM bookings") == [(2,)]


async def test_over_budget_all_three_are_cancelled(database: Path) -> None:
    """The books keep the three bookings, as cancelled."""
    record = await ended(sample, sample.trip, {**CONTEXT, "budget_cents": 64_999})
    assert record.saga.is_compensated
    assert "OverBudget: 65000 cents" in record.saga.reason
    assert set(undone(record)) == BOOKINGS | {"plan_trip"}
    assert books(database) == EMPTY
    assert query(database, "SELECT sum(cancelled) FROM bookings") == [(3,)]


@pytest.mark.slow
async def test_a_booking_of_which_nobody_knows_is_cancelled(database: Path) -> None:
    """It was made, its answer never came; the undo finds it by the action's key."""
    record = await ended(sample, sample.trip, {**CONTEXT, "hotel": "hideaway"})
    assert record.saga.is_compensated
    assert record.saga.status("book_hotel").outcome is Outcome.UNKNOWN
    cancelled = query(database, "SELECT name FROM bookings WHERE cancelled")
    assert ("hideaway",) in cancelled
    assert books(database) == EMPTY


async def test_twice_is_as_good_as_once(database: Path) -> None:
    """A repeated booking books nothing more, a repeated cancellation frees no more."""
    book, cancel = action(step="book_hotel"), undo(step="book_hotel")
    first, second = [await sample.book(context_of(book), ROOM) for _ in range(2)]
    assert first == second
    assert query(database, "SELECT free FROM offers WHERE name = 'lodge'") == [
        (999_999,)
    ]
    for _ in range(2):
        await sample.cancel(context_of(cancel), first)
        assert books(database) == EMPTY


async def test_a_booking_that_comes_after_its_cancellation(database: Path) -> None:
    """It is kept out, and the cancellation had nothing to free."""
    await sample.cancel(context_of(undo()), None)
    with pytest.raises(Superseded):
        await sample.book(context_of(action()), ROOM)
    assert books(database) == EMPTY
