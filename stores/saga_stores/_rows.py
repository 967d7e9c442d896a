"""Rows and what they mean: the translation that both SQL stores share.

Tables and columns have the same names in both; only the type of an instant
differs, so a codec is made with the two functions that convert it. Rows are
tuples in the order of the column lists below.
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from msgspec.json import Encoder

from saga_orchestrator.core.decision import (
    Dispatch,
    HistoryEntry,
    HistoryKind,
    Ignored,
)
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.plan import Plan
from saga_orchestrator.core.saga import Saga, StepStatus
from saga_orchestrator.core.states import Direction, SagaState
from saga_orchestrator.core.vector import decode_steps, encode_steps
from saga_orchestrator.errors import StoreDataError
from saga_orchestrator.ports.records import OutboxRow
from saga_orchestrator.ports.store import IGNORED_KEPT
from saga_stores._json import from_json, from_json_object, storable, to_json

Row = Sequence[Any]

FIXED_COLUMNS = (
    *("id", "name", "key", "fingerprint", "plan_digest", "created_at", "undoes"),
)
"""Of ``sagas``: written once."""

CHANGING_COLUMNS = (
    *("state", "direction", "halting", "version", "revision", "ignored"),
    *("residuals", "steps", "timers", "updated_at", "ended_at", "deadline_at"),
    *("wake_at", "reason"),
)
"""Of ``sagas``: updated in place."""

SAGA_COLUMNS = (*FIXED_COLUMNS, *CHANGING_COLUMNS)
PLAN_DIGEST = SAGA_COLUMNS.index("plan_digest")

HISTORY_COLUMNS = (
    *("saga_id", "seq", "at", "kind", "state", "step", "direction"),
    *("generation", "attempt", "data", "sent"),
)
IGNORED_COLUMNS = (
    *("saga_id", "slot", "number", "at", "reason", "step", "direction"),
    *("generation", "answer"),
)
NEW_OUTBOX_COLUMNS = (
    *("saga_id", "step", "direction", "generation", "claimed_until", "created_at"),
)
OUTBOX_COLUMNS = (
    *("saga_id", "step", "direction", "generation", "claimed_until"),
    *("attempts", "error"),
)


_encode = Encoder().encode
_UNREADABLE = (IndexError, TypeError, ValueError, OverflowError, struct.error)


@dataclass(frozen=True, slots=True)
class RowCodec:
    """Writes and reads rows of one database.

    Attributes:
        to_column: an aware UTC instant as the driver takes it.
        from_column: the instant that the driver gave.
    """

    to_column: Callable[[dt.datetime], Any]
    from_column: Callable[[Any], dt.datetime]

    # -- sagas -------------------------------------------------------------

    def saga_row(self, saga: Saga) -> tuple[Any, ...]:
        """Return the whole row: ``SAGA_COLUMNS``.

        Raises:
            StoreDataError: a text or a counter that no row can hold.
        """
        key = saga.key
        if key is not None:
            storable(key, f"saga {saga.id}: its key")
        fixed = (
            *(saga.id, saga.name, key, saga.fingerprint, saga.plan.digest),
            *(self.to_column(saga.created_at), saga.undoes),
        )
        return fixed + self._changing(saga)

    def _changing(self, saga: Saga) -> tuple[Any, ...]:
        try:
            steps, timers = encode_steps(saga.steps)
        except struct.error as error:
            raise StoreDataError(
                f"saga {saga.id}: its steps cannot be stored: {error}"
            ) from error
        return (
            str(saga.state),
            str(saga.direction),
            saga.halting,
            saga.version,
            saga.revision,
            saga.ignored,
            saga.residuals,
            steps,
            timers,
            self.to_column(saga.updated_at),
            self._optional(saga.ended_at),
            self._optional(saga.deadline_at),
            self._optional(saga.wake_at),
            storable(saga.reason, f"saga {saga.id}: its reason"),
        )

    def saga(self, row: Row, plan: Plan) -> Saga:
        """Return the snapshot of a row of ``SAGA_COLUMNS``; without data.

        Raises:
            StoreDataError: the row cannot be read.
        """
        (
            saga_id,
            name,
            key,
            fingerprint,
            _,
            created_at,
            undoes,
            state,
            direction,
            halting,
            version,
            revision,
            ignored,
            residuals,
            steps,
            timers,
            updated_at,
            ended_at,
            deadline_at,
            wake_at,
            reason,
        ) = row
        try:
            return Saga(
                id=saga_id,
                name=name,
                key=key,
                fingerprint=fingerprint,
                plan=plan,
                state=SagaState(state),
                direction=Direction(direction),
                halting=bool(halting),
                version=version,
                revision=revision,
                ignored=ignored,
                residuals=residuals,
                steps=_decode(steps, timers, len(plan.steps)),
                created_at=self.from_column(created_at),
                updated_at=self.from_column(updated_at),
                ended_at=self._instant(ended_at),
                deadline_at=self._instant(deadline_at),
                wake_at=self._instant(wake_at),
                reason=reason,
                undoes=undoes,
            )
        except _UNREADABLE as error:
            raise StoreDataError(f"saga {saga_id} cannot be read: {error}") from error

    # -- what only grows ---------------------------------------------------

    def new_entry(self, saga_id: SagaId, entry: HistoryEntry) -> tuple[Any, ...]:
        """Return the row to insert: ``HISTORY_COLUMNS``; empty JSON is NULL."""
        sent = [(*fence_columns(one.fence), one.resend) for one in entry.sent]
        what = f"saga {saga_id}: its history entry {entry.seq}"
        return (
            saga_id,
            entry.seq,
            self.to_column(entry.at),
            str(entry.kind),
            str(entry.state),
            entry.step,
            None if entry.direction is None else str(entry.direction),
            entry.generation,
            entry.attempt,
            to_json(entry.data, what) if entry.data else None,
            _encode(sent).decode() if sent else None,
        )

    def entry(self, row: Row) -> HistoryEntry:
        """Return the entry of a row of ``HISTORY_COLUMNS``.

        Raises:
            StoreDataError: the row cannot be read.
        """
        (
            saga_id,
            seq,
            at,
            kind,
            state,
            step,
            direction,
            generation,
            attempt,
            data,
            sent,
        ) = row
        what = f"saga {saga_id}: its history entry {seq}"
        try:
            return HistoryEntry(
                seq=seq,
                at=self.from_column(at),
                kind=HistoryKind(kind),
                state=SagaState(state),
                step=step,
                direction=None if direction is None else Direction(direction),
                generation=generation,
                attempt=attempt,
                data={} if data is None else from_json_object(data, what),
                sent=[
                    Dispatch(fence_from(saga_id, *fence), resend)
                    for *fence, resend in from_json(sent or "[]", what)
                ],
            )
        except _UNREADABLE as error:
            raise StoreDataError(f"{what} cannot be read: {error}") from error

    def new_ignored(self, saga_id: SagaId, ignored: Ignored) -> tuple[Any, ...]:
        """Return the row to upsert: ``IGNORED_COLUMNS``."""
        return (
            saga_id,
            (ignored.number - 1) % IGNORED_KEPT,
            ignored.number,
            self.to_column(ignored.at),
            storable(ignored.reason, f"saga {saga_id}: an ignored answer"),
            *fence_columns(ignored.fence),
            ignored.answer,
        )

    def ignored(self, row: Row) -> Ignored:
        """Return what a row of ``IGNORED_COLUMNS`` tells.

        Raises:
            StoreDataError: the row cannot be read.
        """
        saga_id, _, number, at, reason, *fence, answer = row
        with readable(f"saga {saga_id}: its ignored answer {number}"):
            return Ignored(
                *(number, self.from_column(at), reason),
                *(fence_from(saga_id, *fence), answer),
            )

    # -- the outbox --------------------------------------------------------

    def new_outgoing(
        self, fence: Fence, claimed_until: dt.datetime, now: dt.datetime
    ) -> tuple[Any, ...]:
        """Return the row to upsert: ``NEW_OUTBOX_COLUMNS``."""
        instants = self.to_column(claimed_until), self.to_column(now)
        return (fence.saga_id, *fence_columns(fence), *instants)

    def outgoing(self, row: Row) -> OutboxRow:
        """Return what a row of ``OUTBOX_COLUMNS`` tells.

        Raises:
            StoreDataError: the row cannot be read.
        """
        *fence, claimed_until, attempts, error = row
        with readable(f"saga {row[0]}: its command for {row[1]}"):
            return OutboxRow(
                fence_from(*fence), self.from_column(claimed_until), attempts, error
            )

    def _optional(self, instant: dt.datetime | None) -> Any:  # noqa: ANN401 - the driver's
        return None if instant is None else self.to_column(instant)

    def _instant(self, column: Any) -> dt.datetime | None:  # noqa: ANN401 - the driver's
        return None if column is None else self.from_column(column)


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn what a row of nonsense raises into the error of the port.

    Raises:
        StoreDataError: names what cannot be read.
    """
    try:
        yield
    except _UNREADABLE as error:
        raise StoreDataError(f"{what} cannot be read: {error}") from error


def outbox_key(fence: Fence) -> tuple[SagaId, str, int]:
    """Return the primary key of a fence's outbox row."""
    return (fence.saga_id, fence.step, fence.generation)


def fence_columns(fence: Fence) -> tuple[str, str, int]:
    """Return a fence's columns behind ``saga_id``."""
    return (fence.step, str(fence.direction), fence.generation)


def fence_from(saga_id: SagaId, step: str, direction: str, generation: int) -> Fence:
    """Return the fence of a row's columns."""
    return Fence(saga_id, step, Direction(direction), generation)


def _decode(steps: bytes, timers: bytes, count: int) -> tuple[StepStatus, ...]:
    decoded = decode_steps(steps, timers)
    if len(decoded) != count:
        raise ValueError(f"it has {len(decoded)} steps, its plan {count}")
    return decoded
