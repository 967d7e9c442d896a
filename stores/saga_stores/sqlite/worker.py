"""A thread with a connection of its own: ``sqlite3`` blocks, the loop must not."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from saga_orchestrator.errors import StoreError
from saga_stores.sqlite.faults import driver_errors
from saga_stores.sqlite.location import Location

P = ParamSpec("P")
T = TypeVar("T")


class Worker:
    """Runs functions one after the other, each with the connection.

    A caller that is cancelled leaves its function running: what it writes is
    committed whole or not at all.
    """

    def __init__(
        self,
        name: str,
        location: Location,
        connect: Callable[[Location], sqlite3.Connection],
    ) -> None:
        self._location = location
        self._connect = connect
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None
        self._is_closed = False

    async def open(self) -> None:
        """Connect.

        Raises:
            StoreError: the file cannot be opened.
        """
        await self._in_thread(self._open)

    async def run(
        self,
        function: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Return what the function returns; its driver errors come as ours."""
        if self._connection is None or self._is_closed:
            raise StoreError("the store is closed")
        return await self._in_thread(function, self._connection, *args, **kwargs)

    async def close(self) -> None:
        """Let what runs end, disconnect, and end the thread; idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._in_thread(self._close)
        finally:
            self._executor.shutdown(wait=False)

    def _open(self) -> None:
        self._connection = self._connect(self._location)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def _in_thread(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        def call() -> T:
            with driver_errors(self._location.path):
                return function(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._executor, call)
