"""A database that fails over to its standby: rows F49, F50 and F57 of the faults."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator import Manager, SagaNotFoundError, Store
from saga_orchestrator.errors import StoreUnavailableError
from saga_stores.postgres import PostgresSagaStore
from tests.conformance.builders import begin
from tests.support.books import Books, chain
from tests.support.doctor import resend_all
from tests.support.postgres import PostgresServer
from tests.support.proxy import TcpProxy
from tests.support.reckoning import all_complete_once, start_many
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.postgres]


@pytest.fixture
def primary(killable_postgres: PostgresServer) -> PostgresServer:
    """A server with a database for the sagas."""
    return killable_postgres


@pytest.fixture
def standby(primary: PostgresServer) -> Iterator[PostgresServer]:
    """A server that follows it."""
    server = PostgresServer(standby_of=primary)
    try:
        server.start()
        yield server
    finally:
        server.close()


def _has_all_of(standby: PostgresServer, primary: PostgresServer) -> bool:
    end = primary.execute("SELECT pg_current_wal_lsn()")
    ahead = f"SELECT pg_last_wal_replay_lsn() >= '{end}'"
    return standby.execute(ahead) == "t"


async def _fail_over(primary: PostgresServer, standby: PostgresServer) -> None:
    await asyncio.to_thread(primary.kill)
    await asyncio.to_thread(standby.promote)


async def test_a_failover_that_loses_the_last_commits(
    primary: PostgresServer, standby: PostgresServer, rabbit_url: str, books: Books
) -> None:
    """What was lost is done again and had once; a lost start is started again."""
    released = asyncio.Event()

    async def hold(ctx) -> None:
        if ctx.step == "b":
            await released.wait()

    books.gate = hold
    url = primary.create_database()
    async with (
        TcpProxy(primary.port, standby.port) as proxy,
        Manager.open(
            store=proxy.through(url),
            migrate=True,
            broker=rabbit_url,
            handlers=[books.handlers],
        ) as manager,
    ):
        (kept,) = await start_many(manager, ["kept"])
        await eventually(lambda: len(books.runs("b")) == 1)
        await eventually(lambda: _has_all_of(standby, primary))
        await asyncio.to_thread(standby.stop)  # what comes now, it will not have
        released.set()
        (lost,) = await start_many(manager, ["lost"])
        for saga in (kept, lost):
            assert (await manager.wait(saga.id, timeout=60)).is_completed
        await asyncio.to_thread(primary.kill)
        await asyncio.to_thread(standby.start)
        await asyncio.to_thread(standby.promote)
        await eventually(lambda: _is_open(manager, kept.id))
        with pytest.raises(SagaNotFoundError):
            await manager.get(lost.id)
        await resend_all(store=proxy.through(url), broker=rabbit_url)
        assert (await manager.wait(kept.id, timeout=60)).is_completed
        assert len(books.runs("b")) == 2 + 1  # the kept one's again
        again = await manager.start(chain(), key="lost")
        assert again.id != lost.id
        assert (await manager.wait(again.id, timeout=60)).is_completed
    assert books.effects() == {
        (saga.id, step, "action"): 1 for saga in (kept, lost, again) for step in "abc"
    }


async def _is_open(manager: Manager, saga_id: str) -> bool:
    """Tell whether the saga is as the standby has it."""
    with contextlib.suppress(StoreUnavailableError):
        return not (await manager.get(saga_id)).is_completed
    return False


async def test_a_failover_to_a_synchronous_standby_loses_nothing(
    primary: PostgresServer, standby: PostgresServer, rabbit_url: str, books: Books
) -> None:
    """Every start that was answered is there, and ends; starts under way go on."""
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.execute("SELECT pg_reload_conf()")
    url = primary.create_database()
    async with (
        TcpProxy(primary.port, standby.port) as proxy,
        Manager.open(
            store=proxy.through(url),
            migrate=True,
            broker=rabbit_url,
            handlers=[books.handlers],
        ) as manager,
    ):
        assert primary.execute("SELECT sync_state FROM pg_stat_replication") == "sync"
        answered = await start_many(manager, map(str, range(20)))
        starting = asyncio.ensure_future(start_many(manager, map(str, range(20, 40))))
        await eventually(lambda: len(books.runs("a")) > 5)
        await _fail_over(primary, standby)
        proxy.cut()
        sagas = [*answered, *await starting]
        again = await start_many(manager, map(str, range(20)))
        assert [saga.id for saga in again] == [saga.id for saga in answered]
        await resend_all(store=proxy.through(url), broker=rabbit_url)
        await all_complete_once(manager, books, sagas)


async def test_writes_find_the_primary(
    primary: PostgresServer, standby: PostgresServer
) -> None:
    """A standby is refused; of several hosts the one that takes writes is used."""
    name = primary.create_database().rpartition("/")[2]
    await PostgresSagaStore.migrate(primary.url(name))
    await eventually(lambda: _has_all_of(standby, primary))
    with pytest.raises(StoreUnavailableError, match="address of the primary"):
        await Store.open(standby.url(name))
    hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
    store = await Store.open(f"postgresql://postgres@{hosts}/{name}")
    saga = await begin(store)
    await eventually(lambda: _has_all_of(standby, primary))
    await _fail_over(primary, standby)
    await eventually(lambda: _takes(store, saga.id))
    await begin(store)
    await store.close()


async def test_an_old_primary_is_not_written_to(
    primary: PostgresServer, standby: PostgresServer
) -> None:
    """Who has met the new one lets go of the old, though that still takes writes."""
    name = primary.create_database().rpartition("/")[2]
    await PostgresSagaStore.migrate(primary.url(name))
    await eventually(lambda: _has_all_of(standby, primary))
    hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
    store = await Store.open(f"postgresql://postgres@{hosts}/{name}")
    await begin(store)
    await eventually(lambda: _has_all_of(standby, primary))
    await asyncio.to_thread(standby.promote)  # and nobody stops the old one
    await asyncio.gather(*(begin(store) for _ in range(5)))  # some meet the new one
    on_old = primary.execute("SELECT count(*) FROM sagas", name)
    await asyncio.gather(*(begin(store) for _ in range(5)))
    await asyncio.to_thread(standby.stop)
    await eventually(lambda: _refuses_the_old(store))
    assert primary.execute("SELECT count(*) FROM sagas", name) == on_old
    primary.execute("CREATE TABLE it_takes_writes ()", name)
    await asyncio.to_thread(standby.start)
    await eventually(lambda: _works(store))
    assert primary.execute("SELECT count(*) FROM sagas", name) == on_old
    await store.close()


async def _refuses_the_old(store: Store) -> bool:
    try:
        await begin(store)
    except StoreUnavailableError as error:
        return "is an old primary, of timeline 1; timeline 2 was seen" in str(error)
    return False


async def _works(store: Store) -> bool:
    with contextlib.suppress(StoreUnavailableError):
        return bool(await begin(store))
    return False


async def _takes(store: Store, saga_id) -> bool:
    with contextlib.suppress(StoreUnavailableError):
        return await store.load(saga_id) is not None
    return False
