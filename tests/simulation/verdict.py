"""The verdict at rest: a run's ledger and records, held to the invariants.

S5 the set that is undone, S6 its order, S9 effects, S19 what the store kept is
what was committed, L5 what may stay failed.
"""

from __future__ import annotations

from msgspec.structs import replace

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.order import ancestors_of
from saga_orchestrator.core.saga import NO_DATA, Saga, StepStatus
from saga_orchestrator.core.states import Direction, Outcome, SagaState, StepState
from saga_orchestrator.core.step import Step
from saga_orchestrator.ports.records import SagaRecord
from tests.simulation.hostile import FORGED
from tests.simulation.world import Run

_HOPELESS = {"Undeliverable", "InvalidInput"}
"""Undos that no attempt will bring through: dead letters, commands not to be built."""


def problems_of(run: Run) -> list[str]:
    """Return every way in which a run broke the promise."""
    found = list(run.problems)
    if found:
        return found
    for key, saga_id in run.started.items():
        if saga_id not in run.records:
            found.append(f"{key}: lost, there is no saga {saga_id}")
    for record in run.records.values():
        found.extend(
            f"saga {record.saga.id} ({record.saga.context.get('n')}): {text}"
            for text in _judge(record, run)
        )
    return found


def _judge(record: SagaRecord, run: Run) -> list[str]:
    found = [*_kept(record, run), *_rest(record, run), *_residuals(record, run)]
    if record.saga.undoes is None:
        found += [*_effects(record, run), *_order(record, run)]
    return found


def _residuals(record: SagaRecord, run: Run) -> list[str]:
    """S9: a residual whose undo is through stands no more."""
    return [
        f"S9: the residual of {residual.fence.step} was undone, and stands"
        for residual in record.residuals
        if residual.settled and residual.settled.undo_id in run.records
        if run.records[residual.settled.undo_id].saga.is_compensated
        if run.ledger.net((record.saga.id, residual.fence.step)) != 0
    ]


def _kept(record: SagaRecord, run: Run) -> list[str]:
    """S19: the store has what was committed, and nothing else."""
    saga = record.saga
    books = run.books
    found = []
    if list(record.history) != books.history[saga.id]:
        found.append("S19: the history is not the one that was committed")
    committed = books.sagas.get(saga.id, saga)
    if replace(saga, data=NO_DATA) != replace(committed, data=NO_DATA):
        found.append("S19: the snapshot is not the one that was committed")
    residuals = {n: r for (one, n), r in books.residuals.items() if one == saga.id}
    if {residual.number: residual for residual in record.residuals} != residuals:
        found.append("S19: the residuals are not those that were committed")
    context = _folded_context(record)
    if dict(saga.context) != context:
        found.append(f"S19: the context is {dict(saga.context)}, not {context}")
    if record.outbox or {row.fence for row in record.outbox} - set(books.outbox):
        found.append(f"L3: the outbox still has {record.outbox}")
    if FORGED in [entry.data.get("output") for entry in record.history]:
        found.append("S12: a forged answer was believed")
    return found


def _folded_context(record: SagaRecord) -> dict[str, object]:
    """Return the first context with the updates that the history tells."""
    context = dict(record.saga.context)
    for entry in record.history:
        for name, value in (entry.data.get("update") or {}).items():
            context.pop(name, None)
            if value is not None:
                context[name] = value
    return context


def _rest(record: SagaRecord, run: Run) -> list[str]:
    saga = record.saga
    if saga.wake_at is not None or any(status.is_open for status in saga.steps):
        return ["something is open in a saga that rests"]
    if saga.state is SagaState.FAILED and not _may_fail(saga, run):
        return [f"L5: failed, and nothing explains it: {saga.reason}"]
    return []


def _may_fail(saga: Saga, run: Run) -> bool:
    """Tell whether a policy, a refusal or a dead letter explains a failed saga."""
    plan = saga.plan.definition
    if saga.direction is Direction.ACTION:
        suspends = plan.on_deadline == "suspend" and plan.deadline is not None
        return plan.on_failure == "park" or suspends or any(s.pivot for s in plan.steps)
    return any(
        (saga.undoes or saga.id, entry.step) in run.ledger.refused_undos
        or entry.data.get("error_type") in _HOPELESS
        or _may_give_up(saga, entry.step)
        for entry in run.books.history[saga.id]
        if entry.direction is Direction.COMPENSATION
    )


def _may_give_up(saga: Saga, step: str | None) -> bool:
    if step is None:
        return False
    policy = saga.plan.steps[saga.plan.number[step]].compensation_retry
    return policy.max_attempts is not None or bool(policy.non_retryable)


def _effects(record: SagaRecord, run: Run) -> list[str]:
    found = []
    for step, status in zip(record.saga.plan.steps, record.saga.steps, strict=True):
        key = (record.saga.id, step.name)
        net = run.ledger.net(key)
        if net not in (0, 1):
            found.append(f"S9: {step.name} has a net of {net} effects")
        elif step.action and key not in run.ledger.doubtful:
            told = any(each.fence.step == step.name for each in record.residuals)
            breach = _breach(record.saga, step, status, net, is_residual=told)
            found += [f"{breach}: {step.name}"] if breach else []
    return found


def _breach(
    saga: Saga, step: Step, status: StepStatus, net: int, *, is_residual: bool
) -> str | None:
    """Return what a step's state denies about its effect, which stands or not."""
    if status.state is StepState.COMPLETED:
        if saga.is_compensated and step.compensation:
            return "S5: completed in a compensated saga"
        return None if net else "S9: completed, without an effect"
    if not net or is_residual:
        return None
    if status.state in (StepState.PENDING, StepState.SKIPPED, StepState.COMPENSATED):
        return f"S9: {status.state}, and its effect stands"
    if status.outcome is Outcome.REFUSED:
        return "S9: refused, and its effect stands"
    is_undone = step.compensation and step.undo_failed != "never"
    if saga.is_compensated and is_undone:
        return "S5: unknown, not undone, and its effect stands"
    return None


def _order(record: SagaRecord, run: Run) -> list[str]:
    saga = record.saga
    if saga.plan.definition.parallel_compensation:
        return []
    if saga.plan.definition.on_compensation_failure == "continue":
        return []  # one that gave up lets those before it go first
    joined, sent = _joined(record)
    undone = [
        saga.plan.number[effect.step]
        for effect in run.ledger.effects
        if effect.saga_id == saga.id
        and effect.direction is Direction.COMPENSATION
        and saga.plan.number[effect.step] in sent
    ]
    ancestors = ancestors_of(saga.plan.depends_on)
    return [
        f"S6: {saga.plan.steps[early].name} was undone before "
        f"{saga.plan.steps[late].name}, which depends on it"
        for position, early in enumerate(undone)
        for late in undone[position + 1 :]
        if ancestors[late] >> early & 1
        and joined.get(late, 0) < sent[early] < sent.get(late, 0)
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
        if done and entry.direction is Direction.ACTION and entry.step is not None:
            joined[number[entry.step]] = entry.seq
    return joined, sent
