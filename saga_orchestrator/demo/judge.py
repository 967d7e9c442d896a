"""The judge: holds what happened to what was promised. Pure.

It knows the effects, an account that the engine never sees, and what any user
can read: the sagas' records. The letters are those of the project's
invariants: S6 the order of undo, S9 effects, L1 an end, L2 a reason to wake.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.states import ENDED, Direction, SagaState, StepState
from saga_orchestrator.demo.effects import Effect
from saga_orchestrator.demo.report import Check, Verdict
from saga_orchestrator.demo.scenario import CHARGE, SHIP
from saga_orchestrator.ports.store import SagaRecord

_UNDONE = frozenset({HistoryKind.STEP_SUCCEEDED, HistoryKind.STEP_SKIPPED})

Books = Mapping[str, Sequence[Effect]]
"""Each saga's effects, in the order of their commits."""


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


def judge(evidence: Evidence) -> Verdict:
    """Return the verdict."""
    books: dict[str, list[Effect]] = {
        saga_id: [] for saga_id in evidence.started.values()
    }
    for effect in evidence.effects:
        books.setdefault(effect.saga_id, []).append(effect)
    return Verdict(
        _endings(evidence),
        _single_effects(evidence.effects),
        (
            _charges(books),
            _agreement(evidence, books),
            _undo_order(evidence, books),
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


def _charges(books: Books) -> Check:
    """S9: the conserved quantity is the money."""
    problems = []
    charges = 0
    for saga_id, effects in books.items():
        charges += sum(
            e.step == CHARGE and e.direction is Direction.ACTION for e in effects
        )
        charged, shipped = (_cents(effects, step) for step in (CHARGE, SHIP))
        if charged != shipped:
            problems.append(
                f"saga {saga_id}: {charged} cents are charged and not refunded, "
                f"goods for {shipped} are shipped"
            )
    return Check(
        "every charge is shipped or refunded", charges, "charge", tuple(problems)
    )


def _agreement(evidence: Evidence, books: Books) -> Check:
    """S9: a completed step has happened, an undone one stands no more."""
    problems = [
        f"saga {saga_id}: it is not of this run, but had effects"
        for saga_id in books
        if saga_id not in evidence.records and books[saga_id]
    ]
    for saga_id, record in evidence.records.items():
        net = Counter[str]()
        for effect in books.get(saga_id, ()):
            net[effect.step] += 1 if effect.direction is Direction.ACTION else -1
        problems.extend(f"saga {saga_id}: {text}" for text in _steps(record, net))
    return Check(
        "what happened is what the sagas say",
        len(evidence.records),
        "saga",
        tuple(problems),
    )


def _steps(record: SagaRecord, net: Mapping[str, int]) -> Iterator[str]:
    saga = record.saga
    for step, status in zip(saga.plan.steps, saga.steps, strict=True):
        stands = net.get(step.name, 0)
        done = status.state is StepState.COMPLETED
        if stands != done and (done or step.compensation):
            yield f"{step.name} is {status.state}; done less undone is {stands}"
        if done and step.compensation and saga.state is SagaState.COMPENSATED:
            yield f"{step.name} is not undone, though the saga is compensated"
        if saga.state is SagaState.COMPLETED and not done:
            yield f"{step.name} is {status.state}, though the saga completed"


def _undo_order(evidence: Evidence, books: Books) -> Check:
    """S6, twice: as the histories tell it, and as it happened."""
    problems = []
    undone = 0
    for saga_id, record in evidence.records.items():
        number = record.saga.plan.number
        happened = [
            number[e.step]
            for e in books.get(saga_id, ())
            if e.direction is Direction.COMPENSATION
        ]
        undone += bool(happened)
        if happened != sorted(happened, reverse=True):
            problems.append(f"saga {saga_id}: effects were undone out of order")
        problems.extend(f"saga {saga_id}: {text}" for text in _told_order(record))
    return Check(
        "steps are undone in reverse order", undone, "undone saga", tuple(problems)
    )


def _told_order(record: SagaRecord) -> Iterator[str]:
    """Find undos sent before a later step's undo was through, or actions after."""
    number = record.saga.plan.number
    sent: list[str] = []
    done: set[str] = set()
    for entry in record.history:
        if entry.direction is Direction.COMPENSATION and entry.kind in _UNDONE:
            done.add(entry.step or "")
        for dispatch in entry.sent:
            step = dispatch.fence.step
            if dispatch.fence.direction is Direction.ACTION:
                if sent:
                    yield f"{step} was sent after the undo had begun"
            elif step not in sent:
                if any(number[other] < number[step] for other in sent):
                    yield f"{step} was undone after a step before it"
                if not done.issuperset(sent):
                    yield f"{step} was undone while another undo was open"
                sent.append(step)


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


def _cents(effects: Sequence[Effect], step: str) -> int:
    """Return what of a step's amounts stands."""
    return sum(
        e.cents if e.direction is Direction.ACTION else -e.cents
        for e in effects
        if e.step == step
    )
