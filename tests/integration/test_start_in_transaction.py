"""A saga that is started inside the caller's own transaction, on PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from saga_orchestrator import (
    Handlers,
    KeyConflict,
    Manager,
    SagaDefinition,
    SagaNotFoundError,
    Step,
    StepContext,
)
from saga_orchestrator.errors import ConfigurationError, PayloadError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ORDER = SagaDefinition(
    "order", steps=[Step("pay", action="pay.take", when={"context.paid": True})]
)

pay = Handlers("pay")


@pay.step("pay.take")
async def take(ctx: StepContext, order: dict) -> dict:
    """Take the money."""
    return {"taken": order["cents"]}


@pytest.fixture
async def manager(postgres_url: str) -> AsyncIterator[Manager]:
    """An engine with handlers, on a store with a business table beside."""
    async with Manager.open(
        store=postgres_url, migrate=True, handlers=[pay], definitions=[ORDER]
    ) as opened:
        psql = await asyncpg.connect(postgres_url)
        await psql.execute("CREATE TABLE orders (id text PRIMARY KEY)")
        await psql.close()
        yield opened


@pytest.fixture
async def connection(
    manager: Manager, postgres_url: str
) -> AsyncIterator[asyncpg.Connection]:
    """The caller's connection, with the codec for JSON that many set."""
    del manager  # it makes the tables
    psql = await asyncpg.connect(postgres_url)
    for kind in ("json", "jsonb"):
        await psql.set_type_codec(
            kind, encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
        )
    yield psql
    await psql.close()


CONTEXT = {"cents": 500, "paid": True, "note": "Zoë"}


async def test_the_saga_is_there_if_the_business_row_is(
    manager: Manager, connection: asyncpg.Connection
) -> None:
    """Committed together, it runs at once, without another call."""
    async with connection.transaction():
        await connection.execute("INSERT INTO orders VALUES ('o-1')")
        saga = await manager.start(ORDER, context=CONTEXT, connection=connection)
        with pytest.raises(SagaNotFoundError):
            await manager.get(saga.id)
    saga = await manager.wait(saga.id, timeout=30)
    assert saga.is_completed
    assert saga.outputs["pay"] == {"taken": 500}
    assert saga.context == CONTEXT


async def test_neither_is_there_after_a_rollback(
    manager: Manager, connection: asyncpg.Connection
) -> None:
    """What the caller takes back was never there, and its key is free."""
    transaction = connection.transaction()
    await transaction.start()
    saga = await manager.start(
        "order", context=CONTEXT, key="o-1", connection=connection
    )
    await transaction.rollback()
    with pytest.raises(SagaNotFoundError):
        await manager.get(saga.id)
    again = await manager.start("order", context=CONTEXT, key="o-1")
    assert again.id != saga.id


async def test_a_key_is_one_saga_here_too(
    manager: Manager, connection: asyncpg.Connection
) -> None:
    """A repeated start finds the saga; another body is a conflict."""
    first = await manager.start("order", context=CONTEXT, key="o-1")
    async with connection.transaction():
        again = await manager.start(
            "order", context=CONTEXT, key="o-1", connection=connection
        )
        assert again.id == first.id
        with pytest.raises(KeyConflict):
            await manager.start(
                "order", context={"paid": False}, key="o-1", connection=connection
            )
        # What was refused left the transaction as it was.
        await connection.execute("INSERT INTO orders VALUES ('o-1')")
    assert await connection.fetchval("SELECT count(*) FROM orders") == 1


async def test_two_transactions_with_one_key_are_one_saga(
    manager: Manager, postgres_url: str
) -> None:
    """The second waits for the first, and then finds its saga, or may try again."""

    async def one(name: str) -> str:
        psql = await asyncpg.connect(postgres_url)
        try:
            async with psql.transaction():
                saga = await manager.start(
                    "order", context=CONTEXT, key="o-1", connection=psql
                )
                await psql.execute("INSERT INTO orders VALUES ($1)", name)
                return saga.id
        finally:
            await psql.close()

    results = await asyncio.gather(
        *(one(f"o-{n}") for n in range(8)), return_exceptions=True
    )
    ids = {result for result in results if isinstance(result, str)}
    assert len(ids) == 1
    assert all(
        isinstance(result, str) or getattr(result, "retryable", False)
        for result in results
    ), results
    assert (await manager.wait(ids.pop(), timeout=30)).is_completed


@pytest.mark.parametrize(
    ("context", "told"),
    [({"cents": float("nan")}, "context.cents"), ({"cents": 1}, "context.paid")],
)
async def test_a_bad_start_leaves_the_transaction_usable(
    manager: Manager, connection: asyncpg.Connection, context: dict, told: str
) -> None:
    """The error names the field, and the caller may go on and commit."""
    async with connection.transaction():
        with pytest.raises(PayloadError, match=told):
            await manager.start(ORDER, context=context, connection=connection)
        await connection.execute("INSERT INTO orders VALUES ('o-1')")
    assert await connection.fetchval("SELECT count(*) FROM orders") == 1


async def test_a_connection_of_no_use_is_refused(
    manager: Manager, connection: asyncpg.Connection, postgres_url: str
) -> None:
    """No transaction, no asyncpg, another database: each says so."""
    with pytest.raises(ConfigurationError, match="is in no transaction"):
        await manager.start(ORDER, context=CONTEXT, connection=connection)
    with pytest.raises(ConfigurationError, match="pass an asyncpg connection"):
        await manager.start(ORDER, context=CONTEXT, connection="postgresql://")
    other = await asyncpg.connect(postgres_url.rpartition("/")[0] + "/postgres")
    try:
        async with other.transaction():
            with pytest.raises(ConfigurationError, match="does not see the tables"):
                await manager.start(ORDER, context=CONTEXT, connection=other)
            assert await other.fetchval("SELECT 1") == 1
    finally:
        await other.close()


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/saga.db"])
async def test_other_stores_say_what_to_do(url: str, tmp_path) -> None:
    """Where there is no transaction to share, the error names the way."""
    store = url.format(tmp_path)
    async with Manager.open(store=store, definitions=[ORDER]) as manager:
        with pytest.raises(ConfigurationError, match="after your commit, with a key"):
            await manager.start(ORDER, context=CONTEXT, connection=object())
