"""Turns of searches: of requests for which many sagas may be looked at.

The engine of the process works on the same store. Readers who search must not take
all of its connections, nor go on for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from saga_orchestrator.api.problems import Problem

SEARCHES_MAX = 3
"""Searches at the same time, in each process."""
SEARCH_SECONDS = 10.0
"""For a search and the wait for its turn; less than a statement may take."""


class Searches:
    """Lets few search at the same time; the others wait for their turn."""

    def __init__(self, most: int) -> None:
        self._turns = asyncio.Semaphore(most)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Search while inside.

        Raises:
            Problem: the time is over.
        """
        try:
            async with asyncio.timeout(SEARCH_SECONDS), self._turns:
                yield
        except TimeoutError:
            raise Problem(
                "search-too-long",
                "the store is slow, or there is too much to look at; narrow the list "
                "by key or by states that have not ended, or try again later",
            ) from None
