"""PostgreSQL only: migrations, whatever happens to those who apply them."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from saga_orchestrator.errors import SchemaVersionError, StoreUnavailableError
from saga_orchestrator.ports.records import Migration
from saga_orchestrator.ports.store import Store
from saga_stores.postgres import PostgresSagaStore, schema
from tests.conformance.builders import (
    begin,
    goes_on,
    plan_of,
    succeed,
    with_three_residuals,
)
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TABLES = (
    "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
)


# The first release numbered a saga's residuals from 1.
COUNT_RESIDUALS = """
    UPDATE saga_residuals SET number = (
        SELECT count(*) FROM saga_residuals AS found
        WHERE found.saga_id = saga_residuals.saga_id
            AND found.number <= saga_residuals.number
    )
"""


def made_up(number: int, sql: str) -> Migration:
    """Return a migration that no release has."""
    checksum = hashlib.sha256(sql.encode()).hexdigest()
    return Migration(number, "made_up", sql, checksum)


@pytest.fixture
async def psql(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection beside the store's."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


async def numbers(psql: asyncpg.Connection) -> list[int]:
    """Return the migrations that the schema says it has."""
    rows = await psql.fetch("SELECT number FROM schema_migrations ORDER BY number")
    return [row["number"] for row in rows]


async def test_a_fresh_database_gets_all(
    postgres_url: str, psql: asyncpg.Connection
) -> None:
    """The first call applies every migration, the second none."""
    first = await PostgresSagaStore.migrate(postgres_url)
    second = await PostgresSagaStore.migrate(postgres_url)
    assert first == schema.MIGRATIONS
    assert second == []
    assert await numbers(psql) == [one.number for one in schema.MIGRATIONS]


async def test_many_starters_apply_once(postgres_url: str) -> None:
    """Of processes that start together each migration is applied by one of them."""
    results = await asyncio.gather(
        *(PostgresSagaStore.migrate(postgres_url) for _ in range(8))
    )
    applied = sorted(one.number for result in results for one in result)
    assert applied == [migration.number for migration in schema.MIGRATIONS]
    store = await Store.open(postgres_url)
    await store.close()


async def test_a_dry_run_changes_nothing(
    postgres_url: str, psql: asyncpg.Connection
) -> None:
    """It tells what would be applied, and not one table is made."""
    assert await PostgresSagaStore.migrate(postgres_url, dry_run=True) == (
        schema.MIGRATIONS
    )
    assert await psql.fetch(TABLES) == []


async def test_killed_in_the_middle(
    postgres_url: str, psql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was applied stays, the one that was cut leaves nothing half."""
    halfway = made_up(
        len(schema.MIGRATIONS) + 1, "CREATE TABLE half (); SELECT pg_sleep(60)"
    )
    released = list(schema.MIGRATIONS)
    monkeypatch.setattr(schema, "MIGRATIONS", [*released, halfway])

    async def killed() -> bool:
        """Terminate the backend that sleeps."""
        return bool(
            await psql.fetchval(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE wait_event = 'PgSleep' AND datname = current_database()"
            )
        )

    migrating = asyncio.ensure_future(PostgresSagaStore.migrate(postgres_url))
    await eventually(killed)
    with pytest.raises(StoreUnavailableError):
        await migrating
    assert await numbers(psql) == [one.number for one in released]
    assert ("half",) not in [tuple(row) for row in await psql.fetch(TABLES)]

    whole = made_up(halfway.number, "CREATE TABLE half ()")
    monkeypatch.setattr(schema, "MIGRATIONS", [*released, whole])
    assert await PostgresSagaStore.migrate(postgres_url) == [whole]


async def test_a_changed_migration_is_refused(
    postgres_url: str, psql: asyncpg.Connection
) -> None:
    """A schema made by another text of a migration is not trusted."""
    await PostgresSagaStore.migrate(postgres_url)
    await psql.execute("UPDATE schema_migrations SET checksum = 'x' WHERE number = 1")
    with pytest.raises(SchemaVersionError, match="0001_initial"):
        await PostgresSagaStore.migrate(postgres_url)
    with pytest.raises(SchemaVersionError, match="0001_initial"):
        await Store.open(postgres_url)


