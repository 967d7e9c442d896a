"""Going forward: send what is ready, skip, complete; stop; abort."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.draft import Draft
from saga_orchestrator.core.payload import is_same
from saga_orchestrator.core.references import MissingPathError, lookup, step_in
from saga_orchestrator.core.states import (
    SATISFIED,
    Direction,
    Outcome,
    Phase,
    SagaState,
    StepState,
)
from saga_orchestrator.core.unwind import unwind


def advance(draft: Draft, candidates: Iterable[int]) -> None:
    """Send those of the candidates whose turn has come, and end what is done.

    Args:
        draft: a saga that is started.
        candidates: numbers of steps that may have become ready.
    """
    if not draft.halting:
        queue = deque(candidates)
        while queue:
            number = queue.popleft()
            if _is_ready(draft, number):
                queue.extend(_take_turn(draft, number))
    settle(draft)


def settle(draft: Draft) -> None:
    """End a started saga that has nothing left to do or to wait for."""
    if draft.state is not SagaState.STARTED or draft.sent_something:
        return
    # From the end: in a sequence the last step is the last to be done.
    if all(status.state in SATISFIED for status in reversed(draft.steps)):
        draft.halting = False
        draft.enter(SagaState.COMPLETED)
    elif not any(status.is_open for status in draft.steps):
        draft.halting = False
        draft.reason = draft.reason or _what_failed(draft)
        draft.enter(SagaState.FAILED)


def abort(draft: Draft, reason: str, *, force: bool = False) -> None:
    """Turn back: no action is sent any more, and what was done is undone.

    Past the pivot there is no way back but by force: the saga stops instead.
    """
    if draft.pivot_passed and not force:
        halt(draft, f"{reason}; past the pivot it cannot be undone")
        return
    draft.reason = reason
    draft.halting = False
    draft.direction = Direction.COMPENSATION
    draft.enter(SagaState.COMPENSATING)
    _settle_waiting(draft)
    unwind(draft)


def halt(draft: Draft, reason: str) -> None:
    """Stop as ``failed`` for a person, once nothing is in flight."""
    draft.reason = reason
    draft.halting = True
    _settle_waiting(draft)
    settle(draft)


def _is_ready(draft: Draft, number: int) -> bool:
    steps = draft.steps
    if steps[number].state is not StepState.PENDING:
        return False
    return all(steps[i].state in SATISFIED for i in draft.plan.depends_on[number])


def _take_turn(draft: Draft, number: int) -> Iterable[int]:
    """Send, skip or complete a ready step; return who may be ready because of it."""
    step = draft.plan.steps[number]
    unmet = _unmet_condition(draft, number)
    if unmet is not None:
        draft.change(number, state=StepState.SKIPPED)
        draft.record(HistoryKind.STEP_SKIPPED, number, reason=unmet)
    elif step.action:
        draft.send(number, Direction.ACTION, attempt=1)
        return ()
    else:
        draft.change(
            number,
            state=StepState.COMPLETED,
            outcome=Outcome.SUCCEEDED,
            mark=draft.seq + 1,
        )
        draft.keep_output(number, None)
        draft.record(HistoryKind.STEP_SUCCEEDED, number)
    return draft.plan.dependents[number]


def _what_failed(draft: Draft) -> str:
    pairs = zip(draft.plan.steps, draft.steps, strict=True)
    names = [step.name for step, status in pairs if status.state is StepState.FAILED]
    return f"still failed: {', '.join(names)}"[:500]


def _unmet_condition(draft: Draft, number: int) -> str | None:
    conditions = draft.plan.steps[number].when
    if not conditions:
        return None
    # A skipped step has the output None.
    reads = (step_in(path) for path in conditions)
    outputs = dict.fromkeys(filter(None, reads)) | dict(draft.data.outputs)
    for path, expected in conditions.items():
        try:
            found = lookup(path, draft.data.context, outputs)
        except MissingPathError as error:
            return f"when: {error}"
        if not is_same(found, expected):
            return f"when: {path} is {found!r}, not {expected!r}"[:500]
    return None


def _settle_waiting(draft: Draft) -> None:
    """Settle the actions that wait to retry: they are not sent again.

    One that was only ever put off has no outcome yet; as nobody knows what its
    handler began, it counts as unknown.
    """
    for number, status in enumerate(draft.steps):
        if status.state is StepState.STARTED and status.phase is Phase.WAITING:
            outcome = status.outcome
            if outcome is Outcome.NONE:
                outcome = Outcome.UNKNOWN
            draft.settle(number, state=StepState.FAILED, outcome=outcome)
