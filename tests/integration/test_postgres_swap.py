"""PostgreSQL only: batches of sagas that the process knows, in one statement."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from saga_orchestrator.core.definition import Step
from saga_orchestrator.core.events import StepAccepted, StepHeartbeat, StepSucceeded
from saga_orchestrator.core.states import Phase, SagaState
from saga_orchestrator.errors import KeyConflict, StoreError
from saga_orchestrator.ports.store import Store
from saga_stores.postgres import transact
from saga_stores.postgres.reading import CODEC
from saga_stores.postgres.swap import Swaps
from saga_stores.postgres.transaction import write_batch
from tests.conformance.builders import (
    apply,
    begin,
    complete,
    fence_of,
    plan_of,
    start,
    step,
    succeed,
)
from tests.support.postgres_sessions import waits_for_a_lock
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.postgres


@pytest.fixture
async def store(open_store: Callable[..., Any]) -> Store:
    """The handle of one process."""
    opened: Store = await open_store()
    return opened


@pytest.mark.parametrize("knows", [True, False])
async def test_what_is_known_is_not_read(
    store: Store, open_store: Any, psql: asyncpg.Connection, knows: bool
) -> None:
    """The process that moved a saga last writes at once; another one locks first."""
    saga = await begin(store)
    writer = store if knows else await open_store()
    async with psql.transaction():
        await psql.fetchval("SELECT id FROM sagas WHERE id = $1 FOR UPDATE", saga.id)
        answering = asyncio.ensure_future(succeed(writer, saga, "a"))
        await eventually(lambda: waits_for_a_lock(psql))
        query = await psql.fetchval(
            "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND datname = current_database()"
        )
    assert ("UPDATE sagas" in query) is knows
    assert (await answering).completed_steps == ("a",)


async def test_what_another_moved_meanwhile_is_decided_anew(
    store: Store, open_store: Any
) -> None:
    """A decision on an old snapshot is never written."""
    other = await open_store()
    saga = await begin(store)
    second = await succeed(other, saga, "a")
    (again,) = await store.transact([StepSucceeded(fence_of(saga, "a"))])
    assert again.ignored is not None
    assert again.ignored.reason == "repeated"
    assert (await succeed(store, second, "b")).completed_steps == ("a", "b")


async def test_what_leaves_no_entry_is_seen_too(store: Store, open_store: Any) -> None:
    """A heartbeat moves an instant and no version; it is not written over."""
    other = await open_store()
    plan = plan_of(step("a"), step("b"), step("c", depends_on=("a", "b")))
    saga = await begin(store, plan)
    await apply(store, StepAccepted(fence_of(saga, "b"), heartbeat=True))
    beaten = await apply(other, StepHeartbeat(fence_of(saga, "b")))
    assert beaten.version == saga.version + 1
    after = await succeed(store, saga, "a")
    assert after.status("b") == beaten.status("b")
    assert after.status("b").phase is Phase.ACCEPTED


async def test_a_saga_that_was_deleted_is_gone(store: Store, open_store: Any) -> None:
    """Whoever still remembers it cannot answer for it."""
    other = await open_store()
    event = start()
    saga = await complete(store, await apply(store, event))
    await other.delete(saga.id)
    (late,) = await store.transact([StepSucceeded(fence_of(saga, "a"))])
    assert late.saga is None
    again = await apply(store, event)
    assert again.state is SagaState.STARTED


async def test_a_start_that_makes_no_saga_is_looked_up(store: Store) -> None:
    """Its key may be taken: then that counts, and not what the start lacks."""
    plan = plan_of(Step("a", "do.a", input={"x": {"$ref": "context.x"}}))
    first = await begin(store, plan, key="k", context={"x": 1}, fingerprint="one")
    (again,) = await store.transact([start(plan, key="k", fingerprint="two")])
    assert isinstance(again.refusal, KeyConflict)
    (same,) = await store.transact([start(plan, key="k", fingerprint="one")])
    assert same.saga is not None
    assert same.saga.id == first.id


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_time_that_is_wrong_is_not_written(
    store: Store,
    psql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    hours: int,
) -> None:
    """A process that was asleep, or a server whose clock was set: it is read again."""
    saga = await begin(store)
    now = await psql.fetchval("SELECT clock_timestamp()")
    monkeypatch.setattr(Swaps, "now", lambda _: now + dt.timedelta(hours=hours))
    after = await succeed(store, saga, "a")
    assert abs(after.updated_at - now) < dt.timedelta(minutes=1)
    assert after.updated_at >= now


async def test_another_database_behind_the_address_is_believed(
    store: Store, psql: asyncpg.Connection
) -> None:
    """After a connection was lost, nothing of what was there before counts."""
    saga = await begin(store, context={"n": 1})
    known = {saga.id: saga}
    ((_, data),) = await store.load_dispatches([fence_of(saga, "a")], known)
    assert data.context == {"n": 1}
    await psql.execute("""UPDATE saga_data SET patch = '{"n": 2}'""")
    ((_, data),) = await store.load_dispatches([fence_of(saga, "a")], known)
    assert data.context == {"n": 1}  # not read: it never changes
    await psql.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await eventually(lambda: _answers(store))
    ((_, data),) = await store.load_dispatches([fence_of(saga, "a")], known)
    assert data.context == {"n": 2}


_TABLES = ("saga_plans", "sagas", "saga_data", "saga_history", "saga_outbox")


class _Standby:
    """A server that has everything up to now, and takes over without what follows."""

    def __init__(self, psql: asyncpg.Connection) -> None:
        self._psql = psql

    async def copy(self) -> None:
        """Stand where the primary stands."""
        for table in _TABLES:
            await self._psql.execute(f"CREATE TABLE kept_{table} AS TABLE {table}")

    async def take_over(self) -> None:
        """Be what is behind the address; a pooler between keeps its connections."""
        async with self._psql.transaction():
            await self._psql.execute(f"TRUNCATE {', '.join(_TABLES)} CASCADE")
            for table in _TABLES:
                await self._psql.execute(
                    f"INSERT INTO {table} SELECT * FROM kept_{table}"
                )


async def test_an_answer_that_comes_after_a_failover_is_not_remembered(
    open_store: Any, psql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the old primary committed last may be lost: a command is made of what is."""
    store = await open_store("?pool=4")
    last = step("c", depends_on=("a", "b"))
    saga = await begin(store, plan_of("a", step("b", depends_on=("a",)), last))
    standby = _Standby(psql)
    await standby.copy()
    arrives = asyncio.Event()
    written = asyncio.Event()

    async def late(*arguments: Any) -> Any:
        row = await write_batch(*arguments)
        written.set()
        await arrives.wait()
        return row

    monkeypatch.setattr(transact, "write_batch", late)
    answering = asyncio.ensure_future(succeed(store, saga, "a", output="lost"))
    await written.wait()
    await store.now()  # on a new connection: to whom, nobody can tell
    arrives.set()
    await answering
    monkeypatch.undo()
    await standby.take_over()
    saga = await succeed(store, saga, "a", output="kept")
    ((_, data),) = await store.load_dispatches([fence_of(saga, "b")], {saga.id: saga})
    assert data.outputs == {"a": "kept"}
    saga = await succeed(store, saga, "b")
    ((_, data),) = await store.load_dispatches([fence_of(saga, "c")], {saga.id: saga})
    assert data.outputs == {"a": "kept", "b": None}


