"""Bugs in the rules: what ``decide`` would do wrong."""

from __future__ import annotations

import datetime as dt
from typing import Any

from saga_orchestrator.core import answers, decide, forward, timers, unwind
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.definition import Step
from saga_orchestrator.core.draft import Draft
from saga_orchestrator.core.events import StepFailed, StepSkipped, StepSucceeded
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.core.saga import StepStatus, needs_undo
from saga_orchestrator.core.states import Outcome, Phase, StepState
from saga_stores.memory import loading
from tests.mutants.mutant import Mutant, replacing

_EARLY = dt.timedelta(seconds=20)
_NEVER = dt.timedelta(days=3650)

_action_succeeded = answers._action_succeeded
_age = unwind._age
_allows = RetryPolicy.allows
_earliest = Draft._earliest
_fail_attempt = answers.fail_attempt
_fire_phase = timers._fire_phase
_limit_at = Draft.limit_at


def _undo_of_known_only(step: Step, status: StepStatus) -> bool:
    return status.outcome is not Outcome.UNKNOWN and needs_undo(step, status)


def _oldest_first(draft: Draft, number: int) -> tuple[int, bool, int]:
    mark, unsure, place = _age(draft, number)
    return -mark, not unsure, -place


def _no_late_success(draft: Draft, number: int, event: StepSucceeded) -> None:
    if draft.steps[number].state is StepState.FAILED:
        draft.ignore(event, "late")
    else:
        _action_succeeded(draft, number, event)


def _any_generation(draft: Draft, number: int, event: Any) -> bool:
    if draft.steps[number].is_in_flight:
        return True
    draft.ignore(event, "not in flight")
    return False


def _limit_is_early(draft: Draft, status: StepStatus, number: int) -> dt.datetime:
    return _limit_at(draft, status, number) - _EARLY


def _resends_as_new(draft: Draft, number: int) -> None:
    draft.send(number, draft.steps[number].direction, draft.steps[number].attempt)


def _retry_is_not_sent(draft: Draft, number: int) -> None:
    waiting = draft.steps[number].phase is Phase.WAITING
    _fire_phase(draft, number)
    if waiting:
        draft.history[-1].sent.clear()


def _forgets_to_wake(draft: Draft) -> dt.datetime | None:
    waits = any(status.phase is Phase.WAITING for status in draft.steps)
    return None if waits else _earliest(draft)


def _refusal_clears_unknown(
    draft: Draft, number: int, failure: StepFailed, *rest: Any, **data: Any
) -> None:
    if failure.refused and draft.steps[number].outcome is Outcome.UNKNOWN:
        draft.change(number, outcome=Outcome.NONE)
    _fail_attempt(draft, number, failure, *rest, **data)


def _failed_undo_is_done(draft: Draft, number: int, reason: str) -> None:
    del reason
    draft.settle(number, state=StepState.COMPENSATED)
    unwind.unwind(draft)


def _skip_is_success(draft: Draft, number: int, event: StepSkipped) -> None:
    answers.decide_success(draft, number, StepSucceeded(event.fence))


def _all_ready(draft: Draft, number: int) -> bool:
    return draft.steps[number].state is StepState.PENDING


def _residual_is_dropped(draft: Draft, fence: Any, output: Any) -> None:
    del fence, output


def _deadline_is_forgotten(draft: Draft) -> None:
    if draft.deadline_at is not None and draft.deadline_at <= draft.now:
        draft.record(HistoryKind.DEADLINE_PASSED)
        draft.deadline_at = None


RULES = (
    Mutant(
        "an undo ignores unknown outcomes",
        replacing((unwind, "needs_undo", _undo_of_known_only)),
    ),
    Mutant("undo goes in start order", replacing((unwind, "_age", _oldest_first))),
    Mutant(
        "a late success is dropped",
        replacing((answers, "_action_succeeded", _no_late_success)),
    ),
    Mutant(
        "the fence has no generation",
        replacing((answers, "_is_current", _any_generation)),
    ),
    Mutant("a limit fires early", replacing((Draft, "limit_at", _limit_is_early))),
    Mutant(
        "a resend takes a new generation", replacing((Draft, "resend", _resends_as_new))
    ),
    Mutant(
        "a success that was told is not remembered",
        replacing((Draft, "hear", lambda *_: None)),
    ),
    Mutant(
        "a retry is recorded and not sent",
        replacing((timers, "_fire_phase", _retry_is_not_sent)),
    ),
    Mutant(
        "nobody wakes a saga that waits to retry",
        replacing((Draft, "_earliest", _forgets_to_wake)),
    ),
    Mutant(
        "a refusal clears an unknown outcome",
        replacing(
            (answers, "fail_attempt", _refusal_clears_unknown),
            (timers, "fail_attempt", _refusal_clears_unknown),
        ),
    ),
    Mutant(
        "what was put off stays refused",
        replacing((answers, "_left_open", lambda status: status.outcome)),
    ),
    Mutant(
        "actions are retried after the abort",
        replacing(
            (answers, "_may_send", lambda *_: True),
            (forward, "_settle_waiting", lambda *_: None),
        ),
    ),
    Mutant(
        "a saga ends while an undo is out",
        replacing((unwind, "_is_open_undo", lambda _: False)),
    ),
    Mutant(
        "an undo that gives up counts as done",
        replacing((answers, "give_up_undo", _failed_undo_is_done)),
    ),
    Mutant(
        "the key of a start is not looked up",
        replacing((loading, "start_keys", lambda _: [])),
    ),
    Mutant(
        "the pivot is forgotten",
        replacing((Draft, "pivot_passed", property(lambda _: False))),
    ),
    Mutant(
        "retries do not back off",
        replacing((RetryPolicy, "delay_after", lambda *_: dt.timedelta(0))),
    ),
    Mutant(
        "one attempt too many",
        replacing((RetryPolicy, "allows", lambda p, n: _allows(p, n - 1))),
    ),
    Mutant(
        "a step that skipped itself counts as done",
        replacing((decide, "decide_skip", _skip_is_success)),
    ),
    Mutant(
        "steps do not wait for what they depend on",
        replacing((forward, "_is_ready", _all_ready)),
    ),
    Mutant(
        "what comes too late leaves no residual",
        replacing((Draft, "open_residual", _residual_is_dropped)),
    ),
    Mutant(
        "an unanswered command is never sent again",
        replacing((Draft, "resend_delay", lambda *_: _NEVER)),
    ),
    Mutant(
        "a deadline passes without consequence",
        replacing((timers, "_fire_deadline", _deadline_is_forgotten)),
    ),
    Mutant("context updates are lost", replacing((Draft, "merge", lambda *_: None))),
)
