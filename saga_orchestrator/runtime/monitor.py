"""Why one saga waits: from the store and the broker."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from saga_orchestrator.core.decision import HistoryEntry
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.remedies import remedy_of
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import ENDED
from saga_orchestrator.core.waiting import (
    Unsent,
    Wait,
    refined,
    waits_of,
)
from saga_orchestrator.ports.overview import Waiting
from saga_orchestrator.ports.records import SagaRecord
from saga_orchestrator.runtime.queue_looks import QueueLooks


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that a saga waits for, and what to do about it.

    Attributes:
        wait: what and why.
        remedy: what to do.
        last_error: how the step's last failed attempt ended; empty: none did.
    """

    wait: Wait
    remedy: str
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a saga waits.

    Attributes:
        saga: its snapshot.
        now: the store's clock.
        causes: the longest wait first; none: it has ended.
        notes: what else there is to know.
    """

    saga: Saga
    now: dt.datetime
    causes: tuple[Cause, ...]
    notes: tuple[str, ...] = ()


async def diagnose(
    record: SagaRecord, now: dt.datetime, looks: QueueLooks | None
) -> Diagnosis:
    """Return why a saga waits.

    Args:
        record: what the store knows of it.
        now: the store's clock.
        looks: asks the broker; None: nobody does.
    """
    saga = record.saga
    causes = []
    for wait in waits_of(saga, unsent_of(Waiting(saga, record.outbox)), now):
        told = wait if looks is None else refined(wait, await looks.at(wait))
        error = _last_error(record, told)
        causes.append(Cause(told, remedy_of(saga.id, told), error))
    notes = list(_notes(record))
    if looks is not None and saga.state not in ENDED:
        notes += await _broker_notes(looks)
    return Diagnosis(saga, now, tuple(causes), tuple(notes))


def unsent_of(waiting: Waiting) -> dict[Fence, Unsent]:
    """Return the commands of a saga that the broker has not confirmed."""
    return {row.fence: Unsent(row.claimed_until, row.error) for row in waiting.outbox}


def _last_error(record: SagaRecord, wait: Wait) -> str:
    """Return how the last failed attempt of the wait's step ended."""
    for entry in reversed(record.history):
        if entry.step == wait.step and "error" in entry.data:
            return _error_text(entry)
    return ""


def _error_text(entry: HistoryEntry) -> str:
    kind, text = entry.data.get("error_type"), entry.data["error"]
    told = f"{kind}: {text}" if kind else str(text)
    return f"attempt {entry.attempt} at {entry.at:%Y-%m-%d %H:%M:%S} UTC: {told}"


def _notes(record: SagaRecord) -> Iterator[str]:
    saga = record.saga
    if saga.ended_at is not None:
        yield f"it ended at {saga.ended_at:%Y-%m-%d %H:%M:%S} UTC: {saga.state}"
    if saga.residuals:
        yield (
            f"{saga.residuals} open residuals: effects that may stand outside its "
            f"account; `saga get {saga.id}` lists them"
        )
    for problem in record.damage:
        yield f"damaged in the store: {problem}"


async def _broker_notes(looks: QueueLooks) -> list[str]:
    count = await looks.dead_letters()
    if looks.problem:
        return [f"the broker could not be asked: {looks.problem}"]
    if not count:
        return []
    text = (
        f"{count} messages were set aside in the dead letters; an answer for this "
        "saga may be among them: look at the header saga-reason of each"
    )
    return [text]
