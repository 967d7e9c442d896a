"""Why sagas wait, as JSON documents: what HTTP, ``stale`` and ``why --json`` say."""

from __future__ import annotations

from saga_orchestrator.api.documents import Document, instant_text, saga_document
from saga_orchestrator.core.waiting import Wait
from saga_orchestrator.runtime.monitor import Diagnosis
from saga_orchestrator.runtime.stale import StalePage, StaleSaga


def wait_document(wait: Wait) -> Document:
    """Return one thing that a saga waits for."""
    return {
        "reason": wait.reason,
        "since": instant_text(wait.since),
        "detail": wait.detail,
        "step": wait.step,
        "direction": wait.direction,
        "action": wait.action,
        "attempt": wait.attempt,
        "until": instant_text(wait.until),
    }


def stale_document(stale: StaleSaga) -> Document:
    """Return a saga that waits for too long."""
    return {
        "id": stale.id,
        "name": stale.name,
        "key": stale.key,
        "state": stale.state,
        "age_seconds": stale.age.total_seconds(),
        **wait_document(stale.wait),
        "fix": stale.remedy,
    }


def stale_page_document(page: StalePage, next_cursor: str | None) -> Document:
    """Return a page of sagas that wait for too long."""
    notes = [f"the broker could not be asked: {page.problem}"] if page.problem else []
    return {
        "stale": [stale_document(one) for one in page.sagas],
        "next_cursor": next_cursor,
        "notes": notes,
    }


def diagnosis_document(diagnosis: Diagnosis) -> Document:
    """Return why a saga waits."""
    return {
        "saga": saga_document(diagnosis.saga),
        "now": instant_text(diagnosis.now),
        "causes": [
            {
                **wait_document(cause.wait),
                "last_error": cause.last_error,
                "fix": cause.remedy,
            }
            for cause in diagnosis.causes
        ],
        "notes": list(diagnosis.notes),
    }
