"""The one place that makes tasks: every loop of a process runs under it.

A loop that raises is a defect, or a fault that nobody foresaw. It must not
take the others with it: it is logged, shown in ``problems`` and started again
after a pause. Stopping cancels the loops that are left and waits for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from saga_orchestrator.ports.cancellation import cancel_all
from saga_orchestrator.ports.clock import Clock

RESTART_SECONDS = 1.0
RECENT_SECONDS = 60.0
"""A loop that failed no later than this is not well yet."""

_log = structlog.get_logger("saga.supervisor")


class Supervisor:
    """Owns a process's background tasks, in one task group."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._root: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened = asyncio.Event()
        self._closing = asyncio.Event()
        self._problems: dict[str, tuple[str, float]] = {}

    async def open(self) -> None:
        """Open the task group."""
        self._root = asyncio.get_running_loop().create_task(self._hold())
        await self._opened.wait()

    def loop(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run an endless coroutine; start it again when it raises."""
        self._spawn(self._keep(name, run), name)

    def once(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a coroutine to its end; what it raises is logged."""
        self._spawn(self._attempt(name, run), name)

    def problems(self) -> list[str]:
        """Name the loops that failed in the last minute."""
        since = self._clock.monotonic() - RECENT_SECONDS
        return [
            f"{name}: {text}"
            for name, (text, at) in sorted(self._problems.items())
            if at >= since
        ]

    @property
    def is_ending(self) -> bool:
        """Whether it was closed, or is cancelled: by a loop that ends without that."""
        is_cancelled = self._root is not None and self._root.cancelling() > 0
        return self._closing.is_set() or is_cancelled

    async def close(self) -> None:
        """Cancel every task that is left, and wait for all."""
        self._closing.set()
        if self._root is not None:
            await self._root
            self._root = None

    async def _hold(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._opened.set()
                await self._closing.wait()
                await cancel_all(self._tasks)
        finally:
            self._group = None

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        if self._group is None or self._closing.is_set():
            work.close()
            return
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._attempt(name, run)
            await self._clock.sleep(RESTART_SECONDS)

    async def _attempt(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except Exception as error:  # noqa: BLE001 - the supervisor is the last net
            self._problems[name] = (
                f"{type(error).__name__}: {error}",
                self._clock.monotonic(),
            )
            _log.exception("loop failed", loop=name)
