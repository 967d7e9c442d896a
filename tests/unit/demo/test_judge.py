"""The demo's judge: an honest run passes, and each check can fail."""

from __future__ import annotations

from functools import partial

import pytest
from msgspec.structs import replace

from saga_orchestrator.core.states import SagaState, StepState
from saga_orchestrator.demo.effects import Effect
from saga_orchestrator.demo.judge import Evidence, judge
from saga_orchestrator.demo.scenarios import SCENARIOS
from saga_orchestrator.ports.records import SagaRecord
from tests.support.sagas import SAGA_ID, Run
from tests.unit.demo.evidence import (
    AMOUNT,
    DO,
    UNDO,
    Happened,
    broken,
    completed,
    going_forward_late,
    record_of,
    refused,
    verdict_on,
)

ORDER = SCENARIOS["order"]
CHARGE, SHIP = "charge_payment", "ship_order"
STEPS = ("create_order", "reserve_inventory", CHARGE, SHIP, "notify_customer")

DONE = [(step, DO) for step in STEPS]
UNDONE = [*DONE[:3], *((step, UNDO) for step in reversed(STEPS[:3]))]

_completed = partial(completed, ORDER)
_verdict = partial(verdict_on, ORDER)


def _compensated() -> Run:
    """Return an order that no courier takes: charged, and refunded."""
    return refused(ORDER, SHIP)


@pytest.mark.parametrize(
    ("run", "happened"), [(_completed(), DONE), (_compensated(), UNDONE)]
)
def test_an_honest_run_passes(run: Run, happened: list[Happened]) -> None:
    """What was promised and happened violates nothing."""
    verdict = _verdict(run, happened)
    assert verdict.holds
    assert (verdict.lost, verdict.duplicate_effects, verdict.violations) == (0, 0, 0)


def test_every_check_looks_at_something() -> None:
    """A check that looked at nothing would prove nothing."""
    run = Run(ORDER.definition("test"))
    live = record_of(run)
    verdict = _verdict(_compensated(), UNDONE, live=live)
    assert all(check.checked for check in verdict.checks)


def test_an_absent_saga_is_lost() -> None:
    """A start that returned and left no saga is a loss."""
    assert _verdict(_completed(), [], is_there=False).lost == 1


def test_a_saga_that_never_ends_is_lost() -> None:
    """A saga that is live in the end is a loss."""
    assert _verdict(Run(ORDER.definition("test")), []).lost == 1


def test_a_saga_that_waits_for_a_person_is_not_lost() -> None:
    """A failed saga is reported as failed: it is known, and listed."""
    run = Run(ORDER.definition("test"))
    failed = SagaRecord(replace(run.saga, state=SagaState.FAILED), tuple(run.history))
    assert _verdict(run, [], record=failed).lost == 0


@pytest.mark.parametrize("again", [(CHARGE, DO), ("create_order", UNDO)])
def test_a_repeated_effect_is_a_duplicate(again: Happened) -> None:
    """A step and direction with two effects is counted once."""
    run, happened = (_completed(), DONE) if again[1] is DO else (_compensated(), UNDONE)
    assert _verdict(run, [*happened, again, again]).duplicate_effects == 1


def test_a_charge_without_goods_is_a_violation() -> None:
    """Money was taken, nothing was shipped, nothing was given back."""
    rules = broken(_verdict(_compensated(), UNDONE[:3]))
    assert "every charge is shipped or refunded" in rules


def test_goods_without_a_charge_are_a_violation() -> None:
    """What was shipped was paid for."""
    happened = [one for one in DONE if one != (CHARGE, DO)]
    rules = broken(_verdict(_completed(), happened))
    assert "every charge is shipped or refunded" in rules


@pytest.mark.parametrize(
    ("run", "happened"),
    [
        (_completed(), DONE[:4]),
        (_completed(), [*DONE, ("reserve_inventory", UNDO)]),
        (_compensated(), UNDONE[:5]),
        (_compensated(), [*UNDONE[:3], (SHIP, DO), *UNDONE[3:]]),
    ],
    ids=["never happened", "undone behind its back", "not undone", "too much"],
)
def test_effects_that_contradict_the_saga_are_a_violation(
    run: Run, happened: list[Happened]
) -> None:
    """A completed step stands exactly once, an undone or refused one not at all."""
    rules = broken(_verdict(run, happened))
    assert "what happened is what the sagas say" in rules


def test_a_step_left_standing_in_a_compensated_saga_is_a_violation() -> None:
    """A saga that says it is compensated has no completed step that can be undone."""
    run = _compensated()
    steps = (replace(run.saga.steps[0], state=StepState.COMPLETED), *run.saga.steps[1:])
    record = SagaRecord(replace(run.saga, steps=steps), tuple(run.history))
    verdict = _verdict(run, UNDONE[:5], record=record)
    assert broken(verdict) == ["what happened is what the sagas say"]


def test_effects_of_nobody_are_a_violation() -> None:
    """An effect belongs to a saga that was started."""
    stray = Effect(99, "of another", "create_order", DO, AMOUNT)
    effects = [*(Effect(1, SAGA_ID, *one, AMOUNT) for one in DONE), stray]
    evidence = Evidence({"k": SAGA_ID}, {SAGA_ID: record_of(_completed())}, effects, {})
    verdict = judge(ORDER, evidence)
    assert broken(verdict) == ["what happened is what the sagas say"]


def test_effects_undone_in_the_wrong_order_are_a_violation() -> None:
    """What came last is undone first."""
    happened = [*DONE[:3], *((step, UNDO) for step in STEPS[:3])]
    assert broken(_verdict(_compensated(), happened)) == [
        "steps are undone in reverse order"
    ]


def test_an_undo_that_does_not_wait_is_a_violation() -> None:
    """In the history an undo is sent only when the one before it is through."""
    run = _compensated()
    answers = [
        entry
        for entry in run.history
        if entry.direction is UNDO and entry.step == CHARGE
    ]
    early = [replace(entry, step="create_order") for entry in answers]
    history = [early[0] if entry is answers[0] else entry for entry in run.history]
    record = SagaRecord(run.saga, tuple(history))
    verdict = _verdict(run, UNDONE, record=record)
    assert broken(verdict) == ["steps are undone in reverse order"]
    assert verdict.violations > 0


def test_an_action_after_the_undo_began_is_a_violation() -> None:
    """Once something is undone, nothing goes forward."""
    run = _compensated()
    record = going_forward_late(run)
    assert broken(_verdict(run, UNDONE, record=record)) == [
        "steps are undone in reverse order"
    ]


def test_a_live_saga_that_nothing_wakes_is_a_violation() -> None:
    """A live saga has a command to send or a timer, at the kill too."""
    run = Run(ORDER.definition("test"))
    stuck = SagaRecord(replace(run.saga, wake_at=None), tuple(run.history))
    verdict = _verdict(_completed(), DONE, live=stuck)
    assert broken(verdict) == ["every live saga has a reason to wake"]
