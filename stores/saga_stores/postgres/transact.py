"""The one verb: decide and perform a batch, in one statement or in a transaction."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

import asyncpg  # type: ignore[import-untyped]  # it ships no types
from msgspec import Struct

from saga_orchestrator.core.batch import Batch, decide_batch, saga_ids, start_keys
from saga_orchestrator.core.decision import Decision
from saga_orchestrator.core.events import Event
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.saga import Saga
from saga_stores._caches import Caches
from saga_stores._plans import PlanCache
from saga_stores._writes import Writes, writes_of
from saga_stores.postgres.database import Database
from saga_stores.postgres.reading import CODEC
from saga_stores.postgres.swap import Swaps, is_checked
from saga_stores.postgres.transaction import (
    IfStill,
    lock_sagas,
    with_asked,
    with_conditions,
    write_batch,
)

# A plan is sent with each batch that starts sagas: where the database was
# restored from a backup, it may have lost one that this process has seen there.
_NO_PLANS = PlanCache()


class Task(Struct, frozen=True):
    """What is to be done in one transaction; the fields are those of ``transact``."""

    events: Sequence[Event]
    settled: Sequence[Fence] = ()
    lease: dt.timedelta = dt.timedelta(0)
    tells_lifecycle: bool = False


class Transactor:
    """Performs batches, and remembers what it wrote.

    Args:
        database: where.
        caches: what is remembered of rows.
        swaps: whether a batch can do without locks.
        given_time: returns the store's time; None: it is the database's.
    """

    def __init__(
        self,
        database: Database,
        caches: Caches,
        swaps: Swaps,
        given_time: Callable[[], dt.datetime | None],
    ) -> None:
        self._database = database
        self._caches = caches
        self._swaps = swaps
        self._given_time = given_time

    async def transact(self, task: Task) -> list[Decision]:
        """Decide and perform a batch, all or nothing."""
        epoch = self._caches.epoch
        decisions = await self._swap(task)
        if decisions is not None:
            return decisions
        async with self._database.transaction() as connection:
            batch, writes, row = await self._lock_and_write(connection, task)
        self._remember(writes, row, epoch)
        return batch.decisions

    async def perform(
        self, connection: asyncpg.Connection, task: Task
    ) -> list[Decision]:
        """Do it in a transaction that may yet fail: nothing of it is remembered."""
        batch, _, _ = await self._lock_and_write(connection, task)
        return batch.decisions

    async def _swap(self, task: Task) -> list[Decision] | None:
        """Do it in one statement, without locks; None: that cannot be done."""
        epoch = self._caches.epoch
        known = self._swaps.known(task.events)
        given = self._given_time()
        now = given or self._swaps.now()
        if known is None or now is None:
            return None
        batch, writes = _decide(task, [saga for saga, _ in known.values()], now)
        if writes.has_rare or not is_checked(task.events, known, batch):
            return None
        stamps = {saga_id: stamp for saga_id, (_, stamp) in known.items()}
        if_still = IfStill(stamps, self._swaps.server, None if given else now)
        async with self._database.connection() as connection:
            try:
                row = await write_batch(connection, writes, task.settled, if_still)
            except (asyncpg.DivisionByZeroError, asyncpg.UniqueViolationError):
                self._swaps.failed()
                return None
        self._remember(writes, row, epoch)
        return batch.decisions

    async def _lock_and_write(
        self, connection: asyncpg.Connection, task: Task
    ) -> tuple[Batch, Writes, asyncpg.Record | None]:
        events = task.events
        locked, read_at = await lock_sagas(
            connection, saga_ids(events), start_keys(events), self._caches
        )
        sagas = await with_conditions(connection, locked)
        sagas = await with_asked(connection, sagas, events)
        batch, writes = _decide(task, sagas, self._given_time() or read_at)
        return batch, writes, await write_batch(connection, writes, task.settled)

    def _remember(self, writes: Writes, row: asyncpg.Record | None, epoch: int) -> None:
        """Keep what a transaction wrote, now that it is committed.

        Nothing where all was forgotten since it began: it may be of a server that
        has lost it since, and whose answer is late.
        """
        if row is not None and not self._swaps.see(row["server"], row["now"]):
            self._caches.forget()
        if self._caches.epoch == epoch:
            self._caches.add(writes, None if row is None else row["stamp"])


def _decide(
    task: Task, sagas: Sequence[Saga], now: dt.datetime
) -> tuple[Batch, Writes]:
    batch = decide_batch(task.events, sagas, now, tells_lifecycle=task.tells_lifecycle)
    return batch, writes_of(batch, now, task.lease, CODEC, stored=_NO_PLANS)
