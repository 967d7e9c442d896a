"""Snapshots that were decoded before, valid as long as their row is the same.

A process that moves a saga reads the row it has just written, again and again;
comparing rows costs a fiftieth of decoding one of three steps, and the same
for one of two thousand.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from saga_orchestrator.core.plan import Plan
from saga_orchestrator.core.saga import Saga
from saga_stores._rows import Row, RowCodec

_STEPS_MAX = 100_000
"""What the cache holds at most, in steps: some 20 MB."""


class SnapshotCache:
    """A bounded cache in front of ``RowCodec.saga``; threads may share it."""

    def __init__(self, codec: RowCodec) -> None:
        self._codec = codec
        self._known: dict[str, tuple[tuple[Any, ...], Saga]] = {}
        self._steps = 0
        self._changing = threading.Lock()

    def saga(self, row: Row, plan: Plan) -> Saga:
        """Return the snapshot of a row of ``SAGA_COLUMNS``, without data.

        Raises:
            StoreDataError: the row cannot be read.
        """
        row = tuple(row)
        known = self._known.get(row[0])
        if known is not None and known[0] == row:
            return known[1]
        saga = self._codec.saga(row, plan)
        self.add([(row, saga)])
        return saga

    def add(self, written: Iterable[tuple[tuple[Any, ...], Saga]]) -> None:
        """Remember snapshots without data, by their rows."""
        with self._changing:
            for row, saga in written:
                self._forget(row[0])
                self._known[row[0]] = (row, saga)
                self._steps += len(saga.steps)
            while self._steps > _STEPS_MAX:
                self._forget(next(iter(self._known)))  # the one added first

    def _forget(self, saga_id: str) -> None:
        known = self._known.pop(saga_id, None)
        if known is not None:
            self._steps -= len(known[1].steps)
