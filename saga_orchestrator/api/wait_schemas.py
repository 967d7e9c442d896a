"""Why sagas wait, as schemas for OpenAPI; ``wait_documents.py`` makes them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from saga_orchestrator.api.schemas import Count, Instant, SagaIdText, SagaWithData
from saga_orchestrator.core.states import Direction, SagaState
from saga_orchestrator.core.waiting import WaitReason


class Wait(BaseModel):
    """One thing that a saga waits for."""

    reason: WaitReason
    since: Instant
    detail: str
    step: str | None
    direction: Direction | None
    action: str
    attempt: Count
    until: Instant | None
    fix: str


class StaleSaga(Wait):
    """A saga that waits for too long, with its longest wait."""

    id: SagaIdText
    name: str
    key: str | None
    state: SagaState | None = Field(description="null: its row cannot be read")
    age_seconds: float


class StalePage(BaseModel):
    """Sagas that wait for too long, the oldest first."""

    stale: list[StaleSaga]
    next_cursor: str | None = Field(
        description="null: all that have not ended were looked at"
    )
    notes: list[str]


class Cause(Wait):
    """One thing that a saga waits for, and how its last attempt failed."""

    last_error: str


class Diagnosis(BaseModel):
    """Why a saga waits."""

    saga: SagaWithData
    now: Instant
    causes: list[Cause]
    notes: list[str]
