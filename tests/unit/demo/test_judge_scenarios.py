"""The judge on every scenario: honest runs pass, and each promise can be broken."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from saga_orchestrator.core.states import StepState
from saga_orchestrator.demo.scenarios import SCENARIOS, Scenario
from tests.support.sagas import Run
from tests.unit.demo.evidence import (
    AMOUNT,
    DO,
    TRIP_IN_ORDER,
    UNDO,
    books_of,
    broken,
    completed,
    record_of,
    refused,
    undone,
    verdict_on,
)

AGREEMENT = "what happened is what the sagas say"
SINGLE = "no effect is applied twice"

TRIP, INVESTMENT, BREAKFAST = (
    SCENARIOS[name] for name in ("trip", "investment", "breakfast")
)
ALL = [*SCENARIOS.values(), TRIP_IN_ORDER]
NAMES = [*SCENARIOS, "trip in order"]
REFUSALS = [
    pytest.param(scenario, step, id=f"{name}-{step}")
    for scenario, name in zip(ALL, NAMES, strict=True)
    for step in scenario.refusals
]
every_scenario = pytest.mark.parametrize("scenario", ALL, ids=NAMES)


@every_scenario
def test_a_completed_saga_passes(scenario: Scenario) -> None:
    """Where all went well nothing is violated."""
    run = completed(scenario)
    assert verdict_on(scenario, run, books_of(run)).holds


@pytest.mark.parametrize(("scenario", "step"), REFUSALS)
def test_a_saga_that_was_refused_passes(scenario: Scenario, step: str) -> None:
    """Wherever it was refused, what was done is undone, and nothing is violated."""
    run = refused(scenario, step)
    assert run.saga.is_compensated
    assert broken(verdict_on(scenario, run, books_of(run))) == []


@every_scenario
def test_every_check_of_a_scenario_looks_at_something(scenario: Scenario) -> None:
    """A check that looked at nothing would prove nothing."""
    run = undone(scenario)
    live = record_of(Run(scenario.definition("test")))
    verdict = verdict_on(scenario, run, books_of(run), live=live)
    assert all(check.checked for check in verdict.checks)


@every_scenario
def test_what_is_conserved_can_be_lost(scenario: Scenario) -> None:
    """The undo of the first step of the balance is missing, or the last action."""
    first, last = scenario.balance.steps[0], scenario.balance.steps[-1]
    run = undone(scenario)
    kept = [one for one in books_of(run) if one != (first, UNDO)]
    assert scenario.balance.rule in broken(verdict_on(scenario, run, kept))
    run = completed(scenario)
    unmade = [one for one in books_of(run) if one != (last, DO)]
    assert scenario.balance.rule in broken(verdict_on(scenario, run, unmade))


@every_scenario
def test_each_effect_of_a_scenario_is_held_to_once(scenario: Scenario) -> None:
    """Whatever is repeated, done or undone, is found by its step."""
    run = undone(scenario)
    for one in (books := books_of(run)):
        rules = broken(verdict_on(scenario, run, [*books, one]))
        assert {SINGLE, AGREEMENT} <= set(rules)


@pytest.mark.parametrize(("scenario", "step"), REFUSALS)
@pytest.mark.parametrize("trace", [(DO,), (DO, UNDO), (UNDO,)], ids=str)
def test_what_was_refused_never_happens(
    scenario: Scenario, step: str, trace: tuple[str, ...]
) -> None:
    """No trace of it, not even one that was undone, or undone for nothing."""
    run = refused(scenario, step)
    planted = [*books_of(run), *((step, direction) for direction in trace)]
    assert AGREEMENT in broken(verdict_on(scenario, run, planted))  # type: ignore[arg-type]  # directions are strings


@every_scenario
def test_what_completed_has_happened(scenario: Scenario) -> None:
    """Each step of a completed saga is missed when it is absent."""
    run = completed(scenario)
    for one in (books := books_of(run)):
        others = [other for other in books if other != one]
        assert AGREEMENT in broken(verdict_on(scenario, run, others))


@every_scenario
def test_what_was_undone_stands_no_more(scenario: Scenario) -> None:
    """Each undo is missed when it is absent, or came before its action."""
    run = undone(scenario)
    books = books_of(run)
    for step in (step for step, direction in books if direction is UNDO):
        kept = [one for one in books if one != (step, UNDO)]
        assert AGREEMENT in broken(verdict_on(scenario, run, kept))
        early = [(step, UNDO), *kept]
        assert AGREEMENT in broken(verdict_on(scenario, run, early))


def test_half_a_trip_is_a_violation() -> None:
    """Two of three bookings without a confirmation are not a trip."""
    run = completed(TRIP)
    half = [one for one in books_of(run) if one[0] != "book_excursion"]
    assert TRIP.balance.rule in broken(verdict_on(TRIP, run, half))


def test_a_portfolio_that_is_put_back_wrongly_is_a_violation() -> None:
    """A snapshot that is not the one from before leaves money behind."""
    run = Run(INVESTMENT.definition("test"))
    while "update_portfolio" not in run.open_steps:
        run.succeed(run.open_steps[0])
    while run.saga.direction is DO:  # nobody ever knows what became of it
        run.err("update_portfolio")
        if not run.open_steps:
            run.retry_now("update_portfolio")
    run.finish()
    names = [step.name for step in INVESTMENT.steps[:-1]]
    books = [(name, DO) for name in names]
    books += [(name, UNDO) for name in reversed(names[1:])]
    assert broken(verdict_on(INVESTMENT, run, books)) == []
    wrong = {("update_portfolio", UNDO): AMOUNT - 1}
    verdict = verdict_on(INVESTMENT, run, books, amounts=wrong)
    assert broken(verdict) == [INVESTMENT.balance.rule]


def test_a_step_of_unknown_outcome_that_nobody_undid_is_a_violation() -> None:
    """What may have happened must be undone before a saga says that it is."""
    run = undone(BREAKFAST)
    bowl = replace(run.status("get_bowl"), state=StepState.STARTED)
    saga = replace(run.saga, steps=(bowl, *run.saga.steps[1:]))
    record = replace(record_of(run), saga=saga)
    verdict = verdict_on(BREAKFAST, run, books_of(run)[:3], record=record)
    assert AGREEMENT in broken(verdict)


def test_spilt_milk_is_a_violation() -> None:
    """Milk that was poured, though refused, makes no breakfast."""
    run = undone(BREAKFAST)
    books = [*books_of(run), ("add_milk", DO)]
    rules = broken(verdict_on(BREAKFAST, run, books))
    assert BREAKFAST.balance.rule in rules
    assert AGREEMENT in rules
