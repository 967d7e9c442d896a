"""The SQLite store: one thread writes, one reads, the loop waits for both."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Self

from saga_orchestrator.core.decision import Decision
from saga_orchestrator.core.events import Event
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.public import PublicEvent
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.core.saga import Saga, SagaData
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.ports.clock import Clock, SystemClock
from saga_orchestrator.ports.overview import Overview, Waiting
from saga_orchestrator.ports.records import Migration, OutboxRow, Page, SagaRecord
from saga_orchestrator.ports.store import LEASE, Keep, SagaFilter, Store
from saga_stores._caches import Caches
from saga_stores._data import traceparents_of
from saga_stores._rows import Row
from saga_stores.sqlite import events as event_rows
from saga_stores.sqlite import loading, monitoring, outbox, schema
from saga_stores.sqlite.connection import (
    CODEC,
    QUERIES,
    as_list,
    from_micros,
    open_reader,
    open_writer,
    to_micros,
)
from saga_stores.sqlite.deletion import delete, prune
from saga_stores.sqlite.keys import SqliteApiKeys
from saga_stores.sqlite.location import Location
from saga_stores.sqlite.lock import EngineLock
from saga_stores.sqlite.transact import transact
from saga_stores.sqlite.worker import Worker


class SqliteSagaStore(Store):
    """Sagas in one file.

    A commit that was answered survives the death of the process and, unless
    the URL says ``?synchronous=normal``, a power cut. One engine runs on a
    file; other processes of the machine may start sagas and read them at the
    same time. SQLite has no clock of a server, and needs none: everyone is on
    one machine, so the time is the machine's.
    """

    def __init__(self, location: Location, clock: Clock) -> None:
        self._location = location
        self._clock = clock
        self._caches = Caches(CODEC)
        self._writer = Worker("sqlite-writer", location, open_writer)
        self._reader = Worker("sqlite-reader", location, open_reader)
        self._lock = EngineLock(location.path)
        self._secret = b""

    @classmethod
    async def connect(
        cls, url: str, *, clock: Clock | None, migrate: bool | None
    ) -> Self:
        """Open the file; made and migrated, unless ``migrate`` is False."""
        store = cls(Location.parse(url), clock or SystemClock())
        try:
            await store._open(migrate=migrate is not False)
        except BaseException:
            await store.close()
            raise
        return store

    @classmethod
    async def migrate(cls, url: str, *, dry_run: bool = False) -> list[Migration]:
        """Bring the schema up to date; many processes may do so at once."""
        location = Location.parse(url)
        if dry_run and not location.path.exists():
            return list(schema.MIGRATIONS)
        connect = open_reader if dry_run else open_writer
        worker = Worker("sqlite-migration", location, connect)
        try:
            await worker.open()
            if dry_run:
                return await worker.run(schema.missing_migrations)
            return await worker.run(schema.migrate, SystemClock().now())
        finally:
            await worker.close()

    @property
    def secret(self) -> bytes:
        """32 random bytes made with the file."""
        return self._secret

    @property
    def api_keys(self) -> SqliteApiKeys:
        """Who may call the HTTP API on this store."""
        return SqliteApiKeys(self._reader, self._writer, self._clock)

    async def transact(
        self,
        events: Sequence[Event],
        *,
        settled: Sequence[Fence] = (),
        lease: dt.timedelta = LEASE,
    ) -> list[Decision]:
        """Decide and perform a batch of events."""
        return await self._writer.run(
            transact,
            *(self._caches, self._clock, events),
            settled=settled,
            lease=lease,
            tells_lifecycle=self.tells_lifecycle,
        )

    # -- the outbox --------------------------------------------------------

    async def settle(self, fences: Sequence[Fence]) -> None:
        """Remove outbox rows whose commands are confirmed."""
        await self._writer.run(outbox.settle, fences)

    async def defer(
        self, fences: Sequence[Fence], error: str, delay: dt.timedelta
    ) -> None:
        """Note why commands could not be routed."""
        await self._writer.run(outbox.defer, self._clock, fences, error, delay)

    async def extend(self, fences: Sequence[Fence], lease: dt.timedelta) -> None:
        """Keep the claims of publishes that are still pending."""
        await self._writer.run(outbox.extend, self._clock, fences, lease)

    async def claim(self, limit: int, lease: dt.timedelta) -> list[OutboxRow]:
        """Take over outbox rows whose claim has lapsed."""
        return await self._writer.run(outbox.claim, self._clock, limit, lease)

    async def claim_events(
        self,
        holder: str,
        limit: int,
        lease: dt.timedelta,
        passed_over: Sequence[SagaId] = (),
    ) -> Page[PublicEvent]:
        """Take, or keep, the right to publish events; return the first of them."""
        return await self._writer.run(
            event_rows.claim, self._clock, holder, limit, lease, passed_over=passed_over
        )

    async def delete_events(self, positions: Sequence[int]) -> None:
        """Forget events that are published."""
        await self._writer.run(event_rows.delete, positions)

    async def expire_events(self, age: dt.timedelta, limit: int) -> int:
        """Forget the first events, as far as they are so old."""
        return await self._writer.run(event_rows.expire, self._clock, age, limit)

    async def load_dispatches(
        self, fences: Sequence[Fence], snapshots: Mapping[SagaId, Saga] | None = None
    ) -> list[tuple[Saga, SagaData] | None]:
        """Load what ``command_for`` needs."""
        known = self._caches.still_known(snapshots or {})
        found = self._caches.texts.dispatches(fences, known)
        missing = [fence for fence in fences if fence not in found]
        if missing:
            found |= await self._reader.run(
                loading.load_dispatches, self._caches, missing, known
            )
        return [found[fence] for fence in fences]

    async def load_step(
        self, saga_id: SagaId, step: str
    ) -> tuple[Saga, SagaData] | None:
        """Load what a step's command is made of, awaited or not."""
        return await self._reader.run(loading.load_step, self._caches, saga_id, step)

    # -- time --------------------------------------------------------------

    async def due(
        self, limit: int, *, without: Collection[SagaId] = ()
    ) -> list[SagaId]:
        """Return sagas whose ``wake_at`` has passed, the longest due first."""
        now = to_micros(self._clock.now())
        rows = await self._rows("due", now, *as_list(without), limit)
        return [row[0] for row in rows]

    async def next_due(self, *, without: Collection[SagaId] = ()) -> dt.datetime | None:
        """Return the earliest ``wake_at``."""
        ((earliest,),) = await self._rows("next_due", *as_list(without))
        return None if earliest is None else from_micros(earliest)

    async def now(self) -> dt.datetime:
        """Return the clock's instant."""
        return self._clock.now()

    # -- reading -----------------------------------------------------------

    async def load(self, saga_id: SagaId) -> Saga | None:
        """Return a saga with its whole context and all outputs."""
        return await self._reader.run(loading.load, self._caches, saga_id)

    async def record(self, saga_id: SagaId) -> SagaRecord | None:
        """Return a saga with its history and everything else that is known."""
        return await self._reader.run(loading.record, self._caches, saga_id)

    async def page(self, which: SagaFilter) -> Page[Saga]:
        """Return snapshots without data, newest first, and what cannot be read."""
        return await self._reader.run(loading.page, self._caches, which)

    async def residual_page(
        self, limit: int, *, after: tuple[SagaId, int] | None = None
    ) -> Page[Residual]:
        """Return residuals that nobody has settled, by saga id and number."""
        return await self._reader.run(loading.open_residuals, limit, after)

    async def counts(self) -> dict[SagaState, int]:
        """Return how many sagas are in each state."""
        rows = await self._rows("count_states")
        return {SagaState(state): count for state, count in rows}

    async def overview(self) -> Overview:
        """Return how things stand."""
        return await self._reader.run(monitoring.overview, self._clock.now())

    async def waiting(
        self,
        limit: int,
        *,
        after: SagaId | None = None,
        before: SagaId | None = None,
    ) -> Page[Waiting]:
        """Return sagas that have not ended, the oldest first."""
        return await self._reader.run(
            monitoring.waiting, self._caches, limit, after or "", before or "~"
        )

    async def traceparents(self, saga_ids: Collection[SagaId]) -> dict[SagaId, str]:
        """Return the traces that sagas belong to."""
        places = [(saga_id, 1) for saga_id in saga_ids]
        return traceparents_of(await self._reader.run(loading.load_entries, places))

    async def delete(self, saga_id: SagaId) -> None:
        """Delete an ended saga with all that belongs to it."""
        await self._writer.run(delete, self._caches, saga_id)

    async def prune(self, keep: Keep, limit: int) -> int:
        """Delete sagas that ended long ago."""
        return await self._writer.run(prune, self._caches, self._clock, keep, limit)

    # -- the rest ----------------------------------------------------------

    async def acquire_engine(self) -> None:
        """Take the lock of the file.

        Raises:
            StoreLockedError: another process has it; names it.
        """
        self._lock.acquire()

    async def close(self) -> None:
        """Let what runs end, then close the file and give the lock back."""
        await self._reader.close()
        await self._writer.close()
        self._lock.release()

    async def _open(self, *, migrate: bool) -> None:
        location = self._location
        if not migrate and not location.path.exists():
            schema.refuse(location)  # connecting would make the file
        await self._writer.open()
        if migrate:
            await self._writer.run(schema.migrate, self._clock.now())
        else:
            await self._writer.run(schema.check, location)
        self._secret = await self._writer.run(schema.load_secret)
        await self._reader.open()

    async def _rows(self, query: str, *arguments: int | str) -> list[Row]:
        def fetch(connection: sqlite3.Connection) -> list[Row]:
            return connection.execute(QUERIES[query], arguments).fetchall()

        return await self._reader.run(fetch)
