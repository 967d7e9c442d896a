"""PostgreSQL only: row locks, the clock, the view for people, cheap updates."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from saga_orchestrator.core.events import StepFailed, StepSucceeded
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.errors import ConcurrencyError, StoreError
from saga_orchestrator.ports.store import SagaFilter, Store
from tests.conformance.builders import (
    PLAN,
    SECOND,
    begin,
    complete,
    fence_of,
    plan_of,
    refuse,
    start,
    step,
    succeed,
    with_residual,
)
from tests.support.postgres_sessions import waits_for_a_lock
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from saga_orchestrator.core.ids import SagaId

pytestmark = pytest.mark.postgres


@pytest.fixture
async def store(open_store: Callable[..., Any]) -> Store:
    """A handle on an empty store, on the database's time."""
    opened: Store = await open_store()
    return opened


async def hold(psql: asyncpg.Connection, saga_id: SagaId) -> None:
    """Lock a saga's row in the transaction that is open."""
    await psql.fetchval("SELECT id FROM sagas WHERE id = $1 FOR UPDATE", saga_id)


# -- locks ---------------------------------------------------------------------


async def test_a_locked_saga_is_waited_for(
    store: Store, open_store: Any, psql: asyncpg.Connection
) -> None:
    """A batch waits for the row, and reads the clock when it has it."""
    saga = await begin(await open_store())
    transaction = psql.transaction()
    await transaction.start()
    await hold(psql, saga.id)
    answering = asyncio.ensure_future(succeed(store, saga, "a"))
    await eventually(lambda: waits_for_a_lock(psql))
    released_at = await psql.fetchval("SELECT clock_timestamp()")
    await transaction.rollback()
    assert (await answering).updated_at >= released_at


async def test_two_handles_apply_both_answers(open_store: Any) -> None:
    """Answers that two processes bring at once are applied one after the other."""
    one, other = await open_store(), await open_store()
    plan = plan_of(step("a"), step("b"), step("c", depends_on=("a", "b")))
    saga = await begin(one, plan)
    await asyncio.gather(succeed(one, saga, "a"), succeed(other, saga, "b"))
    after = await one.load(saga.id)
    assert after.completed_steps == ("a", "b")
    assert after.next_steps == ()
    assert after.status("c").is_in_flight


async def test_locks_are_taken_in_id_order(
    store: Store, psql: asyncpg.Connection
) -> None:
    """So that no two batches deadlock, whatever the order of their events."""
    sagas = [await begin(store) for _ in range(10)]
    answers = [StepSucceeded(fence_of(saga, "a")) for saga in reversed(sagas)]
    transaction = psql.transaction()
    await transaction.start()
    await hold(psql, sagas[0].id)
    answering = asyncio.ensure_future(store.transact(answers))
    await eventually(lambda: waits_for_a_lock(psql))
    # The batch waits for the first, so it has none of the others yet.
    free = await psql.fetch("SELECT id FROM sagas FOR UPDATE NOWAIT")
    assert len(free) == 10
    await transaction.rollback()
    assert all(decision.history for decision in await answering)


@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout"])
async def test_a_lock_that_lasts_is_not_waited_for(
    store: Store, open_store: Any, psql: asyncpg.Connection, limit: str
) -> None:
    """Behind a forgotten transaction a batch gives up, and may be tried again."""
    saga = await begin(store)
    hasty = await open_store(f"?{limit}=100ms")
    async with psql.transaction():
        await hold(psql, saga.id)
        with pytest.raises(ConcurrencyError):
            await succeed(hasty, saga, "a")
    assert (await succeed(hasty, saga, "a")).completed_steps == ("a",)


async def test_claiming_skips_what_another_claims(
    open_store: Any, psql: asyncpg.Connection
) -> None:
    """A row that a relay is claiming right now goes to nobody else, at no wait."""
    one, other = await open_store(), await open_store()
    events = [start() for _ in range(4)]
    await one.transact(events, lease=dt.timedelta(0))
    async with psql.transaction():
        await psql.fetchval(
            "SELECT 1 FROM saga_outbox WHERE saga_id = $1 FOR UPDATE", events[0].saga_id
        )
        rows = await other.claim(10, 5 * SECOND)
    assert {row.fence.saga_id for row in rows} == {one.saga_id for one in events[1:]}


async def test_two_relays_share_the_outbox(open_store: Any) -> None:
    """Relays that claim at once get every row once."""
    one, other = await open_store(), await open_store()
    await one.transact([start() for _ in range(200)], lease=dt.timedelta(0))
    claims = await asyncio.gather(
        *(handle.claim(20, 60 * SECOND) for handle in (one, other) * 6)
    )
    fences = [row.fence for rows in claims for row in rows]
    assert len(fences) == len(set(fences)) == 200


# -- the clock -----------------------------------------------------------------


