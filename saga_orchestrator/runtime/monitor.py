"""Which sagas are stale, and why one saga waits: from the store and the broker."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from ulid import ULID

from saga_orchestrator.core.decision import HistoryEntry
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.remedies import remedy_of
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import ENDED, SagaState
from saga_orchestrator.core.waiting import (
    StaleAfter,
    Unsent,
    Wait,
    WaitReason,
    refined,
    waits_of,
)
from saga_orchestrator.ports.overview import Waiting
from saga_orchestrator.ports.store import SagaRecord, Store
from saga_orchestrator.runtime.queue_looks import QueueLooks

PAGE = 500
SAGAS_MAX = 5_000
"""Live sagas that are looked at, the oldest first."""
UNKNOWN = "unknown"
"""The name of a saga whose row cannot be read."""


@dataclass(frozen=True, slots=True)
class StaleSaga:
    """A saga that waits for longer than its threshold.

    Attributes:
        id: the saga.
        name: its definition's name.
        key: its start key.
        state: where it stands; None: its row cannot be read.
        wait: its longest wait.
        age: for how long.
    """

    id: SagaId
    name: str
    key: str | None
    state: SagaState | None
    wait: Wait
    age: dt.timedelta

    @property
    def remedy(self) -> str:
        """What to do."""
        return remedy_of(self.id, self.wait)


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


async def find_stale(
    store: Store, after: StaleAfter, looks: QueueLooks | None = None
) -> list[StaleSaga]:
    """Return the sagas that wait for longer than their thresholds, the oldest first.

    Args:
        store: whose sagas.
        after: the thresholds.
        looks: refines by what the broker says; None: nobody asks it.

    Returns:
        Those among the ``SAGAS_MAX`` oldest that have not ended.
    """
    now = await store.now()
    youngest = _id_at(now - after.shortest)
    found: list[StaleSaga] = []
    cursor: SagaId | None = None
    for _ in range(SAGAS_MAX // PAGE):
        page = await store.waiting(PAGE, after=cursor, before=youngest)
        for waiting in page.items:
            stale = await _stale(waiting, after, now, looks)
            if stale is not None:
                found.append(stale)
        for row in page.unreadable:
            wait = Wait(WaitReason.UNREADABLE, _instant_of(row.saga_id), row.problem)
            age = now - wait.since
            found.append(StaleSaga(row.saga_id, UNKNOWN, None, None, wait, age))
        if len(page.items) + len(page.unreadable) < PAGE:
            break
        ids = [one.saga.id for one in page.items]
        cursor = max(ids + [row.saga_id for row in page.unreadable])
    return found


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
    for wait in waits_of(saga, _unsent(Waiting(saga, record.outbox)), now):
        told = wait if looks is None else refined(wait, await looks.at(wait))
        error = _last_error(record, told)
        causes.append(Cause(told, remedy_of(saga.id, told), error))
    notes = list(_notes(record))
    if looks is not None and saga.state not in ENDED:
        notes += await _broker_notes(looks)
    return Diagnosis(saga, now, tuple(causes), tuple(notes))


async def _stale(
    waiting: Waiting, after: StaleAfter, now: dt.datetime, looks: QueueLooks | None
) -> StaleSaga | None:
    saga = waiting.saga
    wait = next(iter(waits_of(saga, _unsent(waiting), now)), None)
    if wait is None or now - wait.since < after.of(saga.name):
        return None
    if looks is not None:
        wait = refined(wait, await looks.at(wait))
    return StaleSaga(saga.id, saga.name, saga.key, saga.state, wait, now - wait.since)


def _unsent(waiting: Waiting) -> dict[Fence, Unsent]:
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


def _id_at(instant: dt.datetime) -> SagaId:
    """Return the id below which sagas were started before an instant.

    By the clock of who started them: one that is fast hides its sagas for as long.
    """
    millis = max(int(instant.timestamp() * 1000), 0)
    return SagaId(str(ULID.from_bytes(millis.to_bytes(6, "big") + bytes(10))))


def _instant_of(saga_id: SagaId) -> dt.datetime:
    return ULID.from_str(saga_id).datetime
