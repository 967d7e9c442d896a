"""Contexts and outputs of the latest sagas, as the texts that stand in their rows.

They never change once they are committed, so who wrote or read them needs not read
them again: most commands are made of what the same process has just committed. Unless
the database lost the commit (a failover, a backup that was restored): what is committed
in its place then takes its place here, too.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field

from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.saga import Saga, SagaData
from saga_stores._data import (
    Entries,
    Patches,
    awaited_step,
    command_data,
    command_entries,
)

BYTES_MAX = 32 * 1024 * 1024
_ROW_BYTES = 150
"""What a row takes beside its text, roughly."""
_NOT_HERE = object()


class _Texts(Struct):
    """Of one saga: its patches from revision 0 on, without a gap, and its entries.

    Other threads read them meanwhile: a list that has been seen is not shortened.
    """

    patches: list[tuple[int, str]] = field(default_factory=list)
    entries: dict[int, str | None] = field(default_factory=dict)
    size: int = 0


class TextCache:
    """A bounded cache in front of the tables that only grow; threads may share it.

    Put in only what was committed.
    """

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._sagas: dict[SagaId, _Texts] = {}
        self._size = 0
        self._changing = threading.Lock()

    def add(
        self,
        patches: Iterable[tuple[SagaId, int, str]],
        entries: Iterable[tuple[SagaId, int, str | None]],
    ) -> None:
        """Remember texts.

        Args:
            patches: saga, revision, patch; a saga's revisions ascending.
            entries: saga, number, and ``data`` of history entries.
        """
        with self._changing:
            for saga_id, revision, patch in patches:
                self._add_patch(self._of(saga_id), revision, patch)
            for saga_id, number, data in entries:
                texts = self._of(saga_id)
                if texts.entries.get(number, _NOT_HERE) != data:
                    texts.entries[number] = data
                    self._grow(texts, data or "")
            while self._size > self._bytes_max:
                oldest = next(iter(self._sagas))
                self._size -= self._sagas.pop(oldest).size

    def add_read(self, patches: Patches, entries: Entries) -> None:
        """Remember texts that were read."""
        self.add(
            ((saga_id, *one) for saga_id, found in patches.items() for one in found),
            ((*place, data) for place, data in entries.items()),
        )

    def forget(self, saga_ids: Iterable[SagaId]) -> None:
        """Forget sagas that have ended: there are no more commands of them."""
        with self._changing:
            for saga_id in saga_ids:
                texts = self._sagas.pop(saga_id, None)
                if texts is not None:
                    self._size -= texts.size

    def clear(self) -> None:
        """Forget everything: the database may be another one now."""
        with self._changing:
            self._sagas.clear()
            self._size = 0

    def dispatches(
        self, fences: Sequence[Fence], snapshots: Mapping[SagaId, Saga]
    ) -> dict[Fence, tuple[Saga, SagaData] | None]:
        """Return what the commands of dispatches are made of, as far as it is here.

        Args:
            fences: which.
            snapshots: sagas in which they may be awaited.
        """
        found: dict[Fence, tuple[Saga, SagaData] | None] = {}
        for fence in fences:
            saga = snapshots.get(fence.saga_id)
            number = awaited_step(saga, fence)
            if saga is None or number is None:
                continue
            data = self._data(saga, number)
            if data is not None:
                found[fence] = saga, data
        return found

    def _data(self, saga: Saga, number: int) -> SagaData | None:
        texts = self._sagas.get(saga.id)
        if texts is None:
            return None
        patches = texts.patches
        if len(patches) <= saga.steps[number].revision:
            return None
        known = texts.entries
        entries = {}
        for place in command_entries(saga, number):
            if place[1] not in known:
                return None
            entries[place] = known[place[1]]
        return command_data(saga, number, {saga.id: patches}, entries)

    def _of(self, saga_id: SagaId) -> _Texts:
        return self._sagas.setdefault(saga_id, _Texts())

    def _add_patch(self, texts: _Texts, revision: int, patch: str) -> None:
        known = texts.patches
        if revision > len(known):
            return  # not without a gap
        if revision == len(known):
            known.append((revision, patch))
        elif known[revision][1] != patch:
            texts.patches = [*known[:revision], (revision, patch)]
        else:
            return
        self._grow(texts, patch)

    def _grow(self, texts: _Texts, text: str) -> None:
        size = sys.getsizeof(text) + _ROW_BYTES
        texts.size += size
        self._size += size
