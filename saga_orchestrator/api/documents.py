"""Sagas and what is known of them as JSON documents: what HTTP and ``--json`` say.

Instants are ISO 8601 in UTC. Fields are only ever added.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from saga_orchestrator.core.decision import (
    Dispatch,
    HistoryEntry,
    Ignored,
)
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.residual import Residual, Settlement
from saga_orchestrator.core.saga import NO_DATA, Saga
from saga_orchestrator.ports.keys import ApiKey
from saga_orchestrator.ports.records import OutboxRow, SagaRecord, Unreadable

Document = dict[str, Any]


def instant_text(value: dt.datetime | None) -> str | None:
    """Return an instant as documents have it; None: there is none."""
    return None if value is None else value.isoformat()


def saga_document(saga: Saga) -> Document:
    """Return a saga; with context and outputs where they were loaded."""
    document: Document = {
        "id": saga.id,
        "name": saga.name,
        "key": saga.key,
        "state": saga.state,
        "reason": saga.reason,
        "version": saga.version,
        "created_at": instant_text(saga.created_at),
        "updated_at": instant_text(saga.updated_at),
        "ended_at": instant_text(saga.ended_at),
        "deadline_at": instant_text(saga.deadline_at),
        "wake_at": instant_text(saga.wake_at),
        "ignored": saga.ignored,
        "residuals": saga.residuals,
        "undoes": saga.undoes,
        "steps": _steps(saga),
    }
    if saga.data is not NO_DATA:
        document["context"] = dict(saga.context)
        document["outputs"] = dict(saga.outputs)
    return document


def unreadable_document(row: Unreadable) -> Document:
    """Return what is known of a saga, or a residual, whose row cannot be read."""
    if row.number:
        return {
            "saga_id": row.saga_id,
            "number": row.number,
            "unreadable": row.problem,
        }
    return {"id": row.saga_id, "unreadable": row.problem}


def record_document(record: SagaRecord) -> Document:
    """Return everything that the store knows of a saga."""
    return {
        **saga_document(record.saga),
        "plan": json.loads(record.saga.plan.text),
        "history": [entry_document(entry) for entry in record.history],
        "ignored_answers": [_ignored(one) for one in record.ignored],
        "open_residuals": [
            residual_document(one) for one in record.residuals if not one.settled
        ],
        "settled_residuals": [
            residual_document(one) for one in record.residuals if one.settled
        ],
        "outbox": [_outbox(row) for row in record.outbox],
        "damage": list(record.damage),
    }


def entry_document(entry: HistoryEntry) -> Document:
    """Return one line of a history."""
    return {
        "seq": entry.seq,
        "at": instant_text(entry.at),
        "kind": entry.kind,
        "state": entry.state,
        "step": entry.step,
        "direction": entry.direction,
        "generation": entry.generation,
        "attempt": entry.attempt,
        "data": dict(entry.data),
        "sent": [_dispatch(sent) for sent in entry.sent],
    }


def residual_document(residual: Residual) -> Document:
    """Return an effect that may stand outside its saga's account."""
    return {
        "saga_id": residual.fence.saga_id,
        "number": residual.number,
        "at": instant_text(residual.at),
        "output": residual.output,
        **_fence(residual.fence),
        "settled": _settlement(residual.settled),
    }


def key_document(key: ApiKey) -> Document:
    """Return what may be told of an API key."""
    return {
        "name": key.name,
        "role": key.role,
        "created_at": instant_text(key.created_at),
        "revoked_at": instant_text(key.revoked_at),
    }


def _steps(saga: Saga) -> list[Document]:
    pairs = zip(saga.plan.steps, saga.steps, strict=True)
    return [
        {
            "name": step.name,
            "action": step.action,
            "compensation": step.compensation,
            "state": status.state,
            "outcome": status.outcome,
            "phase": status.phase,
            "direction": status.direction,
            "generation": status.generation,
            "attempt": status.attempt,
            "due_at": instant_text(status.due_at),
        }
        for step, status in pairs
    ]


def _fence(fence: Fence) -> Document:
    return {
        "step": fence.step,
        "direction": fence.direction,
        "generation": fence.generation,
    }


def _dispatch(sent: Dispatch) -> Document:
    return {**_fence(sent.fence), "resend": sent.resend}


def _ignored(one: Ignored) -> Document:
    return {
        "number": one.number,
        "at": instant_text(one.at),
        "reason": one.reason,
        "answer": one.answer,
        **_fence(one.fence),
    }


def _settlement(settled: Settlement | None) -> Document | None:
    if settled is None:
        return None
    return {
        "at": instant_text(settled.at),
        "principal": settled.principal,
        "reason": settled.reason,
        "undo_id": settled.undo_id,
    }


def _outbox(row: OutboxRow) -> Document:
    return {
        **_fence(row.fence),
        "claimed_until": instant_text(row.claimed_until),
        "attempts": row.attempts,
        "error": row.error,
    }
