"""The memory store: the whole contract, but for durability."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Self

from saga_orchestrator.core.batch import decide_batch
from saga_orchestrator.core.decision import Decision
from saga_orchestrator.core.events import Event
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.public import PublicEvent
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.core.saga import Saga, SagaData
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.errors import ConfigurationError, SagaNotFoundError
from saga_orchestrator.ports.clock import Clock, SystemClock
from saga_orchestrator.ports.overview import Overview, Waiting
from saga_orchestrator.ports.records import Migration, OutboxRow, Page, SagaRecord
from saga_orchestrator.ports.saga_filter import plain
from saga_orchestrator.ports.store import LEASE, Keep, SagaFilter, Store
from saga_stores._data import traceparents_of
from saga_stores._deletion import require_deletable
from saga_stores._json import storable
from saga_stores._pages import residual_page
from saga_stores._plans import PlanCache
from saga_stores._writes import writes_of
from saga_stores.memory.keys import MemoryApiKeys
from saga_stores.memory.loading import (
    load_batch,
    load_dispatch,
    load_step,
    load_whole,
    record_of,
)
from saga_stores.memory.monitoring import overview, waiting
from saga_stores.memory.pruning import prunable
from saga_stores.memory.tables import CODEC, Tables

_SHARED: dict[str, Tables] = {}
"""The named stores of this process; they live as long as it does."""

_NAME = re.compile(r"[\w.-]*\Z")
_NO_PLANS = PlanCache()


class MemorySagaStore(Store):
    """Sagas in the memory of this process; **not durable**.

    ``memory://`` is a new store each time; ``memory://name`` is the same one
    everywhere in the process. Atomic by the event loop: from the load to the
    commit nothing is awaited. Every method first gives the other tasks a turn,
    so that a simulation finds the interleavings that a database would have.
    """

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock

    @classmethod
    async def connect(
        cls, url: str, *, clock: Clock | None, migrate: bool | None
    ) -> Self:
        """Open a new store, or the named one; there is nothing to migrate."""
        del migrate
        name = url.partition("://")[2]
        if not _NAME.match(name):
            raise ConfigurationError(
                f"store: {name!r} is no name; use memory:// or memory://name with "
                "letters, digits, '.', '_' and '-'"
            )
        tables = _SHARED.setdefault(name, Tables()) if name else Tables()
        return cls(tables, clock or SystemClock())

    @classmethod
    async def migrate(cls, url: str, *, dry_run: bool = False) -> list[Migration]:
        """Return nothing: there is no schema."""
        del url, dry_run
        return []

    @property
    def secret(self) -> bytes:
        """32 random bytes made with the store."""
        return self._tables.secret

    @property
    def api_keys(self) -> MemoryApiKeys:
        """Who may call the HTTP API on this store."""
        return MemoryApiKeys(self._tables, self._clock)

    async def transact(
        self,
        events: Sequence[Event],
        *,
        settled: Sequence[Fence] = (),
        lease: dt.timedelta = LEASE,
    ) -> list[Decision]:
        """Decide and perform a batch of events."""
        await self._turn()
        now = self._clock.now()
        batch = decide_batch(
            events,
            load_batch(self._tables, events),
            now,
            tells_lifecycle=self.tells_lifecycle,
        )
        writes = writes_of(batch, now, lease, CODEC, _NO_PLANS)
        self._tables.perform(batch, writes, settled)
        return batch.decisions

    # -- the outbox --------------------------------------------------------

    async def settle(self, fences: Sequence[Fence]) -> None:
        """Remove outbox rows whose commands are confirmed."""
        await self._turn()
        self._tables.settle(fences)

    async def defer(
        self, fences: Sequence[Fence], error: str, delay: dt.timedelta
    ) -> None:
        """Note why commands could not be routed."""
        await self._turn()
        storable(error, "the error of a command")
        for fence in fences:
            self._tables.defer(fence, error, self._clock.now() + delay)

    async def extend(self, fences: Sequence[Fence], lease: dt.timedelta) -> None:
        """Keep the claims of publishes that are still pending."""
        await self._turn()
        for fence in fences:
            self._tables.extend(fence, self._clock.now() + lease)

    async def claim(self, limit: int, lease: dt.timedelta) -> list[OutboxRow]:
        """Take over outbox rows whose claim has lapsed."""
        await self._turn()
        now = self._clock.now()
        return self._tables.claim(limit, now, now + lease)

    async def claim_events(
        self,
        holder: str,
        limit: int,
        lease: dt.timedelta,
        passed_over: Sequence[SagaId] = (),
    ) -> Page[PublicEvent]:
        """Take, or keep, the right to publish events; return the first of them."""
        await self._turn()
        now = self._clock.now()
        until = now + lease
        return self._tables.events.claim(holder, limit, now, until, passed_over)

    async def delete_events(self, positions: Sequence[int]) -> None:
        """Forget events that are published."""
        await self._turn()
        self._tables.events.delete(positions)

    async def expire_events(self, age: dt.timedelta, limit: int) -> int:
        """Forget the first events, as far as they are so old."""
        await self._turn()
        return self._tables.events.expire(self._clock.now() - age, limit)

    async def load_dispatches(
        self, fences: Sequence[Fence], snapshots: Mapping[SagaId, Saga] | None = None
    ) -> list[tuple[Saga, SagaData] | None]:
        """Load what ``command_for`` needs."""
        await self._turn()
        known = snapshots or {}
        return [load_dispatch(self._tables, fence, known) for fence in fences]

    async def load_step(
        self, saga_id: SagaId, step: str
    ) -> tuple[Saga, SagaData] | None:
        """Load what a step's command is made of, awaited or not."""
        await self._turn()
        return load_step(self._tables, saga_id, step)

    # -- time --------------------------------------------------------------

    async def due(
        self, limit: int, *, without: Collection[SagaId] = ()
    ) -> list[SagaId]:
        """Return sagas whose ``wake_at`` has passed, the longest due first."""
        await self._turn()
        now = self._clock.now()
        waiting = self._tables.waiting(without)
        due = sorted((at, saga_id) for at, saga_id in waiting if at <= now)
        return [saga_id for _, saga_id in due[:limit]]

    async def next_due(self, *, without: Collection[SagaId] = ()) -> dt.datetime | None:
        """Return the earliest ``wake_at``."""
        await self._turn()
        return min((at for at, _ in self._tables.waiting(without)), default=None)

    async def now(self) -> dt.datetime:
        """Return the clock's instant."""
        await self._turn()
        return self._clock.now()

    # -- reading -----------------------------------------------------------

    async def load(self, saga_id: SagaId) -> Saga | None:
        """Return a saga with its whole context and all outputs."""
        await self._turn()
        return load_whole(self._tables, saga_id)

    async def record(self, saga_id: SagaId) -> SagaRecord | None:
        """Return a saga with its history and everything else that is known."""
        await self._turn()
        return record_of(self._tables, saga_id)

    async def page(self, which: SagaFilter) -> Page[Saga]:
        """Return snapshots without data, newest first; all of them can be read."""
        await self._turn()
        found = [saga for saga in self._tables.sagas.values() if _fits(which, saga)]
        found.sort(key=lambda saga: saga.id, reverse=True)
        return Page(found[: which.limit], [])

    async def residual_page(
        self, limit: int, *, after: tuple[SagaId, int] | None = None
    ) -> Page[Residual]:
        """Return residuals that nobody has settled, by saga id and number."""
        await self._turn()
        rows = self._tables.open_residuals(after or (SagaId(""), 0))
        return residual_page(islice(rows, limit), CODEC)

    async def counts(self) -> dict[SagaState, int]:
        """Return how many sagas are in each state."""
        await self._turn()
        return dict(Counter(saga.state for saga in self._tables.sagas.values()))

    async def overview(self) -> Overview:
        """Return how things stand."""
        await self._turn()
        return overview(self._tables, self._clock.now())

    async def waiting(
        self,
        limit: int,
        *,
        after: SagaId | None = None,
        before: SagaId | None = None,
    ) -> Page[Waiting]:
        """Return sagas that have not ended, the oldest first."""
        await self._turn()
        return waiting(self._tables, limit, after or "", before or "~")

    async def traceparents(self, saga_ids: Collection[SagaId]) -> dict[SagaId, str]:
        """Return the traces that sagas belong to."""
        await self._turn()
        known = [saga_id for saga_id in saga_ids if saga_id in self._tables.sagas]
        places = [(saga_id, 1) for saga_id in known]
        return traceparents_of(self._tables.entries(places))

    async def delete(self, saga_id: SagaId) -> None:
        """Delete an ended saga with all that belongs to it."""
        await self._turn()
        saga = self._tables.sagas.get(saga_id)
        if saga is None:
            raise SagaNotFoundError(saga_id)
        commands = self._tables.commands_of(saga_id)
        require_deletable(saga, has_commands=bool(commands))
        self._tables.drop(saga)

    async def prune(self, keep: Keep, limit: int) -> int:
        """Delete sagas that ended long ago."""
        await self._turn()
        found = prunable(self._tables, keep, self._clock.now(), limit)
        for saga in found:
            self._tables.drop(saga)
        return len(found)

    # -- the rest ----------------------------------------------------------

    async def acquire_engine(self) -> None:
        """Grant it: any number of engines may run in the process."""

    async def close(self) -> None:
        """Do nothing; a named store stays for the next one who opens it."""

    async def _turn(self) -> None:
        await self._clock.sleep(0)


def _fits(which: SagaFilter, saga: Saga) -> bool:
    return (
        (not which.states or saga.state in which.states)
        and which.name in (None, saga.name)
        and which.key in (None, saga.key)
        and (which.before is None or saga.id < which.before)
        and _within(which.created_from, saga.created_at, which.created_to)
        and _within(which.updated_from, saga.updated_at, which.updated_to)
        and (which.text is None or plain(which.text) in plain(saga.reason))
    )


def _within(
    start: dt.datetime | None, instant: dt.datetime, end: dt.datetime | None
) -> bool:
    return (start is None or start <= instant) and (end is None or instant < end)
