"""Snapshots that were decoded before, valid as long as their row is the same.

Or its stamp: what the database marked the row with when this process wrote it.

A process that moves a saga reads the row it has just written, again and again;
comparing rows costs a fiftieth of decoding one of three steps, and the same
for one of two thousand.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.plan import Plan
from saga_orchestrator.core.saga import Saga
from saga_stores._rows import Row, RowCodec

_STEPS_MAX = 100_000
"""What the cache holds at most, in steps: some 20 MB."""
_OWN_STEPS = 4
"""What a saga takes beside its steps, as if it were steps."""


class _Known(Struct, frozen=True):
    row: tuple[Any, ...]
    saga: Saga
    stamp: int | None


class SnapshotCache:
    """A bounded cache in front of ``RowCodec.saga``; threads may share it."""

    def __init__(self, codec: RowCodec) -> None:
        self._codec = codec
        self._known: dict[str, _Known] = {}
        self._steps = 0
        self._changing = threading.Lock()

    def saga(self, row: Row, plan: Plan) -> Saga:
        """Return the snapshot of a row of ``SAGA_COLUMNS``, without data.

        Raises:
            StoreDataError: the row cannot be read.
        """
        row = tuple(row)
        known = self._known.get(row[0])
        if known is not None and known.row == row:
            return known.saga
        saga = self._codec.saga(row, plan)
        self.add([(row, saga)])
        return saga

    def stamped(self, saga_id: SagaId) -> tuple[Saga, int] | None:
        """Return a saga and the stamp of its row, if both are known."""
        known = self._known.get(saga_id)
        if known is None or known.stamp is None:
            return None
        return known.saga, known.stamp

    def is_latest(self, saga: Saga) -> bool:
        """Tell whether a saga is what this process wrote last, and not forgotten.

        The very one: the same version of it may have been written anew, elsewhere.
        """
        known = self.stamped(saga.id)
        return known is not None and known[0].steps is saga.steps

    def forget(self, saga_ids: Iterable[SagaId]) -> None:
        """Forget sagas: they have ended, or are deleted."""
        with self._changing:
            for saga_id in saga_ids:
                self._forget(saga_id)

    def clear(self) -> None:
        """Forget everything."""
        with self._changing:
            self._known.clear()
            self._steps = 0

    def add(
        self,
        written: Iterable[tuple[tuple[Any, ...], Saga]],
        stamp: int | None = None,
    ) -> None:
        """Remember snapshots without data, by their rows.

        Args:
            written: rows and what they say.
            stamp: what the database marked these rows with when they were written,
                so that whoever writes them next can tell that they are the same.
        """
        with self._changing:
            for row, saga in written:
                self._forget(row[0])
                self._known[row[0]] = _Known(row, saga, stamp)
                self._steps += _weight(saga)
            while self._steps > _STEPS_MAX:
                self._forget(next(iter(self._known)))  # the one added first

    def _forget(self, saga_id: str) -> None:
        known = self._known.pop(saga_id, None)
        if known is not None:
            self._steps -= _weight(known.saga)


def _weight(saga: Saga) -> int:
    return len(saga.steps) + _OWN_STEPS
