"""A saga's attempts, from its history: one for each dispatch."""

from __future__ import annotations

from dataclasses import dataclass

from saga_orchestrator.api.documents import Document
from saga_orchestrator.core.decision import HistoryEntry, HistoryKind
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.ports.records import SagaRecord

_ENDS = frozenset(
    {
        HistoryKind.STEP_SUCCEEDED,
        HistoryKind.STEP_SKIPPED,
        HistoryKind.STEP_FAILED,
        HistoryKind.STEP_POSTPONED,
        HistoryKind.STEP_EXPIRED,
        HistoryKind.HEARTBEAT_LOST,
        HistoryKind.WAIT_GIVEN_UP,
    }
)


@dataclass(slots=True)
class _Attempt:
    sent: HistoryEntry
    attempt: int = 0
    resent: int = 0
    end: HistoryEntry | None = None


def attempts(record: SagaRecord) -> list[Document]:
    """Return every dispatch, in the order of sending: when, and how it ended."""
    found: dict[Fence, _Attempt] = {}
    for entry in record.history:
        ended = found.get(_fence(record, entry)) if entry.kind in _ENDS else None
        if ended is not None and ended.end is None:
            ended.end = entry
            ended.attempt = entry.attempt
        for sent in entry.sent:
            if sent.fence in found:
                found[sent.fence].resent += sent.resend
            else:
                found[sent.fence] = _Attempt(entry)
    return [_document(record, fence, one) for fence, one in found.items()]


def timeline(record: SagaRecord) -> Document:
    """Return when the saga moved, and every attempt."""
    saga = record.saga
    moves: list[Document] = []
    state: SagaState | None = None
    for entry in record.history:
        if entry.state is not state:
            state = entry.state
            moves.append({"at": entry.at.isoformat(), "state": state})
    return {
        "saga_id": saga.id,
        "state": saga.state,
        "started_at": saga.created_at.isoformat(),
        "ended_at": None if saga.ended_at is None else saga.ended_at.isoformat(),
        "moves": moves,
        "attempts": attempts(record),
    }


def _fence(record: SagaRecord, entry: HistoryEntry) -> Fence:
    assert entry.step is not None, "attempts are about a step"
    assert entry.direction is not None, "attempts have a direction"
    return Fence(record.saga.id, entry.step, entry.direction, entry.generation)


def _document(record: SagaRecord, fence: Fence, one: _Attempt) -> Document:
    end = one.end
    data = {} if end is None else end.data
    return {
        "step": fence.step,
        "direction": fence.direction,
        "generation": fence.generation,
        "attempt": one.attempt or record.saga.status(fence.step).attempt,
        "sent_at": one.sent.at.isoformat(),
        "resent": one.resent,
        "ended_at": None if end is None else end.at.isoformat(),
        "ended_by": None if end is None else end.kind,
        "error_type": data.get("error_type"),
        "error": data.get("error"),
    }
