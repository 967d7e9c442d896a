"""What one transaction writes, as rows: a decided batch, table by table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from saga_orchestrator.core.batch import Batch
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.plan import Plan
from saga_orchestrator.core.saga import NO_DATA, Saga
from saga_stores._event_rows import new_event
from saga_stores._json import to_json
from saga_stores._plans import PlanCache
from saga_stores._residual_rows import new_residual, settlement_of
from saga_stores._rows import FIXED_COLUMNS, RowCodec

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Writes:
    """Rows to write, in this order; each list may be empty.

    Attributes:
        plans: plans that may not be in the database; remember them after the
            commit.
        created: sagas to insert, ``SAGA_COLUMNS``.
        changed: sagas to update, ``CHANGING_COLUMNS`` and the id.
        data: (saga id, revision, patch) to insert; revision 0 is the first context.
        history: entries to insert, ``HISTORY_COLUMNS``.
        outbox: ``NEW_OUTBOX_COLUMNS`` to upsert; one that is there (a resend) is
            claimed anew. Settle first: a resend of what was settled stays.
        ignored: ``IGNORED_COLUMNS``, to upsert by slot.
        residuals: ``NEW_RESIDUAL_COLUMNS`` to insert.
        settlements: ``SETTLEMENT_COLUMNS``, saga id and number, to update; after
            the inserts.
        events: ``NEW_EVENT_COLUMNS`` to insert, in this order.
        snapshots: rows of ``SAGA_COLUMNS`` and what they say; remember them
            after the commit.
    """

    plans: list[Plan]
    created: Rows
    changed: Rows
    data: Rows
    history: Rows
    outbox: Rows
    ignored: Rows
    residuals: Rows
    settlements: Rows
    events: Rows
    snapshots: list[tuple[tuple[Any, ...], Saga]]

    @property
    def has_rare(self) -> bool:
        """Whether there is something that few batches write."""
        rare = self.ignored or self.residuals or self.settlements or self.events
        return bool(rare)


def writes_of(
    batch: Batch,
    now: dt.datetime,
    lease: dt.timedelta,
    codec: RowCodec,
    stored: PlanCache,
) -> Writes:
    """Return the rows that perform a batch.

    Args:
        batch: what was decided.
        now: the instant it was decided at.
        lease: how long its commands belong to this process.
        codec: of the database.
        stored: plans that are there.

    Raises:
        StoreDataError: a value that could not be read back.
    """
    created = [(codec.saga_row(saga), saga) for saga in batch.created.values()]
    changed = [(codec.saga_row(saga), saga) for saga in batch.changed.values()]
    saved = created + changed
    plans = {saga.plan.digest: saga.plan for _, saga in created}
    return Writes(
        plans=[plan for digest, plan in plans.items() if digest not in stored],
        created=[row for row, _ in created],
        changed=[(*row[len(FIXED_COLUMNS) :], saga.id) for row, saga in changed],
        data=[
            (saga_id, revision, to_json(patch, f"saga {saga_id}: its context"))
            for saga_id, revision, patch in _patches(batch)
        ],
        history=[codec.new_entry(saga_id, entry) for saga_id, entry in batch.history],
        outbox=[
            codec.new_outgoing(dispatch.fence, now + lease, now)
            for dispatch in batch.dispatches
        ],
        ignored=[codec.new_ignored(saga_id, one) for saga_id, one in batch.ignored],
        residuals=[
            new_residual(codec, saga_id, one)
            for saga_id, one in batch.residuals
            if one.settled is None
        ],
        settlements=[
            settlement_of(codec, saga_id, one.number, one.settled)
            for saga_id, one in batch.residuals
            if one.settled is not None
        ],
        events=[new_event(codec, event) for event in batch.public],
        snapshots=[(row, replace(saga, data=NO_DATA)) for row, saga in saved],
    )


def _patches(batch: Batch) -> Iterable[tuple[SagaId, int, Mapping[str, Json]]]:
    """Yield the first contexts, then the updates.

    A first context is taken from the decision that made the saga: later events
    of the same batch may have updated it already.
    """
    for decision in batch.decisions:
        for part in decision.parts:
            if part.created and part.saga is not None:
                yield part.saga.id, 0, part.saga.context
    yield from batch.updates