async def test_a_stamp_of_another_server_is_none(
    store: Store, open_store: Any, psql: asyncpg.Connection
) -> None:
    """A promoted one gives lost transactions' numbers out again."""
    saga = await begin(store)
    moved = await succeed(await open_store(), saga, "a")
    stamp = await psql.fetchval("SELECT xmin FROM sagas WHERE id = $1", saga.id)
    remembered = [(CODEC.saga_row(saga), saga)]
    store._caches.snapshots.add(remembered, stamp)  # type: ignore[attr-defined]  # inside
    swaps = store._transactor._swaps  # type: ignore[attr-defined]  # inside
    swaps.server -= dt.timedelta(days=1)
    (again,) = await store.transact([StepSucceeded(fence_of(saga, "a"))])
    assert again.ignored is not None
    assert again.ignored.reason == "repeated"
    ((_, data),) = await store.load_dispatches([fence_of(moved, "b")], {saga.id: saga})
    assert data.outputs == {"a": None}


async def test_a_server_that_took_over_behind_a_pooler_is_noticed(
    store: Store, psql: asyncpg.Connection
) -> None:
    """With its first answer; what was remembered of the other one is forgotten."""
    saga = await begin(store)
    standby = _Standby(psql)
    await standby.copy()
    lost = await succeed(store, saga, "a", output="lost")
    await standby.take_over()
    store._transactor._swaps.server -= dt.timedelta(days=1)  # type: ignore[attr-defined]  # inside
    other = await begin(store)  # it answers something else first
    assert other.state is SagaState.STARTED
    ((_, data),) = await store.load_dispatches(
        [fence_of(saga, "a")], {saga.id: lost}
    )  # of the lost commit: not believed
    assert data.outputs == {}
    kept = await succeed(store, saga, "a", output="kept")
    ((_, data),) = await store.load_dispatches([fence_of(kept, "b")], {saga.id: kept})
    assert data.outputs == {"a": "kept"}


async def _answers(store: Store) -> bool:
    try:
        await store.now()
    except StoreError:
        return False
    return True
