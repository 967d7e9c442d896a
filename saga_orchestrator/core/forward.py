"""Going forward: send what is ready, skip, complete; stop; abort."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.draft import Draft
from saga_orchestrator.core.payload import Json, is_same
from saga_orchestrator.core.references import MissingPathError, lookup
from saga_orchestrator.core.saga import is_of_skipped
from saga_orchestrator.core.states import (
    SATISFIED,
    Direction,
    Outcome,
    Phase,
    SagaState,
    StepState,
)
from saga_orchestrator.core.unwind import unwind


def advance(
    draft: Draft, candidates: Iterable[int], *, again: Iterable[int] = ()
) -> None:
    """Send those of the candidates whose turn has come, and end what is done.

    All conditions are judged before anything is sent: an event that aborts a
    saga must not send an action as well.

    Args:
        draft: a saga that is started.
        candidates: numbers of steps that may have become ready.
        again: numbers of steps to send again, whose turn had come before.
    """
    ready = dict.fromkeys(again)  # in order, each once
    queue = deque(() if draft.halting else candidates)
    while queue:
        number = queue.popleft()
        if not _is_ready(draft, number):
            continue
        try:
            unmet = _unmet_condition(draft, number)
        except MissingPathError as error:
            _refuse(draft, number, f"when: {error}")
            return
        if unmet is None and draft.plan.steps[number].action:
            ready[number] = None
        else:
            _pass_over(draft, number, unmet)
            queue.extend(draft.plan.dependents[number])
    for number in ready:
        draft.send(number, Direction.ACTION, attempt=1)
    settle(draft)


def settle(draft: Draft) -> None:
    """End a started saga that has nothing left to do or to wait for."""
    if draft.state is not SagaState.STARTED or draft.sent_something:
        return
    # From the end: in a sequence the last step is the last to be done.
    if all(status.state in SATISFIED for status in reversed(draft.steps)):
        draft.halting = False
        draft.reason = ""  # of a halt that came while the last step ran
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


def give_up_action(draft: Draft, number: int, outcome: Outcome, reason: str) -> None:
    """Note that an action gave up, and let the saga take the consequence."""
    draft.settle(number, state=StepState.FAILED, outcome=outcome)
    if draft.state is SagaState.COMPENSATING:
        unwind(draft)
    elif draft.halting:
        settle(draft)
    elif draft.plan.definition.on_failure == "park":
        halt(draft, reason)
    else:
        abort(draft, reason)


def _refuse(draft: Draft, number: int, problem: str) -> None:
    """Give up a step whose condition cannot be judged: it was never sent."""
    draft.record(HistoryKind.STEP_FAILED, number, error=problem, refused=True)
    reason = f"step {draft.plan.steps[number].name}: {problem}"[:500]
    give_up_action(draft, number, Outcome.REFUSED, reason)


def _is_ready(draft: Draft, number: int) -> bool:
    steps = draft.steps
    if steps[number].state is not StepState.PENDING:
        return False
    return all(steps[i].state in SATISFIED for i in draft.plan.depends_on[number])


def _pass_over(draft: Draft, number: int, unmet: str | None) -> None:
    """Skip a step whose condition does not hold; complete one without an action."""
    if unmet is not None:
        draft.change(number, state=StepState.SKIPPED)
        draft.record(HistoryKind.STEP_SKIPPED, number, reason=unmet)
        return
    draft.change(
        number,
        state=StepState.COMPLETED,
        outcome=Outcome.SUCCEEDED,
        mark=draft.seq + 1,
    )
    draft.keep_output(number, None)
    draft.record(HistoryKind.STEP_SUCCEEDED, number)


def _what_failed(draft: Draft) -> str:
    pairs = zip(draft.plan.steps, draft.steps, strict=True)
    names = [step.name for step, status in pairs if status.state is StepState.FAILED]
    return f"still failed: {', '.join(names)}"[:500]


def _unmet_condition(draft: Draft, number: int) -> str | None:
    """Return the first condition that does not hold.

    Raises:
        MissingPathError: one reads what is not there. Neither answer is safe
            then: a misspelt path must not skip the step that checks for fraud.
    """
    conditions = draft.plan.steps[number].when
    if not conditions:
        return None
    for path, expected in conditions.items():
        skipped = is_of_skipped(draft.plan, draft.steps, path)
        found = None if skipped else _found(draft, path)
        if not is_same(found, expected):
            return f"when: {path} is {found!r}, not {expected!r}"[:500]
    return None


def _found(draft: Draft, path: str) -> Json:
    return lookup(path, draft.data.context, draft.data.outputs)


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
