"""``decide(saga, event, now) -> Decision``: the engine's whole judgement.

Pure: no clock, no randomness, no input or output. A store calls it inside a
transaction, with the saga's row locked, and performs the decision whole or
not at all. The table, by the saga's state:

===================  ==============  ==================  ==============  =========
event                started         compensating        failed          ended
===================  ==============  ==================  ==============  =========
action succeeded     completes, the  joins the undo, or  completes, or   residual
                     first wins      a residual          a residual
action failed        retry, else     step failed         ignored         ignored
                     abort or stop
undo succeeded       --              compensated         compensated     ignored
undo failed          --              retry, else halt    ignored         ignored
                                     or continue
deadline             abort or stop   ignored             ignored         ignored
compensate           abort; pivot:   no change           undo starts or  no change;
                     force                               resumes         force
retry                refused         refused             again, fresh    refused
resolve              refused         refused             counts as done  refused
give up waiting      unknown, now    unknown, now        refused         refused
residual: undo, or   settled, state  settled             settled         settled
dismiss              unchanged
===================  ==============  ==================  ==============  =========

A person's request that was applied before, by its id, changes nothing and is not
refused. Anything else is ignored and counted. "Ended" is completed or compensated.
Answers of a generation that was never sent are ignored whatever they say.
"""

from __future__ import annotations

import datetime as dt
from typing import assert_never

from msgspec.structs import replace

from saga_orchestrator.core.answers import (
    decide_acceptance,
    decide_failure,
    decide_postponement,
    decide_skip,
    decide_success,
)
from saga_orchestrator.core.decision import Decision, HistoryKind, Ignored
from saga_orchestrator.core.draft import Draft
from saga_orchestrator.core.events import (
    Answered,
    CompensateRequested,
    Event,
    GiveUpRequested,
    Requested,
    ResendRequested,
    ResidualDismissRequested,
    ResidualUndoRequested,
    ResolveRequested,
    RetryRequested,
    SagaStarted,
    StepAccepted,
    StepFailed,
    StepHeartbeat,
    StepPostponed,
    StepSkipped,
    StepSucceeded,
    TimeCame,
)
from saga_orchestrator.core.forward import advance
from saga_orchestrator.core.readiness import unreadable_start
from saga_orchestrator.core.refusal import Refusal
from saga_orchestrator.core.requests import (
    decide_compensate,
    decide_give_up,
    decide_resolve,
    decide_retry,
)
from saga_orchestrator.core.residuals import dismiss_residual, undo_residual
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.timers import decide_resend, decide_time
from saga_orchestrator.errors import (
    KeyConflict,
    SagaNotFoundError,
    StaleVersionError,
    TransitionRefused,
)


def decide(saga: Saga | None, event: Event, now: dt.datetime) -> Decision:
    """Judge one event.

    Args:
        saga: the snapshot the event is about, with the data that the plan's
            conditions read; for ``SagaStarted`` the saga that holds its id or
            key; None: there is none.
        event: what happened.
        now: aware UTC instant, by the store's clock.

    Returns:
        What to save, record and send. The same event again decides "ignored".
    """
    if isinstance(event, SagaStarted):
        return _decide_start(saga, event, now)
    if saga is None:
        return _decide_unknown_saga(event, now)
    draft = Draft(saga, now)
    if isinstance(event, Answered):
        _decide_answer(draft, event)
    elif isinstance(event, TimeCame):
        decide_time(draft)
    elif isinstance(event, ResendRequested):
        decide_resend(draft)
    else:
        return _decide_request(saga, draft, event)
    return draft.finish()


def _decide_start(
    existing: Saga | None, event: SagaStarted, now: dt.datetime
) -> Decision:
    if existing is not None:
        if existing.fingerprint == event.fingerprint:
            return Decision(existing)
        conflict = KeyConflict(existing.name, event.key or existing.id, existing.id)
        return Decision(existing, refusal=conflict)
    unreadable = unreadable_start(event.plan, event.context)
    if unreadable is not None:
        return Decision(None, refusal=unreadable)
    saga = Saga.new(
        event.saga_id,
        event.plan,
        event.context,
        now,
        key=event.key,
        fingerprint=event.fingerprint,
    )
    draft = Draft(saga, now)
    draft.record(HistoryKind.SAGA_STARTED, traceparent=event.traceparent or None)
    roots = (i for i, waits in enumerate(event.plan.depends_on) if not waits)
    advance(draft, roots)
    return replace(draft.finish(), created=True)


def _decide_answer(draft: Draft, event: Answered) -> None:
    number = draft.plan.number.get(event.fence.step)
    if number is None:
        draft.ignore(event, "the saga has no such step")
        return
    if not 1 <= event.fence.generation <= draft.steps[number].generation:
        draft.ignore(event, "never sent")
        return
    match event:
        case StepSucceeded():
            decide_success(draft, number, event)
        case StepSkipped():
            decide_skip(draft, number, event)
        case StepFailed():
            decide_failure(draft, number, event)
        case StepPostponed():
            decide_postponement(draft, number, event)
        case StepAccepted() | StepHeartbeat():
            decide_acceptance(draft, number, event)
        case _:
            assert_never(event)


def _decide_request(saga: Saga, draft: Draft, event: Requested) -> Decision:
    if event.request_id and event.request_id in saga.data.requests:
        return Decision(saga)  # its first commit went through, unheard
    if event.if_version not in (None, saga.version):
        stale = StaleVersionError(saga.id, saga.state, event.if_version, saga.version)
        return Decision(saga, refusal=stale)
    started: Decision | None = None
    try:
        match event:
            case CompensateRequested():
                decide_compensate(draft, event)
            case RetryRequested():
                decide_retry(draft, event)
            case ResolveRequested():
                decide_resolve(draft, event)
            case GiveUpRequested():
                decide_give_up(draft, event)
            case ResidualDismissRequested():
                dismiss_residual(draft, event)
            case ResidualUndoRequested():
                started = undo_residual(saga, draft, event)
            case _:
                assert_never(event)
    except Refusal as refusal:
        error = TransitionRefused(saga.id, saga.state, str(refusal))
        return Decision(saga, refusal=error)
    draft.sign(event.request_id)
    return replace(draft.finish(), started=started)


def _decide_unknown_saga(event: Event, now: dt.datetime) -> Decision:
    match event:
        case (
            CompensateRequested()
            | RetryRequested()
            | ResolveRequested()
            | GiveUpRequested()
            | ResidualUndoRequested()
            | ResidualDismissRequested()
        ):
            return Decision(None, refusal=SagaNotFoundError(event.saga_id))
        case TimeCame() | ResendRequested() | SagaStarted():
            return Decision(None)
        case _:
            name = type(event).__name__
            return Decision(
                None, ignored=Ignored(0, now, "unknown saga", event.fence, name)
            )
