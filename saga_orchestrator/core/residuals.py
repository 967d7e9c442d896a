"""What a person makes of a residual: dismiss it, or have it undone.

The undo is a saga of its own: the step with its output, done before it began,
and asked to be compensated. So it has a fresh key, retries, a history and an
end like any other, and shows as failed where it gives up. From the moment it
is started the effect is in that saga's account; the residual is settled.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable

from msgspec.structs import replace

from saga_orchestrator.core.decision import Decision, HistoryKind
from saga_orchestrator.core.definition import SagaDefinition, Step
from saga_orchestrator.core.draft import Draft
from saga_orchestrator.core.events import (
    ResidualDismissRequested,
    ResidualRequested,
    ResidualUndoRequested,
)
from saga_orchestrator.core.forward import abort
from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.plan import Plan, compile_plan
from saga_orchestrator.core.refusal import Refusal
from saga_orchestrator.core.residual import Residual, Settlement
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import Outcome, StepState


def dismiss_residual(draft: Draft, event: ResidualDismissRequested) -> None:
    """Settle a residual that needs no undo."""
    residual = _open(draft, event)
    _settle(draft, residual, event, HistoryKind.RESIDUAL_DISMISSED)


def undo_residual(
    saga: Saga, draft: Draft, event: ResidualUndoRequested
) -> Decision | None:
    """Settle a residual, and start the saga that undoes it.

    Returns:
        The decision that starts it; None: this event started it before.
    """
    known = draft.data.residuals.get(event.number)
    if known and known.settled and known.settled.undo_id == event.undo_id:
        return None
    residual = _open(draft, event)
    number = draft.plan.number[residual.fence.step]
    if draft.steps[number].state is StepState.COMPENSATING:
        raise Refusal(
            f"the undo of step {residual.fence.step} is not through, and may be "
            "undoing just this effect; wait for it, retry it or resolve it first"
        )
    if not draft.plan.steps[number].compensation:
        raise Refusal(
            f"step {residual.fence.step} has no compensation; undo residual "
            f"{event.number} by hand, then dismiss it"
        )
    _settle(draft, residual, event, HistoryKind.RESIDUAL_UNDO_REQUESTED)
    return _start_undo(saga, residual, event, draft.now)


def unknown_residual(number: int, known: Iterable[int]) -> str:
    """Return what a person is told who asks about a residual that is not there."""
    numbers = ", ".join(map(str, sorted(known)))
    there = f"its residuals are {numbers}" if numbers else "it has none"
    return f"it has no residual {number}; {there}"


def _open(draft: Draft, event: ResidualRequested) -> Residual:
    residual = draft.data.residuals.get(event.number)
    if residual is None:
        raise Refusal(unknown_residual(event.number, draft.data.residuals))
    settled = residual.settled
    if settled is not None and settled.undo_id is not None:
        raise Refusal(
            f"residual {event.number} was handed over: its undo is saga "
            f"{settled.undo_id}, as {settled.principal} asked"
        )
    if settled is not None:
        raise Refusal(f"residual {event.number} was dismissed by {settled.principal}")
    return residual


def _settle(
    draft: Draft, residual: Residual, event: ResidualRequested, kind: HistoryKind
) -> None:
    undo_id = event.undo_id if isinstance(event, ResidualUndoRequested) else None
    draft.record(
        kind,
        draft.plan.number[residual.fence.step],
        principal=event.principal,
        reason=event.reason,
        residual=residual.number,
        undo_id=undo_id,
    )
    draft.history[-1].direction = residual.fence.direction
    draft.history[-1].generation = residual.fence.generation
    settlement = Settlement(draft.now, event.principal, event.reason, undo_id)
    draft.settle_residual(residual, settlement)


def _start_undo(
    saga: Saga, residual: Residual, event: ResidualUndoRequested, now: dt.datetime
) -> Decision:
    step = residual.fence.step
    plan = undo_plan(saga.plan, step)
    undo = Saga.new(event.undo_id, plan, event.data.context, now, undoes=saga.id)
    draft = Draft(undo, now)
    draft.record(HistoryKind.SAGA_STARTED)
    outputs = {**event.data.outputs, step: residual.output}
    for number, given in enumerate(plan.steps):
        _give(draft, number, outputs.get(given.name))
    draft.record(
        HistoryKind.COMPENSATE_REQUESTED,
        principal=event.principal,
        reason=event.reason,
    )
    about = f"residual {residual.number} of saga {saga.id}: {event.reason}"
    abort(draft, about[:500], force=True)
    return replace(draft.finish(), created=True)


def undo_plan(plan: Plan, step: str) -> Plan:
    """Return the plan that undoes one step: it, behind those whose output it reads.

    Its direct dependencies stay what they were, for their outputs travel with the
    command; what only its input refers to stands behind them.
    """
    number = plan.number[step]
    direct = [plan.steps[i].name for i in plan.depends_on[number]]
    others = sorted(plan.reads[number] - set(direct))
    given = [Step(name, depends_on=others) for name in direct]
    undone = dataclasses.replace(
        plan.steps[number], depends_on=direct, when=None, pivot=False
    )
    steps = [*map(Step, others), *given, undone]
    return compile_plan(SagaDefinition(plan.definition.name, steps=steps))


def _give(draft: Draft, number: int, output: Json) -> None:
    """Count a step as done before this saga began."""
    draft.change(
        number,
        state=StepState.COMPLETED,
        outcome=Outcome.SUCCEEDED,
        mark=draft.seq + 1,
    )
    draft.record(HistoryKind.STEP_SUCCEEDED, number, output=output)
