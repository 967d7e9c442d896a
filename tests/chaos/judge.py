"""The judge: holds what happened to what was promised. Pure.

It knows the ledger of effects, which the engine never sees, and what any user can
read: the sagas' records. A saga's history is told once more by ``tests.support.fold``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.states import Direction, Outcome, SagaState, StepState
from saga_orchestrator.demo.effects import Effect
from saga_orchestrator.demo.scenarios import Balance, Scenario
from saga_orchestrator.demo.undo_order import undo_order
from saga_orchestrator.ports.records import SagaRecord
from tests.chaos.sagas import DEFINITIONS, refuses_undo
from tests.support.fold import Fold

Happened = tuple[Direction, ...]

NOTHING: Happened = ()
DONE: Happened = (Direction.ACTION,)
UNDONE: Happened = (Direction.ACTION, Direction.COMPENSATION)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the judge is shown.

    Attributes:
        seed: the run's.
        started: ids by number, of the starts that were answered.
        records: what the store says of them in the end, by id.
        effects: everything that happened, in order.
    """

    seed: int
    started: Mapping[int, str]
    records: Mapping[str, SagaRecord]
    effects: Sequence[Effect]


@dataclass(slots=True)
class Verdict:
    """What is wrong, each as a sentence.

    Attributes:
        lost: starts that were answered, without a saga.
        stuck: sagas that did not end, or failed without a reason.
        duplicate_effects: effects that happened more than once.
        violations: everything else.
    """

    lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    duplicate_effects: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """All of them."""
        return [*self.lost, *self.stuck, *self.duplicate_effects, *self.violations]


def judge(evidence: Evidence) -> Verdict:
    """Return the verdict on a run that has come to rest."""
    verdict = Verdict()
    books: dict[str, list[Effect]] = {}
    for effect in evidence.effects:
        books.setdefault(effect.saga_id, []).append(effect)
    verdict.duplicate_effects += _repeated(evidence.effects)
    verdict.violations += [
        f"{saga_id}: had effects, and nobody started it"
        for saga_id in books.keys() - set(evidence.started.values())
    ]
    for number, saga_id in evidence.started.items():
        record = evidence.records.get(saga_id)
        if record is None:
            verdict.lost.append(f"{saga_id}: start {number} was answered")
            continue
        verdict.stuck += _not_at_rest(evidence.seed, number, record)
        found = [
            *_contradictions(record, books.get(saga_id, ())),
            *_history(record),
            *_reasons(record),
        ]
        verdict.violations += [f"{saga_id}: {text}" for text in found]
    verdict.violations += _undone_in_order(evidence.records, books)
    return verdict


def _repeated(effects: Sequence[Effect]) -> list[str]:
    counts = Counter((e.saga_id, e.step, e.direction) for e in effects)
    return [
        f"{saga_id}: the {direction} of {step} happened {count} times"
        for (saga_id, step, direction), count in counts.items()
        if count > 1
    ]


def _not_at_rest(seed: int, number: int, record: SagaRecord) -> Iterator[str]:
    """L1: it ended; or it failed, where the script refused its undo."""
    saga = record.saga
    if saga.state in (SagaState.STARTED, SagaState.COMPENSATING):
        yield f"{saga.id}: is still {saga.state}: {saga!r}"
    if saga.state is not SagaState.FAILED:
        return
    refused = [
        entry
        for entry in record.history
        if entry.kind is HistoryKind.STEP_FAILED
        and entry.direction is Direction.COMPENSATION
        and entry.data.get("refused")
    ]
    last = refused[-1] if refused else None
    if last is None or not refuses_undo(
        seed, number, saga.name, last.step or "", last.generation
    ):
        yield f"{saga.id}: failed, and no undo was refused: {saga.reason}"


