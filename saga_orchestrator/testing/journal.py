"""What happened in a play, in order: every run, and what the saga made of it."""

from __future__ import annotations

import datetime as dt
import itertools
from operator import itemgetter

from saga_orchestrator.core.decision import Decision, HistoryEntry, HistoryKind
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.testing.call import Call

_NOTES = {
    HistoryKind.STEP_RESENT: "unanswered, sent again",
    HistoryKind.STEP_EXPIRED: "its limit passed",
    HistoryKind.HEARTBEAT_LOST: "its heartbeats stopped",
    HistoryKind.DEADLINE_PASSED: "the deadline passed",
    HistoryKind.COMPENSATE_REQUESTED: "an operator compensates",
    HistoryKind.RETRY_REQUESTED: "an operator retries",
    HistoryKind.STEP_RESOLVED: "an operator resolved it",
    HistoryKind.WAIT_GIVEN_UP: "an operator gave up waiting",
    HistoryKind.RESIDUAL_FOUND: "succeeded too late: a residual",
    HistoryKind.RESIDUAL_UNDO_REQUESTED: "an operator has the residual undone",
    HistoryKind.RESIDUAL_DISMISSED: "an operator dismissed the residual",
}
"""What no run tells of. Of runs, the runs themselves do."""


class Journal:
    """Keeps what happened, and tells it in lines.

    Attributes:
        calls: the runs.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._told: list[tuple[dt.datetime, str]] = []
        self._states: dict[SagaId, SagaState] = {}

    def ran(self, call: Call) -> None:
        """Note a run."""
        self.calls.append(call)
        self._told.append((call.at, f"{call.text}  {call.why}".rstrip()))

    def note(self, at: dt.datetime, text: str) -> None:
        """Note what is neither a run nor a decision."""
        self._told.append((at, f"· {text}"))

    def decided(self, decision: Decision) -> None:
        """Note what a saga made of an event."""
        saga = decision.saga
        if saga is None:
            return
        whose = "the residual's undo: " if saga.undoes else ""
        for entry in decision.history:
            note = _note_of(entry)
            if note:
                self.note(entry.at, f"{whose}{note}")
            if self._states.setdefault(saga.id, SagaState.STARTED) is not entry.state:
                self._states[saga.id] = entry.state
                self.note(entry.at, f"{whose}{entry.state}")
        if decision.ignored is not None and decision.residual is None:
            step, why = decision.ignored.fence.step, decision.ignored.reason
            self.note(decision.ignored.at, f"{step}: its answer changes nothing: {why}")

    def lines(self, saga: Saga) -> tuple[str, ...]:
        """Return a line for each thing, with the time since the saga's start.

        What is the same several times in a row is one line.
        """
        return tuple(
            _line(list(same), since=saga.created_at)
            for _, same in itertools.groupby(self._told, key=itemgetter(1))
        )


def _line(same: list[tuple[dt.datetime, str]], *, since: dt.datetime) -> str:
    at, text = same[0]
    offset = f"+{(at - since).total_seconds():.3f}s"
    often = f"  ({len(same)} times)" if len(same) > 1 else ""
    return f"{offset:>12}  {text}{often}"


def _note_of(entry: HistoryEntry) -> str:
    """Return what no run tells of an entry; empty: nothing."""
    about = f"{entry.step}: " if entry.step else ""
    if entry.kind in _NOTES:
        return f"{about}{_NOTES[entry.kind]}"
    if entry.step and not entry.generation:  # settled without a run
        if entry.kind is HistoryKind.STEP_SKIPPED:
            return f"{about}skipped: {entry.data.get('reason', '')}"
        if entry.kind is HistoryKind.STEP_FAILED:
            return f"{about}{entry.data.get('error', '')}"
    return ""
