"""A database that fails under an engine at work: rows F47 to F54 of the faults.

Whatever it says, and however often: the engine tries again, nothing is lost, and
every effect is had once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from saga_orchestrator import Manager
from saga_stores.postgres import database
from saga_stores.postgres.address import SESSION_SETTINGS, Address
from saga_stores.postgres.database import Database
from tests.support.books import Books, chain
from tests.support.reckoning import all_complete_once, start_many
from tests.support.waiting import eventually, until_well

if TYPE_CHECKING:
    from saga_orchestrator import Saga
    from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.slow

OURS = "FROM pg_stat_activity WHERE application_name = 'saga-orchestrator'"

# A sequence counts on though its transaction is rolled back.
SABOTAGE = """
CREATE TABLE sabotage (code text);
CREATE SEQUENCE sabotaged;
CREATE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE wanted text := (SELECT code FROM sabotage);
BEGIN
    IF wanted IS NOT NULL THEN
        PERFORM nextval('sabotaged');
        RAISE EXCEPTION 'sabotaged' USING ERRCODE = wanted;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER sabotage BEFORE INSERT ON saga_history
    FOR EACH STATEMENT EXECUTE FUNCTION sabotage();
"""


async def test_backends_that_are_terminated_again_and_again(
    postgres_url: str, rabbit_url: str, books: Books, client: Manager
) -> None:
    """Wherever it strikes, the transaction is run again, whole."""
    psql = await asyncpg.connect(postgres_url)
    ours = f"SELECT count(pg_terminate_backend(pid)) {OURS} AND datname = $1"
    name = postgres_url.rpartition("/")[2]
    struck = 0
    async with Manager.open(
        store=postgres_url, broker=rabbit_url, handlers=[books.handlers]
    ) as manager:
        starting = asyncio.ensure_future(start_many(client, map(str, range(30))))
        for _ in range(25):
            struck += await psql.fetchval(ours, name)
            await asyncio.sleep(0.15)
        sagas = await starting
        await all_complete_once(manager, books, sagas)
        await until_well(manager)
    assert struck >= 25
    await psql.close()


async def test_a_server_that_is_stopped_at_once_again_and_again(
    killable_postgres: PostgresServer, rabbit_url: str, books: Books
) -> None:
    """Each time it recovers from its log, and the engine goes on by itself."""
    sagas = []
    async with Manager.open(
        store=killable_postgres.create_database(),
        migrate=True,
        broker=rabbit_url,
        handlers=[books.handlers],
    ) as manager:
        for turn in range(4):
            before = len(books.runs("a"))
            starting = asyncio.ensure_future(
                start_many(manager, (f"{turn}-{n}" for n in range(10)))
            )
            await eventually(lambda: len(books.runs("a")) > before)  # noqa: B023 - now
            await asyncio.to_thread(killable_postgres.stop_immediately)
            await asyncio.to_thread(killable_postgres.start)
            sagas += await starting
        await all_complete_once(manager, books, sagas)
        await until_well(manager)
    assert "database system was interrupted" in killable_postgres.log.read_text()


@pytest.mark.parametrize("who", ["the engine gives up", "a person cancels"])
async def test_a_commit_that_waits_for_a_standby_is_cancelled(
    who: str,
    killable_postgres: PostgresServer,
    rabbit_url: str,
    books: Books,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is committed here; what was told of it is found out, not guessed."""
    if who == "the engine gives up":
        monkeypatch.setattr(database, "ANSWER_SECONDS", 1.0)
    run = killable_postgres.execute
    async with Manager.open(
        store=killable_postgres.create_database(),
        migrate=True,
        broker=rabbit_url,
        handlers=[books.handlers],
    ) as manager:
        run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        run("SELECT pg_reload_conf()")
        starting = asyncio.ensure_future(start_many(manager, "xyz"))

        def is_cancelled() -> bool:
            if who == "a person cancels":
                run(f"SELECT pg_cancel_backend(pid) {OURS} AND wait_event = 'SyncRep'")
            return "has already committed locally" in killable_postgres.log.read_text()

        await eventually(is_cancelled)
        run("ALTER SYSTEM RESET synchronous_standby_names")
        run("SELECT pg_reload_conf()")
        sagas = await starting
        assert await start_many(manager, "xyz")
        await all_complete_once(manager, books, sagas)
        again = await start_many(manager, "xyz")
        assert [saga.id for saga in again] == [saga.id for saga in sagas]


async def _queued_one_by_one(
    psql: asyncpg.Connection, books: Books, urls: dict[str, str]
) -> list[Saga]:
    """Start sagas whose first commands wait in their queue, a message each."""
    async with Manager.open(**urls, handlers=[books.handlers]):
        pass  # it has made the queues
    async with Manager.open(**urls, engine=True) as manager:
        sagas = []
        for number in range(8):
            sagas.append(await manager.start(chain(), key=str(number)))
            await eventually(lambda: _is_empty(psql))
    return sagas


