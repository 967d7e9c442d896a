"""PostgreSQL only: what breaks, which error tells it, and that work goes on."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from saga_orchestrator.errors import (
    ConcurrencyError,
    ConfigurationError,
    StoreDataError,
    StoreError,
    StoreUnavailableError,
)
from saga_orchestrator.ports.store import Store
from saga_stores.postgres import database
from saga_stores.postgres.address import Address
from saga_stores.postgres.errors import store_errors
from tests.conformance.builders import begin, start, succeed
from tests.support.postgres_sessions import terminate_waiting, waits_for_a_lock
from tests.support.proxy import TcpProxy
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.postgres import PostgresServer

SECRET_URL = "postgresql://ann:hunter2@db.example:5433/sagas"


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[Store]:
    """A handle on an empty store."""
    opened = await Store.open(postgres_url, migrate=True)
    yield opened
    await opened.close()


async def works(store: Store) -> bool:
    """Tell whether the store takes a saga again."""
    try:
        await begin(store)
    except StoreUnavailableError:
        return False
    return True


# -- connections that break ----------------------------------------------------


async def test_a_terminated_backend(store: Store, postgres_url: str) -> None:
    """Cut in the middle, a batch leaves nothing; the next one works."""
    saga = await begin(store)
    psql = await asyncpg.connect(postgres_url)
    transaction = psql.transaction()
    await transaction.start()
    await psql.fetchval("SELECT id FROM sagas FOR UPDATE")
    answering = asyncio.ensure_future(succeed(store, saga, "a"))
    await eventually(lambda: terminate_waiting(psql))
    with pytest.raises(StoreUnavailableError) as refused:
        await answering
    assert refused.value.retryable
    await transaction.rollback()
    await psql.close()
    assert await store.load(saga.id) == saga
    assert (await succeed(store, saga, "a")).completed_steps == ("a",)


async def test_an_idle_connection_that_was_cut(
    store: Store, postgres_server: PostgresServer
) -> None:
    """Connections that died in the pool are replaced, by themselves."""
    await asyncio.gather(*(begin(store) for _ in range(5)))
    postgres_server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'saga-orchestrator'"
    )
    await eventually(lambda: works(store))


async def test_a_server_that_dies_and_comes_back(
    killable_postgres: PostgresServer,
) -> None:
    """While it is away the store says so; after, it works without being opened."""
    store = await Store.open(killable_postgres.create_database(), migrate=True)
    saga = await begin(store)
    await asyncio.to_thread(killable_postgres.kill)
    for _ in range(3):
        with pytest.raises(StoreUnavailableError):
            await succeed(store, saga, "a")
    await asyncio.to_thread(killable_postgres.start)
    await eventually(lambda: works(store))
    assert (await succeed(store, saga, "a")).completed_steps == ("a",)
    await store.close()


async def test_a_network_that_goes_silent(
    postgres_url: str,
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An answer that does not come is not waited for without end."""
    monkeypatch.setattr(database, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(database, "CONNECT_SECONDS", 0.5)
    async with TcpProxy(postgres_server.port) as proxy:
        store = await Store.open(proxy.through(postgres_url), migrate=True)
        saga = await begin(store)
        proxy.pause()
        with pytest.raises(StoreUnavailableError):
            async with asyncio.timeout(10):
                await succeed(store, saga, "a")
        proxy.resume()
        await eventually(lambda: works(store))
        await store.close()


async def test_a_busy_pool_is_not_waited_for_without_end(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who gets no connection in time hears so, and may try again."""
    monkeypatch.setattr(database, "ACQUIRE_SECONDS", 0.1)
    store = await Store.open(f"{postgres_url}?pool=1", migrate=True)
    saga = await begin(store)
    psql = await asyncpg.connect(postgres_url)
    async with psql.transaction():
        await psql.fetchval("SELECT id FROM sagas FOR UPDATE")
        answering = asyncio.ensure_future(succeed(store, saga, "a"))
        await eventually(lambda: waits_for_a_lock(psql))
        with pytest.raises(StoreUnavailableError):
            await store.now()
    assert (await answering).completed_steps == ("a",)
    await psql.close()
    await store.close()


async def test_a_cancelled_batch_leaves_nothing(
    store: Store, postgres_url: str
) -> None:
    """A caller that gives up does not leave a transaction, or a lock, behind."""
    saga = await begin(store)
    psql = await asyncpg.connect(postgres_url)
    async with psql.transaction():
        await psql.fetchval("SELECT id FROM sagas FOR UPDATE")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await succeed(store, saga, "a")
    assert await store.load(saga.id) == saga
    await psql.execute("SET lock_timeout = '2s'")
    await psql.fetchval("SELECT id FROM sagas FOR UPDATE")
    await psql.close()


# -- addresses that are wrong --------------------------------------------------


async def test_wrong_credentials_and_names(killable_postgres: PostgresServer) -> None:
    """Each says what is wrong and how to mend it, without the password."""
    good = killable_postgres.create_database()
    place = good.partition("@")[2]
    killable_postgres.execute("CREATE ROLE ann LOGIN PASSWORD 'right'")
    hba = killable_postgres.execute("SHOW hba_file")
    killable_postgres.execute(
        "COPY (VALUES ('host all postgres all trust'),"
        f" ('host all all all scram-sha-256')) TO '{hba}'"
    )
    killable_postgres.execute("SELECT pg_reload_conf()")
    for url, problem in (
        (f"postgresql://ann:hunter2@{place}", "check the user and the password"),
        (f"postgresql://eve:hunter2@{place}", "check the user and the password"),
        (f"{good}_gone", "create it with createdb"),
        ("postgresql://ann:hunter2@127.0.0.1:1/sagas", "check that the server runs"),
        ("postgresql://ann:hunter2@no.invalid/sagas", "check that the server runs"),
    ):
        with pytest.raises(StoreUnavailableError, match=problem) as refused:
            await Store.open(url, migrate=True)
        assert "hunter2" not in str(refused.value)


async def test_a_server_that_takes_no_writes(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    """A standby, or a database that was made read-only, is refused at once."""
    opened = await Store.open(postgres_url, migrate=True)
    await opened.close()
    name = postgres_url.rpartition("/")[2]
    postgres_server.execute(
        f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'
    )
    with pytest.raises(StoreUnavailableError, match="address of the primary"):
        await Store.open(postgres_url)


async def test_a_primary_that_is_demoted(postgres_url: str) -> None:
    """A connection that suddenly takes no writes is an outage, not a fault."""
    parameters = "?default_transaction_read_only=on&target_session_attrs=any"
    opened = await Store.open(postgres_url, migrate=True)
    await opened.close()
    demoted = await Store.open(f"{postgres_url}{parameters}")
    with pytest.raises(StoreUnavailableError, match="address of the primary"):
        await begin(demoted)
    await demoted.close()


@pytest.mark.parametrize("size", ["0", "-1", "many", "1001", ""])
async def test_a_pool_size_that_makes_no_sense(size: str) -> None:
    """The setting is named."""
    with pytest.raises(ConfigurationError, match=f"pool={size} "):
        await Store.open(f"{SECRET_URL}?pool={size}")


async def test_an_old_server_is_refused(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text names both versions."""
    monkeypatch.setattr(database, "SERVER_VERSION_MIN", 99)
    with pytest.raises(ConfigurationError, match=r"99 or newer is needed"):
        await Store.open(postgres_url)


def test_the_url_is_split() -> None:
    """Ours is taken out, the driver gets the rest, people see no password."""
    address = Address.parse(f"{SECRET_URL}?pool=3&lock_timeout=1s&sslpassword=abc")
    assert address.pool_size == 3
    assert address.dsn == f"{SECRET_URL}?lock_timeout=1s&sslpassword=abc"
    assert address.shown == (
        "postgresql://ann:***@db.example:5433/sagas?lock_timeout=1s&sslpassword=***"
    )
    assert "lock_timeout" not in address.settings
    assert "statement_timeout" in address.settings


# -- the driver's errors -------------------------------------------------------

DRIVER_ERRORS = [
    kind
    for _, kind in inspect.getmembers(asyncpg.exceptions, inspect.isclass)
    if issubclass(kind, Exception) and not issubclass(kind, Warning)
]


@pytest.mark.parametrize("kind", DRIVER_ERRORS, ids=lambda kind: kind.__name__)
def test_no_error_of_the_driver_passes(kind: type[Exception]) -> None:
    """Whatever asyncpg raises arrives as one of ours, with the cause attached."""
    error = kind("because")
    ours = pytest.raises((StoreError, ConfigurationError))
    with ours as mapped, store_errors("postgresql://here"):
        raise error
    assert mapped.value.__cause__ is error
    assert "here" in str(mapped.value)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (asyncpg.SerializationError, ConcurrencyError),
        (asyncpg.DeadlockDetectedError, ConcurrencyError),
        (asyncpg.LockNotAvailableError, ConcurrencyError),
        (asyncpg.QueryCanceledError, ConcurrencyError),
        (asyncpg.ConnectionDoesNotExistError, StoreUnavailableError),
        (asyncpg.AdminShutdownError, StoreUnavailableError),
        (asyncpg.CrashShutdownError, StoreUnavailableError),
        (asyncpg.CannotConnectNowError, StoreUnavailableError),
        (asyncpg.TooManyConnectionsError, StoreUnavailableError),
        (asyncpg.DiskFullError, StoreUnavailableError),
        (asyncpg.ReadOnlySQLTransactionError, StoreUnavailableError),
        (asyncpg.InvalidPasswordError, StoreUnavailableError),
        (asyncpg.InterfaceError, StoreUnavailableError),
        (asyncpg.InternalClientError, StoreUnavailableError),
        (ConnectionResetError, StoreUnavailableError),
        (TimeoutError, StoreUnavailableError),
        (asyncpg.UntranslatableCharacterError, StoreDataError),
        (asyncpg.CharacterNotInRepertoireError, StoreDataError),
        (asyncpg.CheckViolationError, StoreDataError),
        (asyncpg.NumericValueOutOfRangeError, StoreDataError),
        (asyncpg.ProgramLimitExceededError, StoreDataError),
    ],
)
def test_which_error_becomes_which(error: Any, kind: type[StoreError]) -> None:
    """What may be tried again and what may not."""
    with pytest.raises(kind), store_errors("postgresql://here"):
        raise error("because")


async def test_a_value_the_database_refuses(store: Store) -> None:
    """A bad row stops its batch; nothing of the batch is written."""
    good, bad = start(), start(key="x\0y")
    with pytest.raises(StoreDataError):
        await store.transact([good, bad])
    assert await store.load(good.saga_id) is None
    too_long = start(key="".join(map(chr, range(1_000, 10_000))))
    with pytest.raises(StoreDataError) as refused:
        await store.transact([good, too_long])
    assert (too_long.key or "")[100:200] not in str(refused.value)
    assert not refused.value.retryable
