"""The memory store's tables: what the SQL stores keep in theirs.

What only grows is held as the same rows, with the same JSON text, so that all
stores refuse the same values and nothing that a caller holds is shared.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from saga_orchestrator.core.batch import Batch
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.saga import NO_DATA, Saga
from saga_orchestrator.ports.keys import ApiKey
from saga_orchestrator.ports.records import OutboxRow
from saga_orchestrator.ports.store import IGNORED_KEPT
from saga_stores._data import Entries
from saga_stores._residual_rows import NEW_RESIDUAL_COLUMNS, SETTLEMENT_COLUMNS
from saga_stores._rows import HISTORY_COLUMNS, RowCodec, outbox_key
from saga_stores._writes import Writes
from saga_stores.memory.events import Events

OutboxKey = tuple[SagaId, str, int]

_OPEN = (None,) * len(SETTLEMENT_COLUMNS)
_SETTLED = len(NEW_RESIDUAL_COLUMNS)
_DATA = HISTORY_COLUMNS.index("data")


def _as_it_is(instant: dt.datetime) -> dt.datetime:
    return instant


CODEC = RowCodec(_as_it_is, _as_it_is)


class Tables:
    """Everything that one memory store holds.

    Attributes:
        secret: made with the store.
        sagas: snapshots without data.
        keys: who holds a (saga name, key).
        patches: per saga (revision, JSON text).
        history: per saga its rows, entry ``seq`` at ``seq - 1``.
        ignored: per saga the last rows.
        residuals: per saga its rows, by number.
        recorded: when each command of the outbox was.
        outbox: commands not confirmed, in the order they were recorded.
        api_keys: who may call the HTTP API, by name.
        events: for others, not published yet.
    """

    def __init__(self) -> None:
        self.secret = secrets.token_bytes(32)
        self.sagas: dict[SagaId, Saga] = {}
        self.keys: dict[tuple[str, str], SagaId] = {}
        self.patches: defaultdict[SagaId, list[tuple[int, str]]] = defaultdict(list)
        self.history: defaultdict[SagaId, list[tuple[Any, ...]]] = defaultdict(list)
        self.ignored: defaultdict[SagaId, deque[tuple[Any, ...]]] = defaultdict(
            lambda: deque(maxlen=IGNORED_KEPT)
        )
        self.residuals: defaultdict[SagaId, dict[int, tuple[Any, ...]]] = defaultdict(
            dict
        )
        self.recorded: dict[OutboxKey, dt.datetime] = {}
        self.outbox: dict[OutboxKey, OutboxRow] = {}
        self.api_keys: dict[str, ApiKey] = {}
        self.events = Events(CODEC)

    def perform(self, batch: Batch, writes: Writes, settled: Sequence[Fence]) -> None:
        """Write a batch; nothing here can fail, so it is all or nothing."""
        self.settle(settled)
        for saga in (*batch.created.values(), *batch.changed.values()):
            self.sagas[saga.id] = replace(saga, data=NO_DATA)
            if saga.key is not None:
                self.keys[saga.name, saga.key] = saga.id
        for saga_id, revision, patch in writes.data:
            self.patches[saga_id].append((revision, patch))
        for row in writes.history:
            self.history[row[0]].append(row)
        for row in writes.ignored:
            self.ignored[row[0]].append(row)
        for row in writes.residuals:
            self.residuals[row[0]][row[1]] = (*row, *_OPEN)
        for *settlement, saga_id, number in writes.settlements:
            found = self.residuals[saga_id][number][: len(NEW_RESIDUAL_COLUMNS)]
            self.residuals[saga_id][number] = (*found, *settlement)
        self.events.append(writes.events)
        for *fence, claimed_until, recorded_at in writes.outbox:
            new = CODEC.outgoing((*fence, claimed_until, 0, ""))
            key = outbox_key(new.fence)
            there = self.outbox.setdefault(key, new)
            self.recorded.setdefault(key, recorded_at)
            self._claim(there, claimed_until)

    def settle(self, fences: Iterable[Fence]) -> None:
        """Forget commands."""
        for fence in fences:
            self.outbox.pop(outbox_key(fence), None)
            self.recorded.pop(outbox_key(fence), None)

    def defer(self, fence: Fence, error: str, until: dt.datetime) -> None:
        """Note why a command could not be routed."""
        row = self.outbox.get(outbox_key(fence))
        if row is not None:
            self.outbox[outbox_key(fence)] = replace(
                row, claimed_until=until, attempts=row.attempts + 1, error=error
            )

    def extend(self, fence: Fence, until: dt.datetime) -> None:
        """Keep a claim, or lengthen it."""
        row = self.outbox.get(outbox_key(fence))
        if row is not None:
            self._claim(row, until)

    def claim(
        self, limit: int, now: dt.datetime, until: dt.datetime
    ) -> list[OutboxRow]:
        """Take over the rows whose claim has lapsed, the longest lapsed first."""
        lapsed = [row for row in self.outbox.values() if row.claimed_until <= now]
        lapsed.sort(key=lambda row: row.claimed_until)
        return [self._claim(row, until) for row in lapsed[:limit]]

    def waiting(
        self, without: Collection[SagaId]
    ) -> Iterator[tuple[dt.datetime, SagaId]]:
        """Yield who is to be woken when; not those to pass over."""
        for saga in self.sagas.values():
            if saga.wake_at is not None and saga.id not in without:
                yield saga.wake_at, saga.id

    def open_residuals(self, after: tuple[SagaId, int]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows that nobody has settled, by saga id and number."""
        for saga_id in sorted(self.residuals):
            for number, row in sorted(self.residuals[saga_id].items()):
                if (saga_id, number) > after and row[_SETTLED] is None:
                    yield row

    def commands_of(self, saga_id: SagaId) -> list[OutboxRow]:
        """Return a saga's commands that are not confirmed."""
        return [row for row in self.outbox.values() if row.fence.saga_id == saga_id]

    def entries(self, places: Iterable[tuple[SagaId, int]]) -> Entries:
        """Return the data of history entries."""
        return {
            (saga_id, seq): self.history[saga_id][seq - 1][_DATA]
            for saga_id, seq in places
        }

    def drop(self, saga: Saga) -> None:
        """Delete a saga with all that belongs to it."""
        del self.sagas[saga.id]
        if saga.key is not None:
            del self.keys[saga.name, saga.key]
        for table in (self.patches, self.history, self.ignored, self.residuals):
            table.pop(saga.id, None)

    def _claim(self, row: OutboxRow, until: dt.datetime) -> OutboxRow:
        claimed = replace(row, claimed_until=until)
        self.outbox[outbox_key(row.fence)] = claimed
        return claimed
