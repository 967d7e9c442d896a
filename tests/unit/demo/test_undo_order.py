"""The judge on the order of undo: a sequence's, a graph's, and where there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from saga_orchestrator.core.definition import Step
from saga_orchestrator.demo.scenarios import SCENARIOS, Scenario
from tests.unit.demo.evidence import (
    DO,
    TRIP_IN_ORDER,
    UNDO,
    books_of,
    broken,
    going_forward_late,
    record_of,
    undone,
    verdict_on,
)

if TYPE_CHECKING:
    from saga_orchestrator.core.decision import Dispatch
    from saga_orchestrator.ports.records import SagaRecord
    from tests.support.sagas import Run

IN_REVERSE = "steps are undone in reverse order"
BY_DEPENDENCY = "no step is undone before those that depend on it"
NO_WAY_FORWARD = "once the undo has begun nothing goes forward"

TRIP, BREAKFAST = SCENARIOS["trip"], SCENARIOS["breakfast"]


def _exchanged(run: Run, one: str, other: str) -> SagaRecord:
    """Return a run's record in which two undos were sent in each other's place."""
    names = {one: other, other: one}

    def renamed(sent: Dispatch) -> Dispatch:
        fence = sent.fence
        if fence.direction is UNDO:
            fence = structs.replace(fence, step=names.get(fence.step, fence.step))
        return structs.replace(sent, fence=fence)

    history = []
    for entry in run.history:
        step = entry.step or ""
        if entry.direction is UNDO:
            step = names.get(step, step)
        sent = [renamed(dispatch) for dispatch in entry.sent]
        history.append(structs.replace(entry, step=step, sent=sent))
    return structs.replace(record_of(run), history=tuple(history))


@pytest.mark.parametrize("scenario", [*SCENARIOS.values(), TRIP_IN_ORDER])
def test_nothing_goes_forward_after_the_undo_began(scenario: Scenario) -> None:
    """Whatever the order of undo, an action among the undos is a violation."""
    run = undone(scenario)
    verdict = verdict_on(scenario, run, books_of(run), record=going_forward_late(run))
    assert len(broken(verdict)) == 1
    assert verdict.violations > 0


@pytest.mark.parametrize("name", ["order", "investment", "breakfast"])
def test_a_sequence_is_undone_in_reverse(name: str) -> None:
    """Two undos that changed places are a violation."""
    run = undone(scenario := SCENARIOS[name])
    *books, last, final = books_of(run)
    assert broken(verdict_on(scenario, run, [*books, final, last])) == [IN_REVERSE]


@pytest.mark.parametrize("name", ["order", "investment", "breakfast"])
def test_a_history_in_the_wrong_order_is_a_violation(name: str) -> None:
    """One undo at a time is not enough: the engine must send the last one first."""
    run = undone(scenario := SCENARIOS[name])
    early, late = (step for step, _ in books_of(run)[-2:])
    record = _exchanged(run, early, late)
    verdict = verdict_on(scenario, run, books_of(run), record=record)
    assert broken(verdict) == [IN_REVERSE]


def test_what_stays_does_not_hide_the_order() -> None:
    """A step without an undo may stand while what it builds on is undone."""
    look = Step("look_at_it", "bowls.look")
    bowl, *others = BREAKFAST.steps
    scenario = replace(BREAKFAST, steps=(bowl, look, *others))
    run = undone(scenario)
    *books, cereal, bowl_away = books_of(run)
    assert broken(verdict_on(scenario, run, [*books, cereal, bowl_away])) == []
    changed = [*books, bowl_away, cereal]
    assert broken(verdict_on(scenario, run, changed)) == [IN_REVERSE]


def test_a_graph_is_undone_by_its_dependencies() -> None:
    """The plan goes after all bookings; these may go in any order."""
    run = undone(TRIP_IN_ORDER)
    *books, hotel_or_flight, other, plan = books_of(run)
    assert plan == ("plan_trip", UNDO)
    changed = [*books, other, hotel_or_flight, plan]
    assert broken(verdict_on(TRIP_IN_ORDER, run, changed)) == []
    early = [*books, hotel_or_flight, plan, other]
    assert broken(verdict_on(TRIP_IN_ORDER, run, early)) == [BY_DEPENDENCY]


def test_an_undo_beside_another_is_a_violation_where_there_is_an_order() -> None:
    """The history of a trip that was undone all at once breaks the order."""
    run = undone(TRIP)
    verdict = verdict_on(TRIP_IN_ORDER, run, books_of(run))
    assert broken(verdict) == [BY_DEPENDENCY]


def test_a_trip_has_no_order_of_undo() -> None:
    """Undone all at once, any order will do, and the check does not claim one."""
    run = undone(TRIP)
    books = books_of(run)
    actions = [one for one in books if one[1] is DO]
    undos = [one for one in books if one[1] is UNDO]
    for order in (undos, undos[::-1]):
        verdict = verdict_on(TRIP, run, [*actions, *order])
        assert verdict.holds
        assert NO_WAY_FORWARD in [check.rule for check in verdict.checks]
