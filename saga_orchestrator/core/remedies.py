"""What to do about a saga that waits: a line for each reason. Pure."""

from __future__ import annotations

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.waiting import Wait, WaitReason

_GIVE_UP = "`saga give-up {id} {step} --reason TEXT` counts it as unknown"
_GO_ON = (
    "`saga retry {id} --reason TEXT` tries again; `saga get {id}` lists what else "
    "leads it on"
)

_REMEDIES = {
    WaitReason.RETRYING: "nothing: its next attempt comes by itself",
    WaitReason.UNANSWERED: (
        "look at the log of the service that handles {action}; it is sent again by "
        f"itself, and {_GIVE_UP}"
    ),
    WaitReason.QUEUED: "run more workers for {action}, or give them more concurrency",
    WaitReason.NO_CONSUMER: "start a worker for {action}: nobody reads its queue",
    WaitReason.RUNNING: f"nothing, if {{action}} takes long; {_GIVE_UP}",
    WaitReason.DEFERRED: f"have {{action}} completed from outside; {_GIVE_UP}",
    WaitReason.UNPUBLISHED: (
        "is `saga serve` running on this store, and its broker well? `saga doctor` "
        "looks at both"
    ),
    WaitReason.UNROUTABLE: "start a worker for {action}: no queue is bound for it",
    WaitReason.OVERDUE: "start `saga serve` on this store; `saga doctor` looks at it",
    WaitReason.UNDO_GAVE_UP: _GO_ON,
    WaitReason.PARKED: _GO_ON,
    WaitReason.SUSPENDED: _GO_ON,
    WaitReason.DEAD_LETTERED: (
        "mend what ended the consumers of step {step}, then `saga retry {id} --reason "
        "TEXT`"
    ),
    WaitReason.UNREADABLE: (
        "`saga doctor` says which row is damaged; restore it from a backup"
    ),
    WaitReason.STUCK: "a defect: report it, with `saga get {id} --json`",
}


def remedy_of(saga_id: SagaId, wait: Wait) -> str:
    """Return what to do, with the command to type."""
    text = _REMEDIES[wait.reason]
    return text.format(id=saga_id, step=wait.step, action=wait.action)
