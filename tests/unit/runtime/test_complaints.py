"""Complaints: shown while they are fresh, gone when what failed has worked."""

from __future__ import annotations

from saga_orchestrator.runtime.complaints import (
    NAMES_MAX,
    RECENT_SECONDS,
    Complaints,
)
from saga_orchestrator.testing.virtual_time import LoopClock
from tests.unit.runtime.stage import virtual


@virtual
async def test_a_complaint_is_shown_until_it_is_cleared():
    """Noted again it is one; cleared it is gone."""
    complaints = Complaints(LoopClock())
    for _ in range(2):
        complaints.note("a", "a is full")
    complaints.note("b", "b is full")
    assert complaints.problems() == ["a is full", "b is full"]
    complaints.clear("a")
    complaints.clear("nobody")
    assert complaints.problems() == ["b is full"]


@virtual
async def test_a_complaint_that_is_not_noted_again_passes():
    """Each for as long as it was noted for."""
    clock = LoopClock()
    complaints = Complaints(clock)
    complaints.note("short", "short")
    complaints.note("long", "long", 10 * RECENT_SECONDS)
    await clock.sleep(RECENT_SECONDS + 1)
    assert complaints.problems() == ["long"]
    complaints.note("new", "new")
    assert complaints.problems() == ["long", "new"]


@virtual
async def test_many_complaints_are_cut_short():
    """A list that nobody can read tells nothing."""
    complaints = Complaints(LoopClock())
    for number in range(NAMES_MAX + 5):
        complaints.note(str(number), str(number))
    assert len(complaints.problems()) == NAMES_MAX + 1
    assert complaints.problems()[-1] == "and 5 more of this kind"