async def _is_empty(psql: asyncpg.Connection) -> bool:
    return not await psql.fetchval("SELECT count(*) FROM saga_outbox")


REFUSALS = {
    "serialization failure": "40001",
    "deadlock": "40P01",
    "lock timeout": "55P03",
    "cancelled": "57014",
    "too many connections": "53300",
    "disk full": "53100",
    "read only": "25006",
}


@pytest.mark.usefixtures("client")  # which has made the tables
@pytest.mark.parametrize("what", REFUSALS)
async def test_a_refusal_that_passes(
    what: str, postgres_url: str, rabbit_url: str, books: Books
) -> None:
    """Tried again until it passes; meanwhile no more is taken than handlers may run."""
    psql = await asyncpg.connect(postgres_url)
    await psql.execute(SABOTAGE)
    urls = {"store": postgres_url, "broker": rabbit_url}
    sagas = await _queued_one_by_one(psql, books, urls)
    await psql.execute("INSERT INTO sabotage VALUES ($1)", REFUSALS[what])
    async with Manager.open(
        **urls, handlers=[books.handlers], concurrency=4
    ) as manager:

        async def is_tried() -> bool:
            return await psql.fetchval("SELECT last_value FROM sabotaged") >= 4

        await eventually(lambda: len(books.runs("a")) == 4)
        await eventually(is_tried)
        assert bool(manager.problems()) == (REFUSALS[what][:2] in ("53", "25"))
        assert len(books.runs("a")) == 4
        await psql.execute("DELETE FROM sabotage")
        await all_complete_once(manager, books, sagas)
        await until_well(manager)
    await psql.close()


@pytest.mark.parametrize("what", ["full of connections", "read only"])
async def test_a_database_that_lets_nobody_write(
    what: str, killable_postgres: PostgresServer, rabbit_url: str, books: Books
) -> None:
    """The server's own refusals, of new connections: the engine waits, and says why."""
    run = killable_postgres.execute
    url = killable_postgres.create_database()
    name = url.rpartition("/")[2]
    run("CREATE ROLE ann LOGIN")
    run(f'ALTER DATABASE "{name}" OWNER TO ann')
    closed, opened = {
        "full of connections": (
            "ALTER ROLE ann CONNECTION LIMIT 0",
            "ALTER ROLE ann CONNECTION LIMIT -1",
        ),
        "read only": (
            f'ALTER DATABASE "{name}" SET default_transaction_read_only = on',
            f'ALTER DATABASE "{name}" RESET default_transaction_read_only',
        ),
    }[what]
    async with Manager.open(
        store=url.replace("postgres@", "ann@"),
        migrate=True,
        broker=rabbit_url,
        handlers=[books.handlers],
    ) as manager:
        run(closed)
        run(f"SELECT pg_terminate_backend(pid) {OURS}")
        starting = asyncio.ensure_future(start_many(manager, map(str, range(10))))
        said = "too many connections" if "full" in what else "read-only"
        await eventually(lambda: any(said in one for one in manager.problems()))
        run(opened)
        await all_complete_once(manager, books, await starting)
        await until_well(manager)


async def test_a_row_that_a_console_keeps(
    postgres_url: str, rabbit_url: str, books: Books, client: Manager
) -> None:
    """An idle transaction of somebody else delays one saga, and no other."""
    released = asyncio.Event()
    kept = await client.start(chain(), key="kept")

    async def hold(ctx) -> None:
        if ctx.saga_id == kept.id and ctx.step == "a":
            await released.wait()

    books.gate = hold
    psql = await asyncpg.connect(postgres_url)
    async with Manager.open(
        store=postgres_url, broker=rabbit_url, handlers=[books.handlers]
    ) as manager:
        await eventually(lambda: len(books.runs("a")) == 1)
        console = psql.transaction()
        await console.start()
        await psql.fetch("SELECT * FROM sagas WHERE id = $1 FOR UPDATE", kept.id)
        released.set()
        others = await start_many(manager, map(str, range(10)))
        for other in others:
            assert (await manager.wait(other.id, timeout=60)).is_completed
        assert (await manager.get(kept.id)).status("a").state == "started"
        await console.rollback()
        await all_complete_once(manager, books, [kept, *others])
    await psql.close()


async def test_sessions_set_their_own_limits(postgres_url: str) -> None:
    """Whatever the server's are: no lock, statement or open transaction lasts."""
    opened = await Database.open(Address.parse(postgres_url), on_connect=lambda: None)
    async with opened.connection() as connection:
        rows = await connection.fetch(
            "SELECT name, setting FROM pg_settings WHERE name LIKE '%timeout'"
            " AND source = 'client'"
        )
    await opened.close()
    assert {row["name"]: row["setting"] for row in rows} == {
        "lock_timeout": "1000",
        "statement_timeout": "15000",
        "idle_in_transaction_session_timeout": "15000",
    }
    assert {row["name"] for row in rows} <= SESSION_SETTINGS.keys()