async def test_a_newer_schema_is_refused(
    postgres_url: str, psql: asyncpg.Connection
) -> None:
    """An old program keeps its hands off a schema that it does not know."""
    await PostgresSagaStore.migrate(postgres_url)
    await psql.execute("INSERT INTO schema_migrations VALUES (99, 'later', 'x')")
    with pytest.raises(SchemaVersionError, match="upgrade the program"):
        await PostgresSagaStore.migrate(postgres_url)
    with pytest.raises(SchemaVersionError, match="upgrade the program"):
        await Store.open(postgres_url)


async def test_a_missing_schema_names_the_command(postgres_url: str) -> None:
    """Opening does not migrate by itself; the fix is told, without the password."""
    url = postgres_url.replace("postgres@", "postgres:hunter2@")
    with pytest.raises(SchemaVersionError) as refused:
        await Store.open(url)
    shown = url.replace("hunter2", "***")
    assert f"saga migrate --store {shown}" in str(refused.value)


async def test_an_old_schema_is_refused(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program with a newer migration waits until somebody applied it."""
    await PostgresSagaStore.migrate(postgres_url)
    newer = made_up(len(schema.MIGRATIONS) + 1, "SELECT 1")
    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, newer])
    with pytest.raises(SchemaVersionError, match="too old"):
        await Store.open(postgres_url)
    store = await Store.open(postgres_url, migrate=True)
    await store.close()


async def test_every_store_has_its_own_secret(
    postgres_url: str, psql: asyncpg.Connection
) -> None:
    """The 32 bytes are made with the schema and stay."""
    await PostgresSagaStore.migrate(postgres_url)
    store = await Store.open(postgres_url)
    await store.close()
    await psql.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await PostgresSagaStore.migrate(postgres_url)
    again = await Store.open(postgres_url)
    await again.close()
    assert len(store.secret) == 32
    assert store.secret != again.secret


async def _take_back(
    postgres_url: str, psql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Make the schema that the first migration alone made, with the same rows."""
    await psql.execute("ALTER SCHEMA public RENAME TO newer; CREATE SCHEMA public")
    with monkeypatch.context() as first_release:
        first_release.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        await PostgresSagaStore.migrate(postgres_url)
    await psql.execute("DELETE FROM saga_meta")
    for (table,) in await psql.fetch(TABLES):
        if table != "schema_migrations":
            columns = await psql.fetchval(
                "SELECT string_agg(column_name, ', ') FROM information_schema.columns"
                " WHERE table_schema = 'public' AND table_name = $1",
                table,
            )
            await psql.execute(
                f"INSERT INTO {table} ({columns}) SELECT {columns} FROM newer.{table}"
            )
    await psql.execute("DROP SCHEMA newer CASCADE")
    await psql.execute(COUNT_RESIDUALS)


async def test_a_database_of_the_first_release_goes_on(
    postgres_url: str, psql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Running sagas run on, residuals can be undone, under their entries' numbers."""
    store = await Store.open(postgres_url, migrate=True)
    running = await succeed(store, await begin(store, plan_of("a", "b")), "a")
    await with_three_residuals(store)
    found = await store.open_residuals(10)
    await store.close()
    await _take_back(postgres_url, psql, monkeypatch)
    assert await psql.fetchval("SELECT max(number) FROM saga_residuals") == 3
    count = len(schema.MIGRATIONS)
    too_old = f"the schema is too old: {count - 1} of {count}"
    with pytest.raises(SchemaVersionError, match=too_old):
        await Store.open(postgres_url)

    assert await PostgresSagaStore.migrate(postgres_url) == schema.MIGRATIONS[1:]
    store = await Store.open(postgres_url)
    await goes_on(store, running, found)
    steps = "SELECT DISTINCT state FROM saga_steps WHERE saga_id = $1"
    assert await psql.fetchval(steps, running.id) == "completed"
    await store.close()
