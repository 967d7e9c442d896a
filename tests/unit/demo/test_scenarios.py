"""The demo's scenarios: what each promises of its steps, and how it says so."""

from __future__ import annotations

from collections import Counter

import pytest

from saga_orchestrator.cli.demo_screen import banner
from saga_orchestrator.core.definition import SagaDefinition
from saga_orchestrator.core.plan import compile_plan
from saga_orchestrator.demo.faults import is_refused, is_unanswered
from saga_orchestrator.demo.plan import Plan
from saga_orchestrator.demo.scenarios import SCENARIOS, Scenario

every_scenario = pytest.mark.parametrize("name", SCENARIOS)


def _definition(name: str) -> SagaDefinition:
    return SCENARIOS[name].definition("test")


def _depends_on(name: str) -> dict[str, set[str]]:
    plan = compile_plan(_definition(name))
    names = [step.name for step in plan.steps]
    return {
        step: {names[i] for i in numbers}
        for step, numbers in zip(names, plan.depends_on, strict=True)
    }


def _banner(name: str) -> str:
    plan = Plan(scenario=SCENARIOS[name], sagas=2, seed=7, store="sqlite:///x.db")
    return "\n".join(banner(plan))


def _is_refused(scenario: Scenario, number: int) -> bool:
    return any(
        is_refused(7, number, step, refusal.share)
        for step, refusal in scenario.refusals.items()
    )


def test_the_first_scenario_is_the_order() -> None:
    """It is what runs where nothing else is asked for."""
    assert list(SCENARIOS) == ["order", "trip", "investment", "breakfast"]
    assert all(name == scenario.name for name, scenario in SCENARIOS.items())


@every_scenario
def test_what_a_scenario_names_is_one_of_its_steps(name: str) -> None:
    """A refusal, a silence, a snapshot or a balance of another step would be void."""
    scenario = SCENARIOS[name]
    named = {
        *scenario.refusals,
        *scenario.unanswered,
        *scenario.snapshots,
        *scenario.balance.steps,
    }
    assert named <= {step.name for step in scenario.steps}
    assert {scenario.unit, *scenario.snapshots.values()} <= set(scenario.context)


@every_scenario
def test_what_cannot_be_undone_is_not_given_up(name: str) -> None:
    """Only a definite no ends a step that has no undo; an undo never ends in vain."""
    for step in _definition(name).steps:
        assert step.compensation or step.retry.max_attempts is None
        assert step.compensation_retry.max_attempts is None


@every_scenario
def test_some_sagas_of_a_scenario_are_refused(name: str) -> None:
    """Among a few are both kinds, so that a small demo checks both."""
    assert 3 < sum(_is_refused(SCENARIOS[name], number) for number in range(60)) < 30


def test_some_portfolios_never_answer() -> None:
    """Among a few investments is one that is undone though nobody knows."""
    investment = SCENARIOS["investment"]
    share = investment.unanswered["update_portfolio"]
    assert any(
        is_unanswered(7, number, "update_portfolio", share)
        and not _is_refused(investment, number)
        for number in range(60)
    )


@every_scenario
def test_actions_belong_to_a_run(name: str) -> None:
    """Two runs on one broker do not do each other's work."""
    ours, theirs = (
        {
            name
            for step in SCENARIOS[name].definition(run).steps
            for name in (step.action, step.compensation)
            if name
        }
        for run in ("1", "2")
    )
    assert ours.isdisjoint(theirs)


@every_scenario
def test_the_seed_decides_what_a_saga_is_about(name: str) -> None:
    """The same seed and number give the same context; it has the saga's number."""
    scenario = SCENARIOS[name]
    assert scenario.context_of(7, 3) == scenario.context_of(7, 3)
    assert scenario.context_of(7, 3)[name] == 3
    assert scenario.context_of(7, 3).keys() == {name, *scenario.context}


def test_the_order_keeps_its_fates() -> None:
    """A seed that was noted down still gives the same orders and refusals."""
    order = SCENARIOS["order"]
    cents = [order.context_of(7, number)["cents"] for number in range(4)]
    assert cents == [16919, 4773, 14441, 8772]
    refused = Counter(
        step
        for step, refusal in order.refusals.items()
        for number in range(300)
        if is_refused(7, number, step, refusal.share)
    )
    assert refused == {"reserve_inventory": 9, "charge_payment": 37, "ship_order": 20}


def test_a_trip_books_in_parallel() -> None:
    """The bookings wait for the plan alone, the confirmation for all of them."""
    bookings = {"book_hotel", "book_flight", "book_excursion"}
    assert _depends_on("trip") == {
        "plan_trip": set(),
        **{booking: {"plan_trip"} for booking in bookings},
        "confirm_trip": bookings,
    }


def test_a_trip_is_undone_at_once_and_whatever_became_of_it() -> None:
    """The undo of a booking is registered before the act."""
    definition = _definition("trip")
    assert definition.parallel_compensation
    always = {step.name for step in definition.steps if step.undo_failed == "always"}
    assert always == {"book_hotel", "book_flight", "book_excursion"}


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        (
            "investment",
            [
                *("validate_investor", "check_slots", "take_payment"),
                *("create_documents", "update_portfolio", "notify_investor"),
            ],
        ),
        ("breakfast", ["get_bowl", "add_cereal", "add_milk"]),
    ],
)
def test_sequences(name: str, steps: list[str]) -> None:
    """An investment and a breakfast go step by step."""
    before = zip(steps, [[], *([step] for step in steps)], strict=False)
    assert _depends_on(name) == {step: set(waits) for step, waits in before}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("order", ["notify_customer"]),
        ("trip", ["confirm_trip"]),
        ("investment", ["validate_investor", "notify_investor"]),
        ("breakfast", ["add_milk"]),
    ],
)
def test_what_has_no_undo(name: str, kept: list[str]) -> None:
    """What changes nothing, and what is last, for there is no way back."""
    steps = _definition(name).steps
    assert [step.name for step in steps if not step.compensation] == kept


def test_who_is_notified_is_not_refused() -> None:
    """A notice that failed for good would undo what the investor was told of."""
    assert "notify_investor" not in SCENARIOS["investment"].refusals


@every_scenario
def test_the_banner_names_the_steps(name: str) -> None:
    """A reader sees what is run, and that it is undone."""
    shown = _banner(name)
    assert f"2 {name}s" in shown
    assert all(step.name in shown for step in SCENARIOS[name].steps)


def test_the_banner_shows_what_runs_together() -> None:
    """Steps that run side by side are joined, the others follow one another."""
    course = "plan_trip, book_hotel + book_flight + book_excursion, confirm_trip"
    assert course in _banner("trip")
    assert "undone all at once" in _banner("trip")
    assert "get_bowl, add_cereal, add_milk" in _banner("breakfast")
    assert "undone in reverse" in _banner("breakfast")
