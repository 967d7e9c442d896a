"""What a store's handle remembers of rows that it has read and written."""

from __future__ import annotations

from dataclasses import dataclass, field

from saga_stores._plans import PlanCache
from saga_stores._rows import HISTORY_COLUMNS, RowCodec
from saga_stores._snapshots import SnapshotCache
from saga_stores._texts import TextCache
from saga_stores._writes import Writes

_SAGA, _SEQ, _DATA = map(HISTORY_COLUMNS.index, ("saga_id", "seq", "data"))


@dataclass(frozen=True, slots=True)
class Caches:
    """Bounded caches that threads may share; none is needed for being right.

    Plans and texts never change once they are committed, and a snapshot counts only
    while its row is the same.
    """

    snapshots: SnapshotCache
    plans: PlanCache = field(default_factory=PlanCache)
    texts: TextCache = field(default_factory=TextCache)

    @classmethod
    def of(cls, codec: RowCodec) -> Caches:
        """Return empty caches for rows that this codec reads."""
        return cls(SnapshotCache(codec))

    def add(self, writes: Writes, stamp: int | None = None) -> None:
        """Remember what was written; its transaction is committed.

        Args:
            writes: what.
            stamp: of the rows of sagas, as ``SnapshotCache.add`` has it.
        """
        self.plans.add(writes.plans)
        self.snapshots.add(writes.snapshots, stamp)
        entries = [(row[_SAGA], row[_SEQ], row[_DATA]) for row in writes.history]
        self.texts.add(writes.data, entries)