def _contradictions(record: SagaRecord, effects: Sequence[Effect]) -> Iterator[str]:
    """S9: what happened is what the saga says, and the books are even."""
    saga = record.saga
    for step in DEFINITIONS[saga.name].steps:
        status = saga.status(step.name)
        ours = [effect for effect in effects if effect.step == step.name]
        happened = tuple(effect.direction for effect in ours)
        if happened not in _allowed(record, step.name):
            yield (
                f"{step.name} of a {saga.state} saga is {status.state}, its outcome "
                f"{status.outcome}; what happened: {', '.join(happened) or 'nothing'}"
            )
        if len({effect.amount for effect in ours}) > 1:
            yield f"{step.name} was undone with another amount"
        if saga.is_completed and status.state is not StepState.COMPLETED:
            yield f"{step.name} is {status.state}, though the saga completed"
        if saga.is_compensated and step.compensation and happened == DONE:
            yield f"{step.name} stands, though the saga is compensated"


def _allowed(record: SagaRecord, step: str) -> set[Happened]:
    """Return what may have happened of a step, if the saga says the truth."""
    status = record.saga.status(step)
    if status.state is StepState.COMPLETED:
        return {DONE}
    if status.outcome is Outcome.REFUSED or status.state is StepState.PENDING:
        return {NOTHING}
    known = status.outcome is Outcome.SUCCEEDED
    if status.state is StepState.COMPENSATED:
        return {UNDONE} if known else {NOTHING, UNDONE}
    if status.state is StepState.COMPENSATING:
        allowed = {DONE} if known else {NOTHING, DONE}
        return allowed | ({UNDONE} if _may_be_undone(record, step) else set())
    return {NOTHING, DONE}  # nobody knows


def _may_be_undone(record: SagaRecord, step: str) -> bool:
    """Tell whether an undo is on its way, or one ended and nobody knows how."""
    return not record.saga.is_failed or any(
        entry.kind is HistoryKind.STEP_FAILED and not entry.data.get("refused")
        for entry in record.history
        if entry.step == step and entry.direction is Direction.COMPENSATION
    )


def _history(record: SagaRecord) -> Iterator[str]:
    """S1, S12, S19: gapless, along the edges, and it comes to what the saga is."""
    saga = record.saga
    numbers = [entry.seq for entry in record.history]
    if numbers != list(range(1, saga.version + 1)):
        yield f"its history is {numbers}, its version {saga.version}"
    fold = Fold(DEFINITIONS[saga.name])
    try:
        for entry in record.history:
            fold.add(entry)
            fold.dispatch(entry)
    except AssertionError as error:
        yield f"its history is not legal: {error}"
        return
    if fold.saga != saga.state:
        yield f"it is {saga.state}, its history says {fold.saga}"
    for name, told in fold.steps.items():
        status = saga.status(name)
        kept = (status.state, status.outcome, status.phase, status.generation)
        if kept != (told.state, told.outcome, told.phase, told.generation):
            yield f"{name} is {status}, its history says {told}"


def _reasons(record: SagaRecord) -> Iterator[str]:
    """L2, and what an ended saga leaves behind."""
    saga = record.saga
    is_live = saga.state in (SagaState.STARTED, SagaState.COMPENSATING)
    if is_live and not record.outbox and saga.wake_at is None:
        yield f"is {saga.state}, with no command to send and no timer"
    if not is_live and record.outbox:
        yield f"is {saga.state}, and has commands to send: {record.outbox}"


def _undone_in_order(
    records: Mapping[str, SagaRecord], books: Mapping[str, Sequence[Effect]]
) -> Iterator[str]:
    """S4, S6: the demo's check of the order of undo, for each kind of saga."""
    for definition in DEFINITIONS.values():
        steps = tuple(definition.steps)
        names = tuple(step.name for step in steps)
        scenario = Scenario(
            name=definition.name,
            steps=steps,
            refusals={},
            balance=Balance("", "", names),
            context={},
            parallel_compensation=definition.parallel_compensation,
        )
        ours = {i: r for i, r in records.items() if r.saga.name == definition.name}
        yield from undo_order(scenario, ours, books).problems
