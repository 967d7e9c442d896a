"""The judge: holds what happened to what was promised. Pure.

It knows the scenario, the effects, an account that the engine never sees, and
what any user can read: the sagas' records. The letters are those of the project's
invariants: S6 the order of undo, S9 effects, L1 an end, L2 a reason to wake.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from saga_orchestrator.core.definition import Step
from saga_orchestrator.core.saga import StepStatus
from saga_orchestrator.core.states import (
    ENDED,
    Direction,
    Outcome,
    SagaState,
    StepState,
)
from saga_orchestrator.demo.effects import Effect
from saga_orchestrator.demo.report import Check, Verdict
from saga_orchestrator.demo.scenarios import Balance, Scenario
from saga_orchestrator.demo.undo_order import undo_order
from saga_orchestrator.ports.records import SagaRecord

Books = Mapping[str, Sequence[Effect]]
"""Each saga's effects, in the order of their commits."""

Happened = tuple[Direction, ...]
"""What happened of one step, in order."""

NOTHING: Happened = ()
DONE: Happened = (Direction.ACTION,)
UNDONE: Happened = (Direction.ACTION, Direction.COMPENSATION)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the judge is shown.

    Attributes:
        started: the sagas whose start returned, by key.
        records: what the store says of them in the end, by id.
        effects: everything that happened, in order.
        live_at_kill: what the store said, right after the kill, of the sagas
            that had not ended.
    """

    started: Mapping[str, str]
    records: Mapping[str, SagaRecord]
    effects: Sequence[Effect]
    live_at_kill: Mapping[str, SagaRecord]


def judge(scenario: Scenario, evidence: Evidence) -> Verdict:
    """Return the verdict on a run of a scenario."""
    books: dict[str, list[Effect]] = {
        saga_id: [] for saga_id in evidence.started.values()
    }
    for effect in evidence.effects:
        books.setdefault(effect.saga_id, []).append(effect)
    return Verdict(
        _endings(evidence),
        _single_effects(evidence.effects),
        (
            _balance(scenario.balance, books),
            _agreement(scenario, evidence, books),
            undo_order(scenario, evidence.records, books),
            _reasons_to_wake(evidence),
        ),
    )


def _endings(evidence: Evidence) -> Check:
    """L1: ended, or waiting for a person."""
    problems = []
    for key, saga_id in evidence.started.items():
        record = evidence.records.get(saga_id)
        if record is None:
            problems.append(f"{key}: there is no saga {saga_id}")
        elif record.saga.state not in ENDED | {SagaState.FAILED}:
            problems.append(f"{key}: saga {saga_id} is still {record.saga.state}")
    return Check(
        "every saga that was started has ended",
        len(evidence.started),
        "saga",
        tuple(problems),
    )


def _single_effects(effects: Sequence[Effect]) -> Check:
    counts = Counter((e.saga_id, e.step, e.direction) for e in effects)
    problems = [
        f"saga {saga_id}: {step}: the {direction} happened {count} times"
        for (saga_id, step, direction), count in counts.items()
        if count > 1
    ]
    return Check("no effect is applied twice", len(effects), "effect", tuple(problems))


def _balance(balance: Balance, books: Books) -> Check:
    """S9: what is conserved, by the effects alone."""
    problems = []
    made = 0
    for saga_id, effects in books.items():
        made += sum(
            e.step == balance.steps[0] and e.direction is Direction.ACTION
            for e in effects
        )
        standing = {step: _standing(effects, step) for step in balance.steps}
        if len(set(standing.values())) > 1:
            amounts = ", ".join(f"{step} {amount}" for step, amount in standing.items())
            problems.append(f"saga {saga_id}: done less undone: {amounts}")
    return Check(balance.rule, made, balance.noun, tuple(problems))


def _agreement(scenario: Scenario, evidence: Evidence, books: Books) -> Check:
    """S9: completed steps happened once; what was undone or refused stands no more."""
    problems = [
        f"saga {saga_id}: it is not of this run, but had effects"
        for saga_id in books
        if saga_id not in evidence.records and books[saga_id]
    ]
    for saga_id, record in evidence.records.items():
        effects = books.get(saga_id, ())
        found = _contradictions(scenario.steps, record, effects)
        problems.extend(f"saga {saga_id}: {text}" for text in found)
    return Check(
        "what happened is what the sagas say",
        len(evidence.records),
        "saga",
        tuple(problems),
    )


def _contradictions(
    steps: Sequence[Step], record: SagaRecord, effects: Sequence[Effect]
) -> Iterator[str]:
    saga = record.saga
    for step in steps:
        status = saga.status(step.name)
        happened = tuple(e.direction for e in effects if e.step == step.name)
        if happened not in _allowed(status):
            yield (
                f"{step.name} is {status.state}, its outcome {status.outcome}; "
                f"what happened: {', '.join(happened) or 'nothing'}"
            )
        if saga.is_compensated and step.compensation and _may_stand(status):
            yield f"{step.name} is not undone, though the saga is compensated"
        if saga.is_completed and status.state is not StepState.COMPLETED:
            yield f"{step.name} is {status.state}, though the saga completed"


def _allowed(status: StepStatus) -> set[Happened]:
    """Return what may have happened of a step, if the saga says the truth."""
    if status.state is StepState.COMPLETED:
        return {DONE}
    if status.outcome is Outcome.REFUSED or status.state in (
        StepState.PENDING,
        StepState.SKIPPED,
    ):
        return {NOTHING}
    if status.state is StepState.COMPENSATED:
        known = status.outcome is Outcome.SUCCEEDED
        return {UNDONE} if known else {NOTHING, UNDONE}
    if status.state is StepState.COMPENSATING:
        return {NOTHING, DONE, UNDONE}
    return {NOTHING, DONE}  # nobody knows


def _may_stand(status: StepStatus) -> bool:
    return DONE in _allowed(status)


def _reasons_to_wake(evidence: Evidence) -> Check:
    """L2, where nobody was there to act: right after the kill, and in the end."""
    live = {**evidence.records, **evidence.live_at_kill}
    live = {
        saga_id: record
        for saga_id, record in live.items()
        if record.saga.state in (SagaState.STARTED, SagaState.COMPENSATING)
    }
    problems = [
        f"saga {saga_id}: {record.saga.state}, with no command to send and no timer"
        for saga_id, record in live.items()
        if not record.outbox and record.saga.wake_at is None
    ]
    return Check(
        "every live saga has a reason to wake", len(live), "live saga", tuple(problems)
    )


def _standing(effects: Sequence[Effect], step: str) -> int:
    """Return what of a step's amounts stands."""
    return sum(
        e.amount if e.direction is Direction.ACTION else -e.amount
        for e in effects
        if e.step == step
    )
