"""Looks at the database from outside, past all proxies, while a run goes on."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it ships no types

LOST = (
    *(OSError, TimeoutError),
    *(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError),
)
"""What a query raises while the server is away."""

POLL_SECONDS = 0.25

_LIVE = "state IN ('started', 'compensating')"
_COUNTS = f"""
SELECT (SELECT count(*) FROM sagas WHERE {_LIVE}) AS live,
    (SELECT count(*) FROM saga_outbox) AS outbox
"""
# L2: a saga that goes on has a timer, or a command to send.
_ASLEEP = f"""
SELECT id FROM sagas
WHERE {_LIVE} AND wake_at IS NULL
    AND NOT EXISTS (SELECT FROM saga_outbox WHERE saga_id = sagas.id)
"""


class Watch:
    """Samples the store; ``run`` must run beside it.

    Attributes:
        live: sagas that go on, at the last look.
        outbox: commands not yet confirmed, at the last look.
        asleep: sagas that were found with no reason to wake.
        looks: how often it was looked.
    """

    def __init__(self, store: str) -> None:
        self._store = store
        self._connection: asyncpg.Connection | None = None
        self._looking = asyncio.Lock()  # one connection, and more than one who asks
        self.live = 0
        self.outbox = 0
        self.asleep: set[str] = set()
        self.looks = 0

    async def run(self) -> None:
        """Look for ever."""
        while True:
            with contextlib.suppress(*LOST):
                await self.look()
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> None:
        """Look once.

        Raises:
            OSError and others of ``LOST``: the server is away.
        """
        async with self._looking:
            row = (await self._fetch(_COUNTS))[0]
            self.live, self.outbox = row["live"], row["outbox"]
            self.asleep |= {row["id"] for row in await self._fetch(_ASLEEP)}
            self.looks += 1

    async def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            self._connection.terminate()

    async def _fetch(self, query: str) -> list[Any]:
        if self._connection is None:
            self._connection = await asyncpg.connect(
                self._store, timeout=5, command_timeout=5
            )
        try:
            rows: list[Any] = await self._connection.fetch(query)
        except LOST:  # whatever state it is in
            self._connection.terminate()
            self._connection = None
            raise
        return rows
