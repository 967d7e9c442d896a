"""A database set back to a backup, or migrated at work: rows F60 and F61."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator import Manager, Store
from saga_orchestrator.bootstrap import open_worker
from saga_orchestrator.errors import SchemaVersionError
from saga_orchestrator.settings import Settings
from saga_stores.postgres import PostgresSagaStore, schema
from tests.integration.test_postgres_schema import made_up
from tests.support.books import Books, chain
from tests.support.doctor import resend_all
from tests.support.reckoning import all_complete_once, start_many
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer
    from tests.support.rabbitmq import RabbitServer

pytestmark = pytest.mark.slow


def _dead(server: RabbitServer, url: str) -> int:
    counts = {row["name"]: row["messages"] for row in server.queues(url, "messages")}
    return counts.get("saga.dead", 0)


async def test_a_backup_that_is_older_than_the_messages(
    postgres_server: PostgresServer,
    rabbit_server: RabbitServer,
    postgres_url: str,
    rabbit_url: str,
    books: Books,
) -> None:
    """What it knows goes on, once each; answers that it does not are set aside."""
    held, released = {"b"}, asyncio.Event()

    async def hold(ctx) -> None:
        if ctx.step in held:
            await released.wait()

    books.gate = hold

    def engine(store: str) -> Manager:
        return Manager.open(store=store, migrate=True, broker=rabbit_url, engine=True)

    settings = Settings(broker=rabbit_url)
    async with open_worker(settings, [books.handlers]):
        async with engine(postgres_url) as manager:
            (known,) = await start_many(manager, ["known"])
            await eventually(lambda: len(books.runs("b")) == 1)
        name = postgres_url.rpartition("/")[2]
        backup = await asyncio.to_thread(postgres_server.create_database, name)
        held.add("a")
        async with engine(postgres_url) as manager:
            (newer,) = await start_many(manager, ["newer"])
            await eventually(lambda: len(books.runs("a")) == 2)
        released.set()  # both answers come when the backup is at work
        async with engine(backup) as manager:
            assert (await manager.wait(known.id, timeout=60)).is_completed
            again = await manager.start(chain(), key="newer")
            assert (await manager.wait(again.id, timeout=60)).is_completed
            await eventually(lambda: _dead(rabbit_server, rabbit_url) == 1)
            said = await resend_all(store=backup, broker=rabbit_url)
    assert "✗ queue saga.dead: 1 dead letter" in said
    assert again.id != newer.id
    done = {(saga.id, step): 1 for saga in (known, again) for step in "abc"}
    effects = {(saga, step): n for (saga, step, _), n in books.effects().items()}
    assert effects == done | {(newer.id, "a"): 1}
    await asyncio.to_thread(postgres_server.drop_database, backup)


async def test_a_migration_under_load(
    postgres_url: str,
    rabbit_url: str,
    books: Books,
    client: Manager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Programs of the release before work on; one that is started anew is refused."""
    newer = made_up(
        len(schema.MIGRATIONS) + 1,
        "ALTER TABLE sagas ADD COLUMN made_up text;"
        "ALTER TABLE saga_outbox ADD COLUMN made_up text DEFAULT 'x' NOT NULL;"
        "ALTER TABLE saga_history ADD COLUMN made_up text",
    )
    async with Manager.open(
        store=postgres_url, broker=rabbit_url, handlers=[books.handlers]
    ) as manager:
        before = asyncio.ensure_future(start_many(client, map(str, range(30))))
        await eventually(lambda: len(books.runs("a")) > 5)
        with monkeypatch.context() as next_release:
            next_release.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, newer])
            assert await PostgresSagaStore.migrate(postgres_url) == [newer]
        after = await start_many(client, map(str, range(30, 40)))
        await all_complete_once(manager, books, [*await before, *after])
    with pytest.raises(SchemaVersionError, match="upgrade the program"):
        await Store.open(postgres_url)
