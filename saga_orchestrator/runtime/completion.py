"""Answers from outside, for steps whose handler answered ``Deferred``.

They go through the commit pipeline as every answer does, so the state table judges
them: the first one wins, a repetition changes nothing, a late success is kept as a
residual. Who calls is told which it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from saga_orchestrator.core.decision import Decision, HistoryEntry, HistoryKind
from saga_orchestrator.core.events import (
    Answered,
    StepFailed,
    StepHeartbeat,
    StepSucceeded,
)
from saga_orchestrator.core.fence import Fence, is_genuine, read_completion_token
from saga_orchestrator.core.payload import Json, is_same, normalise
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import Direction
from saga_orchestrator.errors import (
    ForgedReplyError,
    NotAwaitedError,
    PayloadError,
    SagaNotFoundError,
)
from saga_orchestrator.runtime.operator import PATIENCE_SECONDS, Operator, checked_id
from saga_orchestrator.runtime.starting import checked_text

ERROR_CHARS_MAX = 2_000
ERROR_TYPE_CHARS_MAX = 200
_NOTHING: Mapping[str, Json] = {}


class Completer(Operator):
    """Takes answers from outside.

    All methods take the saga and the step, and ``ctx.completion_token`` of the run
    that is answered. They raise:

    ForgedReplyError: the token was not issued for this saga and step.
    PayloadError: a value cannot travel as JSON; names it.
    SagaNotFoundError: there is no such saga any more.
    NotAwaitedError: nobody waits for the answer; the saga's state is unchanged.
    StoreUnavailableError: the store stayed away; it is safe to call again.

    The same answer again returns as the first one did, and changes nothing.
    """

    async def complete_step(
        self,
        saga_id: str,
        step: str,
        token: str,
        *,
        output: Json = None,
        update: Mapping[str, Json] = _NOTHING,
    ) -> Saga:
        """Answer that the step is done, or, in a compensation, undone.

        Args:
            saga_id: ``ctx.fence.saga_id``.
            step: its step.
            token: its ``completion_token``.
            output: what the handler would have returned.
            update: keys to merge into the saga's context; None deletes one.
        """
        fence = self._fence(saga_id, step, token)
        event = StepSucceeded(fence, normalise(output, "output"), _update(update))
        return await self._answer(event)

    async def fail_step(
        self,
        saga_id: str,
        step: str,
        token: str,
        *,
        error: str,
        error_type: str = "StepFailed",
        refused: bool = True,
        retryable: bool | None = None,
        update: Mapping[str, Json] = _NOTHING,
    ) -> Saga:
        """Answer that the attempt failed.

        Args:
            saga_id: ``ctx.fence.saga_id``.
            step: its step.
            token: its ``completion_token``.
            error: why, for people.
            error_type: compared with the retry policy's ``non_retryable``.
            refused: a definite no: nothing happened. False: it may have.
            retryable: try again by the step's retry policy; None: unless refused.
            update: keys to merge into the saga's context; None deletes one.
        """
        fence = self._fence(saga_id, step, token)
        event = StepFailed(
            fence,
            refused=refused,
            error_type=checked_text(error_type, "error_type", ERROR_TYPE_CHARS_MAX),
            error=checked_text(error, "error", ERROR_CHARS_MAX),
            retryable=not refused if retryable is None else retryable,
            update=_update(update),
        )
        return await self._answer(event)

    async def heartbeat_step(self, saga_id: str, step: str, token: str) -> Saga:
        """Say that the work goes on.

        After the first one 60 seconds of silence count as a lost run; without any,
        only the step's limit bounds the wait.
        """
        return await self._answer(StepHeartbeat(self._fence(saga_id, step, token)))

    def _fence(self, saga_id: str, step: str, token: str) -> Fence:
        checked = checked_id(saga_id)
        found = read_completion_token(checked, step, token)
        if found is None or not is_genuine(self._store.secret, *found):
            raise ForgedReplyError(
                f"token: was not issued for step {step!r} of saga {saga_id}; pass the "
                "completion_token that the handler was given, with its saga and step"
            )
        return found[0]

    async def _answer(self, event: Answered) -> Saga:
        decision = await self._commits.submit(event, patience=PATIENCE_SECONDS)
        saga = decision.saga
        if saga is None:
            raise SagaNotFoundError(event.saga_id)
        if decision.residual is not None:
            raise NotAwaitedError(
                saga.id, saga.state, _why(decision), decision.residual.number
            )
        if decision.ignored is None:
            return saga
        record = await self._record(saga.id)
        for entry in record.history:
            if _is_of(entry, event) and not _is_another(entry, event, saga):
                return record.saga
        number = _kept_as(record.residuals, event)
        why = _why(decision) if number is None else "late, and told before"
        raise NotAwaitedError(saga.id, saga.state, why, number)


def _why(decision: Decision) -> str:
    reason = decision.ignored.reason if decision.ignored else "late"
    if reason == "repeated":
        return "the step was answered before, with another answer"
    return reason


def _is_of(entry: HistoryEntry, event: Answered) -> bool:
    """Tell whether an entry was made by this very answer."""
    fence = event.fence
    place = (entry.step, entry.direction, entry.generation)
    if place != (fence.step, fence.direction, fence.generation):
        return False
    match event:
        case StepSucceeded():
            told: dict[str, Any] = {}
            if fence.direction is Direction.ACTION:  # an undo's are not kept
                told = {"output": event.output, "update": dict(event.update) or None}
            kind = HistoryKind.STEP_SUCCEEDED
        case StepFailed():
            told = {
                "error_type": event.error_type,
                "error": event.error,
                "update": dict(event.update) or None,
            }
            kind = HistoryKind.STEP_FAILED
        case _:
            return False
    return entry.kind is kind and all(
        is_same(entry.data.get(name), value) for name, value in told.items()
    )


def _is_another(entry: HistoryEntry, event: Answered, saga: Saga) -> bool:
    """Tell whether an entry took a failure for what this one does not say it is."""
    if not isinstance(event, StepFailed):
        return False
    step = saga.plan.steps[saga.plan.number[event.fence.step]]
    forward = event.fence.direction is Direction.ACTION
    policy = step.retry if forward else step.compensation_retry
    refused = event.refused or event.error_type in policy.non_retryable
    is_tried_again = entry.data.get("retry_at") is not None
    return entry.data.get("refused") != refused or (
        is_tried_again and not event.retryable
    )


def _kept_as(residuals: Sequence[Residual], event: Answered) -> int | None:
    """Return the number of the residual that keeps this very answer."""
    if not isinstance(event, StepSucceeded):
        return None
    for one in residuals:
        if one.fence == event.fence and is_same(one.output, event.output):
            return one.number
    return None


def _update(update: object) -> dict[str, Json]:
    if not isinstance(update, Mapping):
        raise PayloadError("update", "must be an object of keys to merge")
    merged: dict[str, Json] = normalise(update, "update")
    return merged
