"""Rows of ``saga_residuals``: inserted when found, updated once, when settled."""

from __future__ import annotations

from typing import Any

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.residual import Residual, Settlement
from saga_stores._json import from_json, storable, to_json
from saga_stores._rows import Row, RowCodec, fence_columns, fence_from, readable

NEW_RESIDUAL_COLUMNS = (
    *("saga_id", "number", "at", "step", "direction", "generation", "output"),
)
SETTLEMENT_COLUMNS = ("settled_at", "settled_by", "settled_reason", "undo_id")
"""All NULL while it is open; ``undo_id`` also where it was dismissed."""

RESIDUAL_COLUMNS = (*NEW_RESIDUAL_COLUMNS, *SETTLEMENT_COLUMNS)


def new_residual(
    codec: RowCodec, saga_id: SagaId, residual: Residual
) -> tuple[Any, ...]:
    """Return the row to insert: ``NEW_RESIDUAL_COLUMNS``."""
    output = to_json(residual.output, f"saga {saga_id}: a residual's output")
    at = codec.to_column(residual.at)
    return (saga_id, residual.number, at, *fence_columns(residual.fence), output)


def settlement_of(
    codec: RowCodec, saga_id: SagaId, number: int, settled: Settlement
) -> tuple[Any, ...]:
    """Return what to update: ``SETTLEMENT_COLUMNS``, the saga's id, the number.

    Raises:
        StoreDataError: a text that no row can hold.
    """
    what = f"saga {saga_id}: who settled residual {number}, and why"
    return (
        codec.to_column(settled.at),
        storable(settled.principal, what),
        storable(settled.reason, what),
        settled.undo_id,
        saga_id,
        number,
    )


def residual_from(codec: RowCodec, row: Row) -> Residual:
    """Return what a row of ``RESIDUAL_COLUMNS`` tells.

    Raises:
        StoreDataError: the row cannot be read.
    """
    saga_id, number, at, *fence, output, settled_at, principal, reason, undo_id = row
    what = f"saga {saga_id}: its residual {number}"
    with readable(what):
        settled = None
        if settled_at is not None:
            settled_at = codec.from_column(settled_at)
            settled = Settlement(settled_at, principal, reason, undo_id)
        return Residual(
            number,
            codec.from_column(at),
            fence_from(saga_id, *fence),
            from_json(output, what),
            settled,
        )
