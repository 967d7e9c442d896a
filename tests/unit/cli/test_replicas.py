"""The parent of `saga serve --processes`: what it cannot start now, it starts later."""

from __future__ import annotations

import asyncio
import errno
import signal

import pytest

from saga_orchestrator.cli import replicas
from saga_orchestrator.cli.replica import Task
from saga_orchestrator.ports.clock import SystemClock


class _Child:
    """A process that works until it is told to end."""

    def __init__(self, *, dies: bool) -> None:
        self._dies = dies
        self._over = asyncio.Event()

    async def works(self) -> bool:
        return True

    async def ended(self) -> int:
        if not self._dies:
            await self._over.wait()
        return int(self._dies)

    def signal(self, number: signal.Signals) -> None:
        del number
        self._over.set()


@pytest.mark.parametrize("dies", [True, False])
async def test_a_process_that_cannot_be_started_ends_no_other(
    monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    """The machine has no room for one more, just now."""
    monkeypatch.setattr(replicas, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(replicas, "LAST_PAUSE_SECONDS", 0.01)
    started: list[_Child] = []
    again = asyncio.Event()
    refusals = iter([False] * (1 + dies) + [True] * 3)

    async def start(task: Task, shared: object) -> _Child:
        del task, shared
        if next(refusals, False):
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        started.append(_Child(dies=dies and len(started) == 1))
        if len(started) == 2 + dies:
            again.set()
        return started[-1]

    monkeypatch.setattr(replicas._Child, "start", start)
    task = Task(
        number=0,
        count=2,
        flags={},
        references=[],
        app_dir=".",
        folder="",
        listening=None,
        debug=False,
        is_first=False,
    )
    running = asyncio.create_task(replicas._Supervisor(task, None, SystemClock()).run())
    async with asyncio.timeout(10):
        await again.wait()
        signal.raise_signal(signal.SIGTERM)
        assert await running == 0
