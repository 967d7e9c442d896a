"""An orchestrator on counted servers: what its sagas cost there."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import asyncpg

from saga_orchestrator.bench.account import Counters
from saga_orchestrator.bench.load import Load, LoadOrder
from saga_orchestrator.bench.parts import Servers, open_orchestrator
from saga_orchestrator.bench.plan import Shape
from saga_orchestrator.bench.subject import Subject, topology_of
from saga_orchestrator.bench.tickets import Tickets
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.ports.store import Store
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
    from pathlib import Path

    from saga_orchestrator.bench.counting import CountingBroker
    from saga_orchestrator.core.decision import Decision
    from saga_orchestrator.runtime.manager import Manager

IDLE_SECONDS = 1.5

_STATEMENTS = """
SELECT queryid, calls FROM pg_stat_statements
JOIN pg_database ON oid = dbid WHERE datname = current_database()
"""
_XIDS = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
_WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"


class Counted:
    """One orchestrator with the handlers, and the counters of its servers.

    Args:
        manager: of the product, with its engine.
        broker: counts messages.
        connection: to the database, beside the manager's.
        loads: hears of each commit; whoever is in there notices its sagas.
        folder: for what loads need.
    """

    def __init__(
        self,
        manager: Manager,
        broker: CountingBroker,
        connection: asyncpg.Connection,
        loads: list[Load],
        folder: Path,
    ) -> None:
        self._manager = manager
        self._broker = broker
        self._connection = connection
        self._loads = loads
        self._folder = folder
        self._clock = SystemClock()
        self._polls: frozenset[int] = frozenset()

    async def rest(self) -> dict[str, float]:
        """Count what is asked while there is nothing to do.

        These statements come by the clock. So they are left out of what sagas cost,
        which would else depend on how long they took.
        """
        begun = self._clock.monotonic()
        calls = await self._statements(lambda: self._clock.sleep(IDLE_SECONDS))
        self._polls = frozenset(calls)
        seconds = self._clock.monotonic() - begun
        return {"statements_per_second": calls.total() / seconds}

    async def run(self, sagas: int, window: int) -> dict[str, float]:
        """Run sagas, so many at a time; return what each of them cost."""
        before = Counters.now(self._broker)
        xids = await self._connection.fetchval(_XIDS)
        wal = await self._connection.fetchval(_WAL)
        calls = await self._statements(lambda: self._load(sagas, window))
        wal = await self._connection.fetchval(_WAL) - wal
        xids = await self._connection.fetchval(_XIDS) - xids
        account = Counters.now(self._broker).account(before, {}, {})
        statements = sum(n for one, n in calls.items() if one not in self._polls)
        return {
            "commits": account.commits / sagas,
            "write_transactions": xids / sagas,
            "statements": statements / sagas,
            "statements_per_commit": statements / account.commits,
            "messages": account.messages / sagas,
            "wal_bytes": wal / sagas,
        }

    async def _statements(
        self, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> Counter[int]:
        """Return how often each statement was run meanwhile."""
        await self._connection.execute("SELECT pg_stat_statements_reset()")
        await work()
        rows = await self._connection.fetch(_STATEMENTS)
        return Counter({row["queryid"]: row["calls"] for row in rows})

    async def _load(self, sagas: int, window: int) -> None:
        place = self._folder / f"{len(self._loads)}.tickets"
        order = LoadOrder(
            tickets=str(place),
            sagas=sagas,
            window=window,
            rate=None,
            begin_at=self._clock.monotonic(),
        )
        load = Load(self._manager, SUBJECT, {}, order, self._clock)
        self._loads.append(load)
        with Tickets(place, sagas) as tickets:
            await load.run(tickets)
        await eventually(lambda: len(load.ended) == sagas)


SUBJECT = Subject(Shape(), "counted")


@contextlib.asynccontextmanager
async def counted(store: str, broker: str, folder: Path) -> AsyncIterator[Counted]:
    """Open an orchestrator on a fresh database and virtual host, warmed up."""
    await (await Store.open(store, migrate=True)).close()
    servers = Servers(
        store, broker, topology_of("counted"), SystemClock(), random.Random(1)
    )
    loads: list[Load] = []

    def listen(decisions: Sequence[Decision]) -> None:
        for load in loads:
            load.notice(decisions)

    async with AsyncExitStack() as opened:
        connection = await asyncpg.connect(store)
        opened.push_async_callback(connection.close)
        counting = await servers.open_broker()
        manager = await open_orchestrator(
            servers, counting, [SUBJECT.handlers()], listen, opened
        )
        one = Counted(manager, counting, connection, loads, folder)
        await one.run(100, 50)  # connections are made and statements planned
        yield one
