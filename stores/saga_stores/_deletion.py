"""When a saga may be deleted: the rule that every store asks."""

from __future__ import annotations

from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import ENDED
from saga_orchestrator.errors import TransitionRefused


def require_deletable(saga: Saga, *, has_commands: bool) -> None:
    """Refuse to delete what somebody still needs.

    Args:
        saga: its snapshot, locked.
        has_commands: some command of it is in the outbox.

    Raises:
        TransitionRefused: says what has to be done first.
    """
    if saga.state not in ENDED:
        problem = "only completed and compensated sagas can be deleted"
    elif saga.residuals:
        problem = "it has an open residual; undo or dismiss it first"
    elif has_commands:
        problem = "a command of it is not settled yet; try again later"
    else:
        return
    raise TransitionRefused(saga.id, saga.state, problem)
