"""What a store's handle remembers of rows that it has read and written."""

from __future__ import annotations

from collections.abc import Mapping

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import ENDED
from saga_stores._plans import PlanCache
from saga_stores._rows import HISTORY_COLUMNS, RowCodec
from saga_stores._snapshots import SnapshotCache
from saga_stores._texts import TextCache
from saga_stores._writes import Writes

_SAGA, _SEQ, _DATA = map(HISTORY_COLUMNS.index, ("saga_id", "seq", "data"))


class Caches:
    """Bounded caches that threads may share; none is needed for being right.

    Plans and texts never change once they are committed, and a snapshot counts only
    while its row is the same.

    Args:
        codec: of the rows.

    Attributes:
        epoch: how often everything was forgotten. What was read or written before
            must not be remembered after it: its server may have lost it.
    """

    def __init__(self, codec: RowCodec) -> None:
        self.snapshots = SnapshotCache(codec)
        self.plans = PlanCache()
        self.texts = TextCache()
        self.epoch = 0

    def forget(self) -> None:
        """Another server may answer from now on, or the same one with other data."""
        self.epoch += 1
        self.texts.clear()
        self.snapshots.clear()

    def still_known(self, snapshots: Mapping[SagaId, Saga]) -> dict[SagaId, Saga]:
        """Return those of a caller's snapshots that are the last that is known."""
        return {
            saga_id: saga
            for saga_id, saga in snapshots.items()
            if self.snapshots.is_latest(saga)
        }

    def add(self, writes: Writes, stamp: int | None = None) -> None:
        """Remember what was written; its transaction is committed.

        Of sagas that ended with it everything is forgotten: hardly anything happens to
        them any more, and by the thousand they would push what is at work out of the
        processor's caches.

        Args:
            writes: what.
            stamp: of the rows of sagas, as ``SnapshotCache.add`` has it.
        """
        self.plans.add(writes.plans)
        self.snapshots.add(writes.snapshots, stamp)
        entries = [(row[_SAGA], row[_SEQ], row[_DATA]) for row in writes.history]
        self.texts.add(writes.data, entries)
        ended = [saga.id for _, saga in writes.snapshots if saga.state in ENDED]
        self.snapshots.forget(ended)
        self.texts.forget(ended)
