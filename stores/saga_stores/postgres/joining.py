"""Work inside a transaction that somebody else opened, and will end."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import asyncpg  # type: ignore[import-untyped]  # it ships no types
from asyncpg.pool import PoolConnectionProxy  # type: ignore[import-untyped]  # the same

from saga_orchestrator.errors import ConfigurationError
from saga_stores.postgres.database import SQL
from saga_stores.postgres.errors import store_errors


@contextlib.asynccontextmanager
async def joined(
    connection: object, secret: bytes, shown: str
) -> AsyncIterator[asyncpg.Connection]:
    """Check a caller's connection; what fails inside undoes itself, and no more.

    Args:
        connection: the caller's.
        secret: of the store whose database it must be connected to.
        shown: that store's URL without its password.

    Raises:
        ConfigurationError: says what is wrong with the connection.
        StoreError: as ``store_errors``.
    """
    if not isinstance(connection, asyncpg.Connection | PoolConnectionProxy):
        raise ConfigurationError(
            f"connection: is a {type(connection).__name__}; pass an asyncpg connection"
        )
    with store_errors(shown):
        if not connection.is_in_transaction():
            raise ConfigurationError(
                "connection: is in no transaction; start the saga inside "
                "`async with connection.transaction():`"
            )
        async with connection.transaction():  # a savepoint of the caller's
            if await _secret_of(connection) != secret:
                raise ConfigurationError(
                    f"connection: does not see the tables of {shown}; connect to "
                    "that database, with its schema on the search_path"
                )
            yield connection


async def _secret_of(connection: asyncpg.Connection) -> object:
    if not await connection.fetchval(SQL["has_meta"]):
        return None
    return await connection.fetchval(SQL["secret"])