async def test_time_is_the_databases(store: Store, psql: asyncpg.Connection) -> None:
    """Without a given clock every instant is by the database's, in UTC."""
    before = await psql.fetchval("SELECT clock_timestamp()")
    saga = await begin(store)
    after = await store.now()
    assert before <= saga.created_at <= after
    assert saga.created_at.utcoffset() == dt.timedelta(0)


# -- for people ----------------------------------------------------------------


async def test_the_view_decodes_the_vector(
    store: Store, psql: asyncpg.Connection
) -> None:
    """``saga_steps`` shows what the program sees."""
    plan = plan_of(step("a"), step("b"), step("c"), step("d"))
    saga = await begin(store, plan)
    saga = await succeed(store, saga, "a")
    await store.transact([StepFailed(fence_of(saga, "b"), refused=False)])
    rows = await psql.fetch("SELECT * FROM saga_steps ORDER BY number")
    after = await store.load(saga.id)
    assert after is not None
    assert [row["name"] for row in rows] == ["a", "b", "c", "d"]
    for row, status in zip(rows, after.steps, strict=True):
        assert row["saga_id"] == saga.id
        for column in (
            *("state", "outcome", "phase", "generation", "attempt", "mark"),
            *("opened_at", "due_at"),
        ):
            assert row[column] == getattr(status, column), column
    assert rows[1]["state"] == "compensating"
    assert rows[1]["outcome"] == "unknown"
    assert rows[1]["due_at"] is not None
    assert rows[2]["opened_at"] is None


# -- cost ----------------------------------------------------------------------


async def test_ordinary_transitions_leave_the_indexes_alone(
    store: Store, psql: asyncpg.Connection
) -> None:
    """Updates between the start and the end are HOT: no index entry is written."""
    plan = plan_of(*(f"s{number}" for number in range(10)))
    for _ in range(20):
        await complete(store, await begin(store, plan))
    await store.close()  # what a session did is counted at its end

    async def counted() -> bool:
        """Tell whether the statistics have all 20 * 10 updates."""
        return bool(await psql.fetchval(f"SELECT n_tup_upd >= 200 {_SAGAS}"))

    await eventually(counted)
    share = await psql.fetchval(f"SELECT n_tup_hot_upd::float / n_tup_upd {_SAGAS}")
    assert share >= 0.85  # the last of the ten ends the saga


async def test_no_hot_statement_reads_a_table_whole(
    open_store: Any, psql: asyncpg.Connection
) -> None:
    """Also while the planner knows nothing of a new database's tables."""
    store = await open_store("?pool=1")
    store.tells_lifecycle = True
    await psql.execute(
        "ALTER TABLE sagas SET (autovacuum_enabled = off);"
        "ALTER TABLE saga_outbox SET (autovacuum_enabled = off);"
        "ALTER TABLE saga_events SET (autovacuum_enabled = off)"
    )
    for number in range(50):
        saga = await begin(store, PLAN, key=f"k-{number}")
        saga = await succeed(store, saga, "a")
        await store.claim(10, SECOND)
        await store.settle([fence_of(saga, "b")])
        await store.due(10)
        await store.next_due()
        page = await store.claim_events("test", 256, SECOND)
        await store.delete_events([event.position for event in page.items])
        await store.claim_events("test", 256, SECOND)
        await store.find(SagaFilter(frozenset({SagaState.FAILED})))
    await store.close()  # what a session did is counted at its end

    async def counted() -> bool:
        """Tell whether the statistics have all 50 starts."""
        return bool(await psql.fetchval(f"SELECT n_tup_ins = 50 {_SAGAS}"))

    await eventually(counted)
    scans = await psql.fetch(
        "SELECT relname, seq_scan FROM pg_stat_user_tables"
        " WHERE relname IN ('sagas', 'saga_data', 'saga_history', 'saga_outbox',"
        " 'saga_events')"
    )
    # Making an index, and the view, reads the empty table.
    assert {row["relname"]: row["seq_scan"] for row in scans if row[1] > 5} == {}


async def test_the_database_repeats_the_invariants(
    store: Store, psql: asyncpg.Connection
) -> None:
    """A hand that writes nonsense into a saga is stopped."""
    saga = await begin(store)
    for nonsense in (
        "state = 'stuck'",
        "state = 'completed'",
        "ended_at = now()",
        "version = 0",
        "steps = 'abc'",
        "residuals = -1",
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            await psql.execute(f"UPDATE sagas SET {nonsense}")
    assert (await refuse(store, saga, "a")).is_compensated
    await with_residual(store)
    for half in ("settled_at = now()", "settled_by = 'ann'", "undo_id = 'x'"):
        with pytest.raises(asyncpg.CheckViolationError):
            await psql.execute(f"UPDATE saga_residuals SET {half}")


async def test_a_closed_store_says_so(store: Store) -> None:
    """Closing twice is fine; using it after is an error that is not retried."""
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="closed") as refused:
        await store.now()
    assert not refused.value.retryable


_SAGAS = "FROM pg_stat_user_tables WHERE relname = 'sagas'"
