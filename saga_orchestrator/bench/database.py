"""What a PostgreSQL server says of itself: bytes of WAL, transactions, statements."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, urlencode

import asyncpg  # type: ignore[import-untyped]  # it ships no types

CONNECT_SECONDS = 10.0
_STATISTICS = """
SELECT xact_commit + xact_rollback FROM pg_stat_database
WHERE datname = current_database()
"""
# Also statements that ran inside others' count; there are none such here.
_STATEMENTS = """
SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
JOIN pg_database ON oid = dbid WHERE datname = current_database()
"""
_WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"


@dataclass(frozen=True, slots=True)
class Totals:
    """How far the counters of a database are.

    Attributes:
        transactions: ended, reading ones too.
        statements: run; None: the extension ``pg_stat_statements`` is not there.
    """

    transactions: int
    statements: int | None

    def __sub__(self, earlier: Totals) -> Totals:
        statements = None
        if self.statements is not None and earlier.statements is not None:
            statements = self.statements - earlier.statements
        return Totals(self.transactions - earlier.transactions, statements)


class PostgresMeter:
    """Reads the counters of the database behind a store.

    The totals are those that the sessions have told: a session tells the last of them
    when it ends. WAL is the whole server's.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, store: str) -> AsyncIterator[Self | None]:
        """Connect to the store's server; None: the store is no PostgreSQL."""
        if not store.startswith("postgresql:"):
            yield None
            return
        connection = await asyncpg.connect(
            _without_pool(store), timeout=CONNECT_SECONDS
        )
        try:
            yield cls(connection)
        finally:
            await connection.close()

    async def wal_position(self) -> int:
        """Return how many bytes of WAL the server has ever written."""
        position: int = await self._connection.fetchval(_WAL)
        return position

    async def totals(self) -> Totals:
        """Return the counters of the database."""
        transactions = await self._connection.fetchval(_STATISTICS)
        statements = None
        # Not there, not loaded at the server's start, or not to be seen by us.
        with contextlib.suppress(asyncpg.PostgresError):
            statements = await self._connection.fetchval(_STATEMENTS)
        return Totals(transactions, statements)


def _without_pool(store: str) -> str:
    """Return the URL without the one parameter that is ours, not the driver's."""
    place, _, query = store.partition("?")
    pairs = [
        pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != "pool"
    ]
    return f"{place}?{urlencode(pairs)}" if pairs else place
