"""What the API says, as schemas for OpenAPI. ``documents.py`` makes what they tell.

The documents are not validated on their way out; tests hold the two together.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from pydantic import BaseModel, Field

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.states import (
    Direction,
    Outcome,
    Phase,
    SagaState,
    StepState,
)
from saga_orchestrator.ports.keys import Role

SagaIdText = Annotated[
    str,
    Field(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}$", examples=["01M7X3B60JTS25RD93M070YZWK"]),
]
Count = Annotated[int, Field(ge=0)]
Instant = dt.datetime


class Step(BaseModel):
    """A step as it stands."""

    name: str
    action: str
    compensation: str
    state: StepState
    outcome: Outcome
    phase: Phase
    direction: Direction
    generation: Count
    attempt: Count
    due_at: Instant | None


class Saga(BaseModel):
    """A saga as it stands."""

    id: SagaIdText
    name: str
    key: str | None
    state: SagaState
    reason: str
    version: Count
    created_at: Instant
    updated_at: Instant
    ended_at: Instant | None
    deadline_at: Instant | None
    wake_at: Instant | None
    ignored: Count
    residuals: Count
    undoes: SagaIdText | None
    steps: list[Step]


class SagaWithData(Saga):
    """A saga as it stands, with its data."""

    context: dict[str, Any]
    outputs: dict[str, Any]


class Dispatch(BaseModel):
    """A command that was sent."""

    step: str
    direction: Direction
    generation: Count
    resend: bool


class HistoryEntry(BaseModel):
    """Something that happened."""

    seq: Count
    at: Instant
    kind: HistoryKind
    state: SagaState
    step: str | None
    direction: Direction | None
    generation: Count
    attempt: Count
    data: dict[str, Any]
    sent: list[Dispatch]


class Attempt(BaseModel):
    """One run of a handler, or one that was sent and not answered."""

    step: str
    direction: Direction
    generation: Count
    attempt: Count
    sent_at: Instant
    resent: Count
    ended_at: Instant | None
    ended_by: HistoryKind | None
    error_type: str | None
    error: str | None


class IgnoredAnswer(BaseModel):
    """An answer that changed nothing."""

    number: Count
    at: Instant
    reason: str
    answer: str
    step: str
    direction: Direction
    generation: Count


class Settlement(BaseModel):
    """What a person made of a residual."""

    at: Instant
    principal: str
    reason: str
    undo_id: SagaIdText | None


class Residual(BaseModel):
    """An effect that may stand outside its saga's account."""

    saga_id: SagaIdText
    number: Count
    at: Instant
    output: Any
    step: str
    direction: Direction
    generation: Count
    settled: Settlement | None


class OutboxRow(BaseModel):
    """A command that the broker has not confirmed."""

    step: str
    direction: Direction
    generation: Count
    claimed_until: Instant
    attempts: Count
    error: str


class SagaRecord(SagaWithData):
    """Everything that is known of a saga."""

    plan: dict[str, Any]
    attempts: list[Attempt]
    history: list[HistoryEntry]
    ignored_answers: list[IgnoredAnswer]
    open_residuals: list[Residual]
    settled_residuals: list[Residual]
    outbox: list[OutboxRow]
    damage: list[str]


class Move(BaseModel):
    """A change of the saga's state."""

    at: Instant
    state: SagaState


class Timeline(BaseModel):
    """When what was tried, and how it went."""

    saga_id: SagaIdText
    state: SagaState
    started_at: Instant
    ended_at: Instant | None
    moves: list[Move]
    attempts: list[Attempt]


class UnreadableRow(BaseModel):
    """A row whose content is damaged."""

    id: SagaIdText
    unreadable: str


class SagaPage(BaseModel):
    """Sagas, the newest first, and those of the page that cannot be read."""

    sagas: list[Saga]
    unreadable: list[UnreadableRow]
    next_cursor: str | None


class UnreadableResidual(BaseModel):
    """A residual whose row is damaged."""

    saga_id: SagaIdText
    number: Count
    unreadable: str


class ResidualPage(BaseModel):
    """Open residuals, and those of the page that cannot be read."""

    residuals: list[Residual]
    unreadable: list[UnreadableResidual]
    next_cursor: str | None


class Definition(BaseModel):
    """What a saga of this name runs."""

    name: str
    digest: str
    plan: dict[str, Any]


class Definitions(BaseModel):
    """What can be started here."""

    definitions: list[Definition]


class Key(BaseModel):
    """An API key, but for the key itself."""

    name: str
    role: Role
    created_at: Instant
    revoked_at: Instant | None


class Keys(BaseModel):
    """All API keys."""

    keys: list[Key]


class ProblemField(BaseModel):
    """A field that is to blame."""

    field: str
    detail: str


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemField] = []
