"""What stands behind a step in ``saga get``: what it waits for, what became of it.

Pure.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from saga_orchestrator.cli.timeline import duration, is_resolved_undo
from saga_orchestrator.core.decision import Dispatch, HistoryKind
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import (
    Direction,
    Outcome,
    Phase,
    StepState,
)
from saga_orchestrator.ports.records import OutboxRow, SagaRecord


class Remarks:
    """The remarks on the steps of one saga, at one instant."""

    def __init__(self, record: SagaRecord, now: dt.datetime) -> None:
        """Look through a saga once.

        Args:
            record: what the store knows of it.
            now: the store's clock; "ago" and "in" count from it.
        """
        self._saga = record.saga
        self._now = now
        self._resolved = dict(_resolved(record))
        self._unsent = {row.fence: _unsent(row, now) for row in record.outbox}
        self._sent = dict(_sent(record))
        self._accepted = {
            entry.step: entry.at
            for entry in record.history
            if entry.kind is HistoryKind.STEP_ACCEPTED
        }

    def on(self, number: int) -> str:
        """Return what is to be said of a step; empty: nothing."""
        status = self._saga.steps[number]
        fence = self._saga.fence_of(number)
        if status.is_in_flight and fence in self._unsent:
            return self._unsent[fence]  # else nobody waits for what may still be sent
        match status.phase:
            case Phase.SENT:
                due = self._due(number, "asked again")
                return f"{self._since_sent(fence)}, its answer is awaited; {due}"
            case Phase.ACCEPTED:
                at = self._accepted.get(fence.step)
                since = f"accepted {self._ago(at)}" if at else "accepted"
                due = self._due(number, "if it stays silent, lost")
                return f"{since}, its answer is awaited; {due}"
            case Phase.WAITING if status.due_at is not None:
                offset = duration(status.due_at - self._saga.created_at)
                return f"waits; next try {offset} after the start"
            case Phase.GAVE_UP:
                return "its undo gave up"
            case _:
                return self._resolved.get(fence.step, "")

    def _since_sent(self, fence: Fence) -> str:
        if fence not in self._sent:
            return "sent"
        sent, at = self._sent[fence]
        return f"sent {'again ' if sent.resend else ''}{self._ago(at)}"

    def _due(self, number: int, what: str) -> str:
        """Return what happens to a step in flight, and when.

        Args:
            number: the step.
            what: is done when its phase is looked at; its limit may come first.
        """
        status = self._saga.steps[number]
        assert status.opened_at is not None, "a limit runs while a step is in flight"
        limit = self._saga.plan.limit_of(number, status.direction)
        due_at = status.opened_at + limit
        if status.due_at is not None and status.due_at < due_at:
            due_at = status.due_at
        else:
            what = "its limit passes"
        if due_at > self._now:
            return f"{what} in {duration(due_at - self._now)}"
        # An engine does it at once: none runs, or it is behind.
        return f"{what}: overdue for {duration(self._now - due_at)}"

    def _ago(self, at: dt.datetime) -> str:
        return f"{duration(max(self._now - at, dt.timedelta()))} ago"


def not_undone(saga: Saga) -> str:
    """Return which effects stand though the saga turned back; empty: none.

    A step without a compensation is left as it is. Its effect stands where it
    succeeded, and may stand where its outcome is unknown.
    """
    if saga.direction is Direction.ACTION:
        return ""
    names = []
    for step, status in zip(saga.plan.steps, saga.steps, strict=True):
        if not step.action or step.compensation:
            continue
        if status.state is StepState.COMPLETED:
            names.append(step.name)
        elif status.state is StepState.FAILED and status.outcome is Outcome.UNKNOWN:
            names.append(f"{step.name} (outcome unknown)")
    return f"not undone, no compensation: {', '.join(names)}" if names else ""


def _sent(record: SagaRecord) -> Iterator[tuple[Fence, tuple[Dispatch, dt.datetime]]]:
    """Yield what was sent and when, oldest first."""
    for entry in record.history:
        for sent in entry.sent:
            yield sent.fence, (sent, entry.at)


def _resolved(record: SagaRecord) -> Iterator[tuple[str, str]]:
    """Yield the steps that a person resolved, with who and why, oldest first."""
    for entry in record.history:
        if entry.kind is HistoryKind.STEP_RESOLVED and entry.step is not None:
            what = "undone by hand" if is_resolved_undo(entry) else "done by hand"
            who = f"{entry.data['principal']}: {entry.data['reason']}"
            yield entry.step, f"{what}, says {who}"


def _unsent(row: OutboxRow, now: dt.datetime) -> str:
    """Return why a command is still in the outbox."""
    if row.error:
        return f"not sent: {row.error}"
    if row.claimed_until <= now:
        return "not sent yet: no engine has taken it"
    return "being sent: the broker has not confirmed it yet"
