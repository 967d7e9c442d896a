"""Evidence for the demo's judge: honest books of a run, and what can be planted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import structs

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.states import Direction
from saga_orchestrator.demo.effects import Effect
from saga_orchestrator.demo.judge import Evidence, judge
from saga_orchestrator.demo.scenarios import SCENARIOS, Scenario
from saga_orchestrator.ports.records import SagaRecord
from tests.support.sagas import SAGA_ID, Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saga_orchestrator.demo.report import Verdict

TRIP_IN_ORDER = replace(SCENARIOS["trip"], parallel_compensation=False)
"""The trip with its bookings undone one by one: a graph with an order of undo."""

LATEST = {
    "order": "ship_order",
    "trip": "book_excursion",
    "investment": "create_documents",
    "breakfast": "add_milk",
}
"""Refused there, a saga has most to undo."""

AMOUNT = 700
DO, UNDO = Direction.ACTION, Direction.COMPENSATION

Happened = tuple[str, Direction]


def completed(scenario: Scenario) -> Run:
    """Return a saga in which all went well."""
    run = Run(scenario.definition("test"))
    run.finish()
    return run


def refused(scenario: Scenario, step: str) -> Run:
    """Return a saga that ended with a definite no to one of its steps.

    What runs beside it succeeds.
    """
    run = Run(scenario.definition("test"))
    while step not in run.open_steps:
        run.succeed(run.open_steps[0])
    run.refuse(step)
    run.finish()
    return run


def undone(scenario: Scenario) -> Run:
    """Return a saga that was refused as late as it can be, and undone."""
    return refused(scenario, LATEST[scenario.name])


def books_of(run: Run) -> list[Happened]:
    """Return what an honest world had of a run, in order.

    The undo of an action that never ran finds nothing.
    """
    happened: list[Happened] = []
    for entry in run.history:
        if entry.kind is HistoryKind.STEP_SUCCEEDED:
            one = (str(entry.step), entry.direction or DO)
            if one[1] is DO or (one[0], DO) in happened:
                happened.append(one)
    return happened


def verdict_on(
    scenario: Scenario,
    run: Run,
    happened: Sequence[Happened],
    *,
    record: SagaRecord | None = None,
    is_there: bool = True,
    live: SagaRecord | None = None,
    amounts: dict[Happened, int] | None = None,
) -> Verdict:
    """Judge one saga.

    Args:
        scenario: what it is a saga of.
        run: what the engine decided.
        happened: what the world had, in order.
        record: what the store says; by default what the engine decided.
        is_there: whether the store has it.
        live: what the store said right after the kill.
        amounts: of effects that are about another amount than the others.
    """
    effects = [
        Effect(number, SAGA_ID, *one, (amounts or {}).get(one, AMOUNT))
        for number, one in enumerate(happened, start=1)
    ]
    evidence = Evidence(
        started={"saga-1": SAGA_ID},
        records={SAGA_ID: record or record_of(run)} if is_there else {},
        effects=effects,
        live_at_kill={SAGA_ID: live} if live else {},
    )
    return judge(scenario, evidence)


def record_of(run: Run) -> SagaRecord:
    """Return what a store would say of a run."""
    return SagaRecord(run.saga, tuple(run.history))


def going_forward_late(run: Run) -> SagaRecord:
    """Return a run's record in which an action is sent after the undo began."""
    action = next(sent for entry in run.history for sent in entry.sent)
    last = structs.replace(run.history[-1], sent=[action])
    return SagaRecord(run.saga, (*run.history[:-1], last))


def broken(verdict: Verdict) -> list[str]:
    """Return the rules that do not hold."""
    return [check.rule for check in verdict.checks if not check.holds]
