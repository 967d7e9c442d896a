"""A pooler between us and the server: does what the store relies on get through?

It relies on the session's limits, and on statements that stay prepared. A pooler
that shares sessions may drop the one and mix up the other, which would show only
under load; so it is tried when the store is opened.
"""

from __future__ import annotations

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from saga_orchestrator.errors import ConfigurationError
from saga_stores.postgres.address import LIMITS, Address

MIXED_UP = (
    asyncpg.DuplicatePreparedStatementError,
    asyncpg.InvalidSQLStatementNameError,
)
"""What a session says of statements that another one has prepared."""

_FIX = (
    "use its session mode, or pgbouncer 1.21 or newer with max_prepared_statements set"
)


async def check_limits(connection: asyncpg.Connection, address: Address) -> None:
    """Refuse sessions that wait for ever.

    Raises:
        ConfigurationError: names the settings that did not arrive.
    """
    rows = await connection.fetch(
        "SELECT name FROM pg_settings WHERE name = ANY ($1::text[]) AND setting = '0'",
        [name for name in LIMITS if name in address.settings],
    )
    if rows:
        fix = "; ".join(
            f"ALTER ROLE … SET {name} = '{address.settings[name]}'" for (name,) in rows
        )
        raise ConfigurationError(
            f"store: {address.shown}: a pooler drops settings of the session; give "
            f"them to the role: {fix}"
        )


def is_pooled(connection: asyncpg.Connection, backend_pid: int) -> bool:
    """Tell whether the server's process is another than the one that we were told."""
    told: int = connection.get_server_pid()
    return told != backend_pid


async def check_statements(
    connection: asyncpg.Connection, other: asyncpg.Connection, address: Address
) -> None:
    """Refuse a pooler that loses prepared statements.

    While the other connection keeps the session that this one has prepared a
    statement in, a pooler that shares sessions has to run it in a third.

    Raises:
        ConfigurationError: says how to run the pooler.
    """
    try:
        statement = await connection.prepare("SELECT 1")
        await statement.fetchval()  # until then the session is ours
        await other.execute("BEGIN")
        try:
            await statement.fetchval()
        finally:
            await other.execute("ROLLBACK")
    except MIXED_UP as error:
        raise ConfigurationError(
            f"store: {address.shown}: a pooler shares sessions and loses prepared "
            f"statements ({error}); {_FIX}"
        ) from error
