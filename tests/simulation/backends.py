"""The stores a world can stand on, called as if each answer came at once.

The simulated loop blocks while a real store works, in a thread with a loop of
its own, so that virtual time stands still; whoever asked is told after a
virtual delay. So the same seed has the same history on every store.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Protocol

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from saga_orchestrator import Store
from saga_orchestrator.ports.clock import Clock

ANSWER_SECONDS = 60.0
_SHARED_MEMORY = Path("/dev/shm")  # no disk to wait for; a folder elsewhere
_KEPT = {"saga_meta", "schema_migrations"}
"""Tables that belong to the schema, not to its sagas."""


class Backend(Protocol):
    """A store whose methods are called by name."""

    secret: bytes

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method and return its result, within one instant."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


def open_backend(store: str, clock: Clock) -> Backend:
    """Open an empty store.

    Args:
        store: ``memory``, ``sqlite``, or the URL of a PostgreSQL database, which
            is emptied.
        clock: the world's.
    """
    if store == "memory":
        return MemoryBackend(clock)
    if store == "sqlite":
        return SqliteBackend(clock)
    return PostgresBackend(store, clock)


class MemoryBackend:
    """The memory store; with a clock that gives no turn, nothing in it waits."""

    def __init__(self, clock: Clock) -> None:
        self._store: Store = _driven(Store.open("memory://", clock=clock))
        self.secret = self._store.secret

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method and return its result."""
        return _driven(getattr(self._store, name)(*args, **kwargs))

    def close(self) -> None:
        """Do nothing: nobody else knows the store."""


class ThreadBackend:
    """A store in a thread with an event loop of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._store: Store | None = None
        self.secret = b""

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method, and wait for it while virtual time stands still."""
        return self._run(getattr(self._store, name)(*args, **kwargs))

    def close(self) -> None:
        """Close the store, and end the thread."""
        if self._store is not None:
            self._run(self._store.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _open(self, opening: Coroutine[Any, Any, Store]) -> None:
        try:
            self._store = self._run(opening)
        except BaseException:
            self.close()
            raise
        self.secret = self._store.secret

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_SECONDS)


class SqliteBackend(ThreadBackend):
    """A file of its own."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        parent = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
        self._folder = tempfile.TemporaryDirectory(prefix="saga-sim-", dir=parent)
        url = f"sqlite:///{self._folder.name}/sagas.db?synchronous=normal"
        self._open(Store.open(url, clock=clock))

    def close(self) -> None:
        """Close and remove the file."""
        super().close()
        self._folder.cleanup()


class PostgresBackend(ThreadBackend):
    """A database that is used again and again."""

    def __init__(self, url: str, clock: Clock) -> None:
        super().__init__()
        self._open(self._emptied(url, clock))

    async def _emptied(self, url: str, clock: Clock) -> Store:
        store = await Store.open(url, clock=clock, migrate=True)
        connection = await asyncpg.connect(url)
        try:
            rows = await connection.fetch(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            )
            names = sorted({row[0] for row in rows} - _KEPT)
            await connection.execute(f"TRUNCATE {', '.join(names)}")
        finally:
            await connection.close()
        return store


def _driven(work: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine returns that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("the memory store waited for something")
