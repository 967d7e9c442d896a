"""A saga's history as lines of text: what was tried, when, and how it went.

Pure, and readable without colour. One line per attempt, undos marked, and one
for every move of the saga::

     +0.000s    · started order_processing
     +0.009s    ✓ create_order          attempt 1 #1  9 ms
     +0.021s    ✗ charge_payment        attempt 1 #1  8 ms  CardDeclined: no
     +0.021s    · compensating
     +0.030s  ↩ ✓ undo create_order     attempt 1 #2  7 ms
     +0.030s    · compensated

``#2`` is the generation: the step's second dispatch.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from saga_orchestrator.cli.json_text import shown
from saga_orchestrator.cli.terminal import (
    ALARM,
    DONE,
    NOT_DONE,
    TOLD,
    UNDONE,
    one_line,
)
from saga_orchestrator.core.decision import HistoryEntry, HistoryKind
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.states import Direction, SagaState
from saga_orchestrator.ports.records import SagaRecord

_GLYPH_OF_ATTEMPT = {
    HistoryKind.STEP_SUCCEEDED: DONE,
    HistoryKind.STEP_SKIPPED: TOLD,
    HistoryKind.STEP_FAILED: NOT_DONE,
    HistoryKind.STEP_POSTPONED: TOLD,
    HistoryKind.STEP_EXPIRED: NOT_DONE,
    HistoryKind.HEARTBEAT_LOST: NOT_DONE,
    HistoryKind.WAIT_GIVEN_UP: NOT_DONE,
}

_NOTES = {
    HistoryKind.STEP_ACCEPTED: "accepted, its answer comes later",
    HistoryKind.STEP_RESENT: "unanswered, sent again",
    HistoryKind.RESEND_REQUESTED: "asked for again, in case the broker lost it",
    HistoryKind.STEP_RESOLVED: "resolved",
    HistoryKind.RESIDUAL_FOUND: "answered too late: its effect may stand",
    HistoryKind.RESIDUAL_UNDO_REQUESTED: "undo requested",
    HistoryKind.RESIDUAL_DISMISSED: "dismissed",
    HistoryKind.DEADLINE_PASSED: "its deadline passed",
    HistoryKind.COMPENSATE_REQUESTED: "compensate requested",
    HistoryKind.RETRY_REQUESTED: "retry requested",
}


def timeline(record: SagaRecord, *, after: int = 0) -> list[str]:
    """Return the history as lines, oldest first.

    Args:
        record: what the store knows of the saga.
        after: leave out the entries up to this number; for those who follow.
    """
    teller = _Teller(record)
    told = [(entry.seq, list(teller.tell(entry))) for entry in record.history]
    return [line for seq, lines in told if seq > after for line in lines]


def is_resolved_undo(entry: HistoryEntry) -> bool:
    """Tell whether a person resolved an undo, rather than an action.

    The saga is failed after it where another undo is stuck; who resolves an action
    starts it again.
    """
    resolved = entry.kind is HistoryKind.STEP_RESOLVED
    return resolved and entry.state in (SagaState.COMPENSATING, SagaState.FAILED)


def duration(value: dt.timedelta) -> str:
    """Return a duration with the precision that a reader wants."""
    milliseconds = round(value.total_seconds() * 1000)
    if milliseconds < 1000:  # noqa: PLR2004 - a second
        return f"{milliseconds} ms"
    if milliseconds < 60_000:  # noqa: PLR2004 - a minute
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


class _Teller:
    """Goes through a history once; remembers what the next line needs."""

    def __init__(self, record: SagaRecord) -> None:
        saga = record.saga
        self._saga = saga
        self._state = SagaState.STARTED
        self._sent_at: dict[Fence, dt.datetime] = {}
        names = (len(step.name) for step in saga.plan.steps)
        self._width = max(names, default=0) + len("undo ")

    def tell(self, entry: HistoryEntry) -> Iterator[str]:
        """Yield the lines of one entry."""
        if entry.kind is HistoryKind.SAGA_STARTED:
            yield self._line(entry, f"  {TOLD} started {self._saga.name}")
        elif entry.kind in _GLYPH_OF_ATTEMPT:
            yield self._line(entry, self._attempt(entry))
        elif entry.kind in _NOTES:
            yield self._line(entry, _noted(entry))
        for sent in entry.sent:
            self._sent_at.setdefault(sent.fence, entry.at)
        if entry.state is not self._state:
            self._state = entry.state
            yield self._line(entry, f"  {TOLD} {entry.state}")

    def _line(self, entry: HistoryEntry, text: str) -> str:
        offset = (entry.at - self._saga.created_at).total_seconds()
        return f"{f'+{offset:.3f}s':>11}  {text}".rstrip()

    def _attempt(self, entry: HistoryEntry) -> str:
        undo = entry.direction is Direction.COMPENSATION
        glyph = _GLYPH_OF_ATTEMPT[entry.kind]
        name = f"undo {entry.step}" if undo else str(entry.step)
        words = [f"{UNDONE if undo else ' '} {glyph} {name:<{self._width}}"]
        if entry.generation:
            words.append(f"attempt {entry.attempt} #{entry.generation}")
            words.append(self._took(entry))
        elif self._saga.undoes:
            words.append(f"in saga {self._saga.undoes}")
        words.append(_why(entry))
        return "  ".join(word for word in words if word)

    def _took(self, entry: HistoryEntry) -> str:
        assert entry.step is not None, "attempts are about a step"
        assert entry.direction is not None, "attempts have a direction"
        fence = Fence(self._saga.id, entry.step, entry.direction, entry.generation)
        sent_at = self._sent_at.get(fence)
        return f"{duration(entry.at - sent_at):>7}" if sent_at else ""


def _why(entry: HistoryEntry) -> str:
    """Return why an attempt ended as it did, and what comes of it."""
    data = entry.data
    match entry.kind:
        case HistoryKind.STEP_SKIPPED:
            return one_line(f"skipped: {data.get('reason', '')}")
        case HistoryKind.STEP_POSTPONED:
            delay = dt.timedelta(seconds=data.get("delay_s", 0))
            reason = data.get("reason")
            text = f"asked to come again in {duration(delay)}"
            return one_line(f"{text}: {reason}" if reason else text)
        case HistoryKind.STEP_EXPIRED:
            return "its limit passed"
        case HistoryKind.WAIT_GIVEN_UP:
            return one_line(f"given up{_by(entry)}{_next_try(entry)}")
        case _:
            return _failure(entry)


def _failure(entry: HistoryEntry) -> str:
    data = entry.data
    error = ": ".join(str(data[key]) for key in ("error_type", "error") if key in data)
    if data.get("refused"):
        error += " (refused)"
    return one_line(error + _next_try(entry))


def _next_try(entry: HistoryEntry) -> str:
    if "retry_at" not in entry.data:
        return ""
    wait = dt.datetime.fromisoformat(entry.data["retry_at"]) - entry.at
    return f"; tried again in {duration(wait)}"


def _noted(entry: HistoryEntry) -> str:
    glyph = ALARM if entry.kind is HistoryKind.RESIDUAL_FOUND else TOLD
    data = entry.data
    text = f"  {glyph} {_subject(entry)}{_NOTES[entry.kind]}{_by(entry)}"
    if data.get("force"):
        text += " (forced)"
    if entry.kind is HistoryKind.STEP_RESOLVED and "output" in data:
        text += f"; output {shown(data['output'])}"
    if "undo_id" in data:
        text += f"; its undo is saga {data['undo_id']}"
    return one_line(text)


def _subject(entry: HistoryEntry) -> str:
    """Return what a note is about, where it is about a part of the saga."""
    if entry.step is None:
        return ""
    match entry.kind:
        case HistoryKind.RESIDUAL_FOUND:
            return f"{entry.step}: residual {entry.seq}: "
        case HistoryKind.RESIDUAL_UNDO_REQUESTED | HistoryKind.RESIDUAL_DISMISSED:
            return f"{entry.step}: residual {entry.data['residual']}: "
        case HistoryKind.STEP_RESOLVED if is_resolved_undo(entry):
            return f"undo {entry.step}: "
        case _:
            return f"{entry.step}: "


def _by(entry: HistoryEntry) -> str:
    """Return who asked for it and why, where a person did."""
    if "principal" not in entry.data:
        return ""
    return f" by {entry.data['principal']}: {entry.data.get('reason', '')}"
