"""Running until a signal: what `serve`, `worker` and `dev` have in common.

The first SIGTERM or SIGINT drains and ends with 0. A second one ends the
process at once; what was not finished is taken up by the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import structlog
import typer

from saga_orchestrator.bootstrap import run_process
from saga_orchestrator.errors import ConfigurationError
from saga_orchestrator.runtime.manager import Manager
from saga_orchestrator.runtime.opening import Opening
from saga_orchestrator.runtime.worker import Worker
from saga_orchestrator.telemetry.export import export_traces

LOOK_SECONDS = 5.0
"""How often a running process looks for problems of its own to log."""

_log = structlog.get_logger("saga.process")

Process = TypeVar("Process", Manager, Worker)
OpenFace = Callable[[Process], AbstractAsyncContextManager[Callable[[], None]]]


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a daemon's main coroutine; its traces go where the environment says."""
    export_traces(os.environ, "saga")
    run_process(main)


@contextlib.asynccontextmanager
async def no_face(process: object) -> AsyncIterator[Callable[[], None]]:
    """Show nothing to the outside."""
    del process
    yield lambda: None


async def run_until_stopped(
    opening: Opening[Process],
    drain_seconds: float,
    ready: Callable[[Process], None],
    face: OpenFace[Process] = no_face,
    *,
    is_supervised: bool = False,
) -> None:
    """Open a process, let it work until a signal, drain, close.

    Args:
        opening: the manager or the worker.
        drain_seconds: how long it may finish what it has begun.
        ready: called once it works.
        face: opens what others can reach of it. What it gives is called when the
            process begins to stop; it closes when that is done.
        is_supervised: a parent of ours ends it where it is not to drain. A second
            signal says no more than the first, which systemd sends to all, too.

    Raises:
        SagaError: it cannot be opened.
        typer.Exit: a signal came before it was open.
    """
    stop = StopSignals(ends_at_second=not is_supervised)
    try:
        process = await opening
    except asyncio.CancelledError:
        raise typer.Exit(stop.exit_code) from None
    stop.opened()
    try:
        async with face(process) as be_stopping:
            ready(process)
            problems = _log_changes(set(), set(process.problems()))
            while not await stop.asked(within=LOOK_SECONDS):
                problems = _log_changes(problems, set(process.problems()))
            _log.info("stopping", drain_seconds=drain_seconds)
            be_stopping()
            await process.stop(drain_seconds)
    except ConfigurationError:
        # The face cannot be opened, and what supervises us will try again and again.
        # What was taken meanwhile must not cost a delivery each time.
        await process.stop(drain_seconds)
        raise
    finally:
        await process.close()
    _log.info("stopped")


class StopSignals:
    """SIGTERM and SIGINT, in three stages: cancel the opening, drain, die.

    Args:
        ends_at_second: whether there is the third stage.
    """

    def __init__(self, *, ends_at_second: bool) -> None:
        self._ends_at_second = ends_at_second
        self._asked = asyncio.Event()
        self._opening = asyncio.current_task()
        self.exit_code = 0
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._arrived, number)

    def opened(self) -> None:
        """Note that from now on there is something to drain."""
        self._opening = None

    async def asked(self, *, within: float) -> bool:
        """Wait for the first signal so many seconds; tell whether it came."""
        try:
            async with asyncio.timeout(within):
                await self._asked.wait()
        except TimeoutError:
            return False
        return True

    def _arrived(self, number: signal.Signals) -> None:
        if self._asked.is_set():
            if not self._ends_at_second:
                return
            sys.stderr.flush()
            os._exit(128 + number)
        self.exit_code = 128 + number
        self._asked.set()
        if self._opening is not None:
            self._opening.cancel()


def _log_changes(known: set[str], current: set[str]) -> set[str]:
    for problem in sorted(current - known):
        _log.warning("problem", problem=problem)
    for problem in sorted(known - current):
        _log.info("problem solved", problem=problem)
    return current
