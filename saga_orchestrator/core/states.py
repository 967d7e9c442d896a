"""The two state machines: a saga's and a step's.

A saga::

    started --------> completed
    started --------> compensating        the abort, also with nothing to undo
    started --------> failed              a person must look
    compensating ---> compensated
    compensating ---> failed              an undo gave up
    failed ---------> started             operator: retry, resolve
    failed ---------> compensating        operator: compensate, retry, resolve
    completed ------> compensating        operator: compensate with force

A step::

    pending --------> started             its command is sent
    pending --------> skipped             its condition does not hold
    pending --------> completed           it has no action
    pending --------> failed              its condition cannot be judged
    started --------> completed           the action succeeded
    started --------> skipped             the handler answered Skip
    started --------> failed              it gave up, or the saga was aborted
    failed ---------> completed           a late success, or resolved
    failed ---------> started             operator: retry
    failed ---------> pending             operator: retry, where it was never sent
    failed ---------> compensating        undone, for it may have happened
    completed ------> compensating        its undo is sent
    compensating ---> compensated         its undo succeeded, or resolved
    completed ------> compensated         resolved
    failed ---------> compensated         resolved

``tests/unit/core/test_states.py`` holds this text to the tables below.
"""

from __future__ import annotations

from enum import StrEnum


class SagaState(StrEnum):
    """Where a saga stands."""

    STARTED = "started"
    """Going forward: from ``start``, or from ``failed`` by an operator."""
    COMPLETED = "completed"
    """Every step completed or was skipped. Left only by force."""
    COMPENSATING = "compensating"
    """Aborted; what was done is being undone."""
    COMPENSATED = "compensated"
    """Everything that had to be undone was. Never left."""
    FAILED = "failed"
    """Stopped with nothing in flight; a person must look. Still active."""


class StepState(StrEnum):
    """Where a step stands."""

    PENDING = "pending"
    STARTED = "started"
    """Its action was sent and has not ended; also while it waits to retry."""
    COMPLETED = "completed"
    FAILED = "failed"
    """Its action gave up. The outcome says whether it may have happened."""
    SKIPPED = "skipped"
    COMPENSATING = "compensating"
    """Its undo was sent; it stays here when the undo gives up."""
    COMPENSATED = "compensated"


class Outcome(StrEnum):
    """What is known of a step's action; beside its state, and sticky."""

    NONE = "none"
    """Never dispatched, or no answer yet."""
    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    """A definite no: nothing happened."""
    UNKNOWN = "unknown"
    """It may have happened. A later refusal does not clear it."""


class Phase(StrEnum):
    """What a step's current dispatch waits for."""

    IDLE = "idle"
    """Nothing is open."""
    SENT = "sent"
    """A command is out; its answer, or a resend, is awaited."""
    WAITING = "waiting"
    """The next attempt is due at ``due_at``."""
    ACCEPTED = "accepted"
    """A participant took it and answers later: heartbeats or from outside."""
    GAVE_UP = "gave_up"
    """The undo gave up; only for steps that are compensating."""


class Direction(StrEnum):
    """Which of a step's two handlers a dispatch is for."""

    ACTION = "action"
    COMPENSATION = "compensation"


SAGA_EDGES: dict[SagaState, frozenset[SagaState]] = {
    SagaState.STARTED: frozenset(
        {SagaState.COMPLETED, SagaState.COMPENSATING, SagaState.FAILED}
    ),
    SagaState.COMPENSATING: frozenset({SagaState.COMPENSATED, SagaState.FAILED}),
    SagaState.FAILED: frozenset({SagaState.STARTED, SagaState.COMPENSATING}),
    SagaState.COMPLETED: frozenset({SagaState.COMPENSATING}),
    SagaState.COMPENSATED: frozenset(),
}

STEP_EDGES: dict[StepState, frozenset[StepState]] = {
    StepState.PENDING: frozenset(
        {StepState.STARTED, StepState.SKIPPED, StepState.COMPLETED, StepState.FAILED}
    ),
    StepState.STARTED: frozenset(
        {StepState.COMPLETED, StepState.SKIPPED, StepState.FAILED}
    ),
    StepState.FAILED: frozenset(
        {
            StepState.COMPLETED,
            StepState.STARTED,
            StepState.PENDING,
            StepState.COMPENSATING,
            StepState.COMPENSATED,
        }
    ),
    StepState.COMPLETED: frozenset({StepState.COMPENSATING, StepState.COMPENSATED}),
    StepState.COMPENSATING: frozenset({StepState.COMPENSATED}),
    StepState.SKIPPED: frozenset(),
    StepState.COMPENSATED: frozenset(),
}

ENDED = frozenset({SagaState.COMPLETED, SagaState.COMPENSATED})
"""The states a saga normally stays in; ``failed`` waits for a person."""

ACTIVE = frozenset(SagaState) - ENDED
"""What ``list_active`` lists; ``failed`` is among them."""

SATISFIED = frozenset({StepState.COMPLETED, StepState.SKIPPED})
"""A dependency in one of these lets its dependents go."""

OPEN = frozenset(Phase) - {Phase.IDLE, Phase.GAVE_UP}
"""A dispatch is out, or a retry is due."""

UNDO = frozenset({StepState.COMPENSATING, StepState.COMPENSATED})
"""A step in one of these was last dispatched to be undone."""

IN_FLIGHT = frozenset({Phase.SENT, Phase.ACCEPTED})
"""A participant may be at work right now."""
