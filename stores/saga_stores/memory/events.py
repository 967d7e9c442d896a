"""The memory store's events for others, and who may publish them."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.public import PublicEvent
from saga_orchestrator.ports.records import Page
from saga_stores._event_rows import NEW_EVENT_COLUMNS
from saga_stores._pages import event_page
from saga_stores._rows import RowCodec

_SAGA_ID = NEW_EVENT_COLUMNS.index("aggregate_id")
_CREATED_AT = NEW_EVENT_COLUMNS.index("created_at")


class Events:
    """Rows of ``NEW_EVENT_COLUMNS`` by position, and the right to publish them."""

    def __init__(self, codec: RowCodec) -> None:
        self._codec = codec
        self._rows: dict[int, tuple[Any, ...]] = {}
        self._positions = itertools.count(1)
        self._lease: tuple[str, dt.datetime] | None = None

    def append(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Put rows at the end."""
        for row in rows:
            self._rows[next(self._positions)] = row

    def claim(
        self,
        holder: str,
        limit: int,
        now: dt.datetime,
        until: dt.datetime,
        passed_over: Sequence[SagaId],
    ) -> Page[PublicEvent]:
        """Return the first events, unless another holder has the right."""
        if not self._rows:
            return Page([], [])
        if self._lease is not None:
            owner, end = self._lease
            if owner != holder and end > now:
                return Page([], [])
        self._lease = (holder, until)
        passed = set(passed_over)
        wanted = (
            (at, *row) for at, row in self._rows.items() if row[_SAGA_ID] not in passed
        )
        return event_page(itertools.islice(wanted, limit), self._codec)

    def delete(self, positions: Iterable[int]) -> None:
        """Forget events."""
        for position in positions:
            self._rows.pop(position, None)

    def expire(self, instant: dt.datetime, limit: int) -> int:
        """Forget those of the first that are from before an instant, or of it."""
        first = itertools.islice(self._rows.items(), limit)
        old = [at for at, row in first if row[_CREATED_AT] <= instant]
        self.delete(old)
        return len(old)
