"""Connections to one database, kept in a pool.

A connection that was lost is replaced at its next use, so the store works
again by itself when the server is back. Of a session's state only the settings
of ``address.SESSION_SETTINGS`` are relied on, and nothing is changed after it
was made: connections need no reset between uses.

So pgbouncer may stand between, in session mode, or in transaction mode from 1.21 on
with ``max_prepared_statements``; and with ``ignore_startup_parameters`` naming these
settings, which ``ALTER ROLE … SET`` then gives to the role instead. One that does
not let through what the store relies on is refused when it is opened.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from saga_orchestrator.errors import (
    ConfigurationError,
    StoreError,
    StoreUnavailableError,
)
from saga_orchestrator.ports.overview import PoolUse
from saga_stores._sql import load_queries
from saga_stores.postgres.address import Address
from saga_stores.postgres.errors import store_errors
from saga_stores.postgres.pooler import (
    MIXED_UP,
    check_limits,
    check_statements,
    is_pooled,
)
from saga_stores.postgres.term import Term

SERVER_VERSION_MIN = 13
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 20.0
"""For a server that went silent; it gives up before, on its own timeouts."""
ACQUIRE_SECONDS = 30.0
"""How long an operation waits for a connection of the pool."""
CLOSE_SECONDS = 10.0

SQL = load_queries(__package__)
_SPOILT = (
    asyncpg.InternalClientError,
    asyncpg.ReadOnlySQLTransactionError,
    *MIXED_UP,
)
"""After these a connection is of no use: in an unknown state, or to a server that
was a primary when it was made."""


class Database:
    """A pool of connections whose errors are the port's.

    Attributes:
        shown: the URL without its password.
    """

    def __init__(self, pool: asyncpg.Pool, shown: str) -> None:
        self._pool = pool
        self._closed = False
        self.shown = shown

    @classmethod
    async def open(cls, address: Address, on_connect: Callable[[], None]) -> Self:
        """Connect once, to tell at once what is wrong with the address.

        After that connections are made when they are needed.

        Args:
            address: where.
            on_connect: called when a connection was made. After the first ones one
                was lost before, and another server may be behind it, or another
                database: what was read is to be forgotten.

        Raises:
            StoreUnavailableError: no such server, database or user, or a standby.
            ConfigurationError: the server is too old, the URL wrong, or a pooler
                between that loses what the store relies on.
        """
        term = Term(address.shown)

        async def begin(connection: asyncpg.Connection) -> None:
            await term.check(connection)
            on_connect()

        with store_errors(address.shown):
            pool = await asyncpg.create_pool(
                **_options(address),
                min_size=0,
                max_size=address.pool_size,
                init=begin,
                reset=_keep_session,
            )
        term.on_newer = pool.expire_connections
        database = cls(pool, address.shown)
        try:
            async with database.connection() as connection:
                _check_version(connection, address.shown)
                await _check_pooler(connection, address)
        except BaseException:
            await database.close()
            raise
        return database

    @property
    def use(self) -> PoolUse:
        """How many connections are busy, idle, and allowed."""
        idle = self._pool.get_idle_size()
        return PoolUse(self._pool.get_size() - idle, idle, self._pool.get_max_size())

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """Borrow a connection, outside of any transaction."""
        if self._closed:
            raise StoreError(f"the store {self.shown} is closed")
        with store_errors(self.shown):
            connection = await self._acquire()
            try:
                yield connection
            except _SPOILT:
                connection.terminate()  # the next one may reach another server
                raise
            finally:
                await self._pool.release(connection)

    @contextlib.asynccontextmanager
    async def transaction(
        self, *, isolation: str = "read_committed", readonly: bool = False
    ) -> AsyncIterator[asyncpg.Connection]:
        """Borrow a connection for one transaction."""
        async with (
            self.connection() as connection,
            connection.transaction(isolation=isolation, readonly=readonly),
        ):
            yield connection

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:  # noqa: ANN401 - columns
        """Run one statement of ``queries.sql``; return its rows."""
        async with self.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(SQL[query], *arguments)
        return rows

    async def close(self) -> None:
        """Close the connections, when what runs has ended; idempotent."""
        self._closed = True
        with store_errors(self.shown):
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()

    async def _acquire(self) -> asyncpg.Connection:
        if self._pool.get_idle_size():
            return await self._pool.acquire()  # at once: a timer would be in vain
        try:
            async with asyncio.timeout(ACQUIRE_SECONDS):
                return await self._pool.acquire()
        except TimeoutError as error:
            raise StoreUnavailableError(
                f"{self.shown}: no connection in time; the server "
                "is too slow, or the pool too small: set pool=… in the store's URL"
            ) from error


@contextlib.asynccontextmanager
async def single_connection(address: Address) -> AsyncIterator[asyncpg.Connection]:
    """Open a connection for work that may take long, and close it after."""
    options = _options(address) | {"command_timeout": None}
    options["server_settings"] |= {"statement_timeout": "0", "lock_timeout": "0"}
    with store_errors(address.shown):
        connection = await asyncpg.connect(**options)
        try:
            _check_version(connection, address.shown)
            yield connection
        finally:
            await connection.close(timeout=CLOSE_SECONDS)


def _options(address: Address) -> dict[str, Any]:
    return {
        "dsn": address.dsn,
        "timeout": CONNECT_SECONDS,
        "command_timeout": ANSWER_SECONDS,
        "server_settings": dict(address.settings),
        "target_session_attrs": address.target,
    }


def _check_version(connection: asyncpg.Connection, shown: str) -> None:
    version = connection.get_server_version()
    if version.major < SERVER_VERSION_MIN:
        raise ConfigurationError(
            f"store: {shown} is PostgreSQL {version.major}.{version.minor}, "
            f"{SERVER_VERSION_MIN} or newer is needed"
        )


async def _check_pooler(connection: asyncpg.Connection, address: Address) -> None:
    await check_limits(connection, address)
    if is_pooled(connection, await connection.fetchval("SELECT pg_backend_pid()")):
        async with single_connection(address) as other:
            await check_statements(connection, other, address)


async def _keep_session(_: asyncpg.Connection) -> None:
    """Leave a connection as it is; the driver's reset is a round trip."""
