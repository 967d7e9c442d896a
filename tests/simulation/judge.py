"""The judge: holds a run's ledger and records to the invariants.

The letters are those of the reliability rules that the project keeps: S1 edges
of the machine, S5 the set that is undone, S6 its order, S9 effects, S13 keys,
L1 everything comes to rest.
"""

from __future__ import annotations

import itertools
from collections import Counter

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.order import ancestors_of
from saga_orchestrator.core.states import (
    SAGA_EDGES,
    Direction,
    Outcome,
    SagaState,
    StepState,
)
from saga_orchestrator.ports.store import SagaRecord
from tests.simulation.scenario import Ledger
from tests.simulation.world import Run


def problems_of(run: Run) -> list[str]:
    """Return every way in which a run broke the promise."""
    found = list(run.problems)
    for key, saga_id in run.started.items():
        record = run.records.get(saga_id)
        if record is None:
            found.append(f"{key}: lost, there is no saga {saga_id}")
            continue
        found.extend(f"{key}: {text}" for text in _judge(record, run.ledger))
    counts = Counter(
        (effect.saga_id, effect.step, effect.direction) for effect in run.ledger.effects
    )
    found.extend(f"{key}: {n} effects" for key, n in counts.items() if n > 1)
    return found


def _judge(record: SagaRecord, ledger: Ledger) -> list[str]:
    return [
        *_history(record),
        *_rest(record, ledger),
        *_effects(record, ledger),
        *_order(record, ledger),
    ]


def _history(record: SagaRecord) -> list[str]:
    found = []
    entries = record.history
    if [entry.seq for entry in entries] != list(range(1, len(entries) + 1)):
        found.append("S1: the history has gaps")
    for before, after in itertools.pairwise(entries):
        if before.state is after.state or after.state in SAGA_EDGES[before.state]:
            continue
        found.append(f"S1: {before.state} -> {after.state} at {after.seq}")
    if entries and entries[-1].state is not record.saga.state:
        found.append("S19: the history ends in another state")
    generations: dict[str, list[int]] = {}
    for entry in entries:
        for sent in entry.sent:
            if not sent.resend:
                generations.setdefault(sent.fence.step, []).append(
                    sent.fence.generation
                )
    for step, numbers in generations.items():
        if numbers != list(range(1, len(numbers) + 1)):
            found.append(f"S12: generations of {step} are {numbers}")
    return found


def _rest(record: SagaRecord, ledger: Ledger) -> list[str]:
    saga = record.saga
    if saga.state in (SagaState.STARTED, SagaState.COMPENSATING):
        return [f"L1: never came to rest: {saga.state}, {saga.steps}"]
    if saga.state is SagaState.FAILED and saga.id not in ledger.refused_undos:
        return [f"L5: failed, though no undo was refused: {saga.reason}"]
    if saga.wake_at is not None or any(status.is_open for status in saga.steps):
        return ["something is open in a saga that rests"]
    if record.outbox:
        return [f"L3: the outbox still has {record.outbox}"]
    return []


def _effects(record: SagaRecord, ledger: Ledger) -> list[str]:
    saga = record.saga
    found = []
    for step, status in zip(saga.plan.steps, saga.steps, strict=True):
        done = _count(ledger, saga.id, step.name, Direction.ACTION)
        net = done - _count(ledger, saga.id, step.name, Direction.COMPENSATION)
        if status.state is StepState.COMPLETED and status.heard and net != 1:
            found.append(f"S9: {step.name} completed with a net of {net}")
        if status.state is StepState.COMPENSATED and net != 0:
            found.append(f"S9: {step.name} compensated with a net of {net}")
        if status.state is StepState.PENDING and done:
            found.append(f"S9: {step.name} never ran, but had an effect")
        if saga.state is not SagaState.COMPENSATED or not step.compensation:
            continue
        if status.state is StepState.COMPLETED:
            found.append(f"S5: {step.name} is completed in a compensated saga")
        if status.state is StepState.FAILED and status.outcome is Outcome.UNKNOWN:
            found.append(f"S5: {step.name} is unknown and was not undone")
    return found


def _order(record: SagaRecord, ledger: Ledger) -> list[str]:
    saga = record.saga
    if saga.plan.definition.parallel_compensation:
        return []
    if saga.plan.definition.on_compensation_failure == "continue":
        return []  # one that gave up lets those before it go first
    joined, sent = _joined(record)
    undone = [
        saga.plan.number[effect.step]
        for effect in ledger.effects
        if effect.saga_id == saga.id and effect.direction is Direction.COMPENSATION
    ]
    ancestors = ancestors_of(saga.plan.depends_on)
    return [
        f"S6: {saga.plan.steps[early].name} was undone before "
        f"{saga.plan.steps[late].name}, which depends on it"
        for position, early in enumerate(undone)
        for late in undone[position + 1 :]
        if ancestors[late] >> early & 1 and joined[late] < sent[early]
    ]


def _joined(record: SagaRecord) -> tuple[dict[int, int], dict[int, int]]:
    """Return when each step last had to be undone, and when its undo was first sent.

    A success that is told after the undo of an earlier step was sent (a repeated
    delivery that contradicts a refusal) joins too late to go first.
    """
    number = record.saga.plan.number
    joined: dict[int, int] = {}
    sent: dict[int, int] = {}
    for entry in record.history:
        for dispatch in entry.sent:
            step = number[dispatch.fence.step]
            if dispatch.fence.direction is Direction.COMPENSATION:
                sent.setdefault(step, entry.seq)
            else:
                joined[step] = entry.seq
        done = entry.kind is HistoryKind.STEP_SUCCEEDED
        if done and entry.direction is Direction.ACTION:
            joined[number[entry.step]] = entry.seq
    return joined, sent


def _count(ledger: Ledger, saga_id: str, step: str, direction: Direction) -> int:
    return sum(
        effect.saga_id == saga_id
        and effect.step == step
        and effect.direction is direction
        for effect in ledger.effects
    )
