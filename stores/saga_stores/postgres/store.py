"""The store's face: the methods of the port, each in one transaction at most."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Self

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from saga_orchestrator.core.decision import Decision
from saga_orchestrator.core.events import Event, SagaStarted
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.public import PublicEvent
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.core.saga import Saga, SagaData
from saga_orchestrator.core.states import ACTIVE, SagaState
from saga_orchestrator.errors import SagaNotFoundError
from saga_orchestrator.ports.clock import Clock, SystemClock
from saga_orchestrator.ports.overview import Overview, PoolUse, Waiting
from saga_orchestrator.ports.records import Migration, OutboxRow, Page, SagaRecord
from saga_orchestrator.ports.saga_filter import plain
from saga_orchestrator.ports.starts import (
    RequestedStart,
    StartRequests,
    StartsLeft,
    TakenStart,
)
from saga_orchestrator.ports.store import LEASE, Keep, SagaFilter, Store
from saga_stores._caches import Caches
from saga_stores._data import traceparents_of
from saga_stores._deletion import require_deletable
from saga_stores._pages import event_page, residual_page
from saga_stores.postgres import schema, starts
from saga_stores.postgres.address import Address
from saga_stores.postgres.database import SQL, Database
from saga_stores.postgres.joining import joined
from saga_stores.postgres.keys import PostgresApiKeys
from saga_stores.postgres.monitoring import read_overview, read_waiting
from saga_stores.postgres.reading import (
    CODEC,
    read_data,
    read_dispatches,
    read_page,
    read_record,
    read_step,
    read_whole,
)
from saga_stores.postgres.swap import Swaps
from saga_stores.postgres.transact import Task, Transactor
from saga_stores.postgres.transaction import lock_sagas, outbox_keys


class PostgresSagaStore(Store, StartRequests):
    """Sagas in PostgreSQL, for any number of replicas."""

    def __init__(
        self,
        database: Database,
        secret: bytes,
        clock: Clock | None,
        caches: Caches,
        swaps: Swaps,
    ) -> None:
        self._database = database
        self._secret = secret
        self._clock = clock
        self._caches = caches
        self._transactor = Transactor(database, caches, swaps, self._given_time)

    @classmethod
    async def connect(
        cls, url: str, *, clock: Clock | None, migrate: bool | None
    ) -> Self:
        """Open ``postgresql://user:password@host:port/database?pool=10``."""
        address = Address.parse(url)
        if migrate:
            await schema.migrate(address, dry_run=False)
        caches = Caches(CODEC)
        swaps = Swaps(caches.snapshots, SystemClock().monotonic)

        def forget() -> None:
            caches.forget()
            swaps.forget()

        database = await Database.open(address, on_connect=forget)
        try:
            await schema.check(database)
            secret = await schema.read_secret(database)
        except BaseException:
            await database.close()
            raise
        return cls(database, secret, clock, caches, swaps)

    @classmethod
    async def migrate(cls, url: str, *, dry_run: bool = False) -> list[Migration]:
        """Bring the schema up to date; a transaction a migration."""
        return await schema.migrate(Address.parse(url), dry_run=dry_run)

    @property
    def secret(self) -> bytes:
        """32 random bytes made with the schema."""
        return self._secret

    @property
    def api_keys(self) -> PostgresApiKeys:
        """Who may call the HTTP API on this store."""
        return PostgresApiKeys(self._database, self._clock)

    # -- the verb ----------------------------------------------------------

    async def transact(
        self,
        events: Sequence[Event],
        *,
        settled: Sequence[Fence] = (),
        lease: dt.timedelta = LEASE,
    ) -> list[Decision]:
        """Decide and perform a batch in one transaction."""
        task = Task(events, settled, lease, self.tells_lifecycle)
        return await self._transactor.transact(task)

    async def transact_within(
        self, connection: object, events: Sequence[Event]
    ) -> list[Decision]:
        """Decide and perform a batch in the caller's transaction, on a savepoint."""
        async with joined(connection, self._secret, self._database.shown) as given:
            return await self._perform(given, events)

    async def take_starts(
        self,
        names: Sequence[str],
        limit: int,
        event_of: Callable[[RequestedStart], SagaStarted],
    ) -> list[TakenStart]:
        """Start what was asked for with the SQL function ``saga_start``."""
        return await starts.take_starts(
            self._database,
            self._given_time(),
            names,
            limit,
            event_of=event_of,
            perform=self._perform,
        )

    async def starts_left(self, limit: int) -> list[StartsLeft]:
        """Return what was asked for and is no saga yet, by definition and error."""
        return await starts.starts_left(self._database, limit)

    async def _perform(
        self, connection: asyncpg.Connection, events: Sequence[Event]
    ) -> list[Decision]:
        task = Task(events, tells_lifecycle=self.tells_lifecycle)
        return await self._transactor.perform(connection, task)

    # -- the outbox --------------------------------------------------------

    async def settle(self, fences: Sequence[Fence]) -> None:
        """Remove outbox rows."""
        await self._database.fetch("settle", *outbox_keys(fences))

    async def defer(
        self, fences: Sequence[Fence], error: str, delay: dt.timedelta
    ) -> None:
        """Note why commands could not be routed."""
        await self._database.fetch(
            "defer", *outbox_keys(fences), self._given_time(), delay, error
        )

    async def extend(self, fences: Sequence[Fence], lease: dt.timedelta) -> None:
        """Keep claims."""
        await self._database.fetch(
            "extend", *outbox_keys(fences), self._given_time(), lease
        )

    async def claim(self, limit: int, lease: dt.timedelta) -> list[OutboxRow]:
        """Take over lapsed rows, skipping those that another is claiming."""
        rows = await self._database.fetch("claim", self._given_time(), limit, lease)
        return [CODEC.outgoing(row) for row in rows]

    async def claim_events(
        self,
        holder: str,
        limit: int,
        lease: dt.timedelta,
        passed_over: Sequence[SagaId] = (),
    ) -> Page[PublicEvent]:
        """Take, or keep, the right to publish; then read, as of after that."""
        asked = ("events", holder, self._given_time(), lease)
        if not await self._database.fetch("take_lease", *asked):
            return Page([], [])
        rows = await self._database.fetch("events", limit, list(passed_over))
        return event_page(map(tuple, rows), CODEC)

    async def delete_events(self, positions: Sequence[int]) -> None:
        """Forget events that are published."""
        await self._database.fetch("delete_events", list(positions))

    async def expire_events(self, age: dt.timedelta, limit: int) -> int:
        """Forget the first events, as far as they are so old."""
        now = self._given_time()
        return len(await self._database.fetch("expire_events", now, age, limit))

    async def load_dispatches(
        self, fences: Sequence[Fence], snapshots: Mapping[SagaId, Saga] | None = None
    ) -> list[tuple[Saga, SagaData] | None]:
        """Load what commands are made of, in two statements where any is needed."""
        known = self._caches.still_known(snapshots or {})
        found = self._caches.texts.dispatches(fences, known)
        missing = [fence for fence in fences if fence not in found]
        if missing:
            async with self._database.connection() as connection:
                found |= await read_dispatches(connection, missing, known, self._caches)
        return [found[fence] for fence in fences]

    async def load_step(
        self, saga_id: SagaId, step: str
    ) -> tuple[Saga, SagaData] | None:
        """Load what a step's command is made of, awaited or not."""
        async with self._reading() as connection:
            return await read_step(connection, saga_id, step, self._caches)

    # -- timers ------------------------------------------------------------

    async def due(
        self, limit: int, *, without: Collection[SagaId] = ()
    ) -> list[SagaId]:
        """Return sagas whose ``wake_at`` has passed."""
        rows = await self._database.fetch(
            "due", self._given_time(), limit, list(without)
        )
        return [SagaId(row["id"]) for row in rows]

    async def next_due(self, *, without: Collection[SagaId] = ()) -> dt.datetime | None:
        """Return the earliest ``wake_at``."""
        rows = await self._database.fetch("next_due", list(without))
        earliest: dt.datetime | None = rows[0][0]
        return earliest

    async def now(self) -> dt.datetime:
        """Return the given clock's instant, else the database's."""
        given = self._given_time()
        return given or (await self._database.fetch("now"))[0][0]

    # -- for people --------------------------------------------------------

    async def load(self, saga_id: SagaId) -> Saga | None:
        """Return a saga with all its data."""
        async with self._reading() as connection:
            return await read_whole(connection, saga_id, self._caches)

    async def record(self, saga_id: SagaId) -> SagaRecord | None:
        """Return all that is known of a saga, as of one instant."""
        async with self._reading() as connection:
            return await read_record(connection, saga_id, self._caches)

    async def page(self, which: SagaFilter) -> Page[Saga]:
        """Return snapshots without data, newest first, and what cannot be read."""
        query = "find"
        if which.key is not None:
            query = "find_key"
        elif which.states and which.states <= ACTIVE:
            query = "find_active"
        async with self._database.connection() as connection:
            return await read_page(connection, query, _arguments(which), self._caches)

    async def residual_page(
        self, limit: int, *, after: tuple[SagaId, int] | None = None
    ) -> Page[Residual]:
        """Return residuals that nobody has settled, by saga id and number."""
        cursor = after or ("", 0)
        rows = await self._database.fetch("open_residuals", limit, *cursor)
        return residual_page(rows, CODEC)

    async def counts(self) -> dict[SagaState, int]:
        """Return how many sagas are in each state."""
        rows = await self._database.fetch("counts")
        return {SagaState(state): count for state, count in rows}

    async def overview(self) -> Overview:
        """Return how things stand."""
        async with self._reading() as connection:
            return await read_overview(connection, self._given_time())

    async def waiting(
        self,
        limit: int,
        *,
        after: SagaId | None = None,
        before: SagaId | None = None,
    ) -> Page[Waiting]:
        """Return sagas that have not ended, the oldest first."""
        async with self._database.connection() as connection:
            return await read_waiting(
                connection, limit, after or "", before or "~", self._caches
            )

    def pool(self) -> PoolUse | None:
        """Return how many connections the pool has."""
        return self._database.use

    async def traceparents(self, saga_ids: Collection[SagaId]) -> dict[SagaId, str]:
        """Return the traces that sagas belong to."""
        async with self._database.connection() as connection:
            places = [(saga_id, 1) for saga_id in saga_ids]
            return traceparents_of((await read_data(connection, [], places))[1])

    async def delete(self, saga_id: SagaId) -> None:
        """Delete an ended saga with all that belongs to it."""
        async with self._database.transaction() as connection:
            found, _ = await lock_sagas(connection, [saga_id], [], self._caches)
            if not found:
                raise SagaNotFoundError(saga_id)
            outbox = await connection.fetch(SQL["outbox"], saga_id)
            require_deletable(found[0], has_commands=bool(outbox))
            await connection.execute(SQL["delete"], saga_id)

    async def prune(self, keep: Keep, limit: int) -> int:
        """Delete sagas that ended long ago, in one statement."""
        rows = await self._database.fetch(
            "prune",
            self._given_time(),
            limit,
            keep.others,
            list(keep.by_name),
            list(keep.by_name.values()),
        )
        return len(rows)

    # -- life cycle --------------------------------------------------------

    async def acquire_engine(self) -> None:
        """Grant it: any number of engines may run."""

    async def close(self) -> None:
        """Close the connections; idempotent."""
        await self._database.close()

    def _reading(self) -> contextlib.AbstractAsyncContextManager[asyncpg.Connection]:
        """Borrow a connection for several statements that see one instant."""
        return self._database.transaction(isolation="repeatable_read", readonly=True)

    def _given_time(self) -> dt.datetime | None:
        """Return the given clock's instant; None: the database's counts."""
        return None if self._clock is None else self._clock.now()


def _arguments(which: SagaFilter) -> list[Any]:
    """Return what the three queries of ``page`` take."""
    return [
        list(which.states) or None,
        *(which.name, which.key, which.before, which.limit),
        *(which.created_from, which.created_to),
        *(which.updated_from, which.updated_to),
        None if which.text is None else plain(which.text),
    ]
