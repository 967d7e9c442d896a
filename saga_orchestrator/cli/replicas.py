"""`saga serve --processes N`: the parent, which starts processes and works on no saga.

One interpreter uses one core. So there are several, each a replica like any other: the
store and the broker are all that they share. The parent keeps their number up.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence

import structlog

from saga_orchestrator.cli.replica import Task
from saga_orchestrator.ports.clock import Clock

FIRST_PAUSE_SECONDS = 0.5
LAST_PAUSE_SECONDS = 30.0
HEALTHY_SECONDS = 60.0
"""One that worked for so long is started again after the first pause."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = structlog.get_logger("saga.process")


def supervise(task: Task, listening: socket.socket | None, clock: Clock) -> int:
    """Run processes until a signal; return the exit code, as of one process.

    The first one is started alone: what is wrong with the settings, the store or the
    broker is told once, and ends all as it ends one.

    Args:
        task: what they are to be; number and folder are filled in here.
        listening: what they answer HTTP on; None: they do not. Is closed.
        clock: for pauses.
    """
    with tempfile.TemporaryDirectory(prefix="saga-", ignore_cleanup_errors=True) as own:
        task = dataclasses.replace(task, folder=own)
        return asyncio.run(_Supervisor(task, listening, clock).run())


class _Supervisor:
    """Keeps the processes running; hands signals on."""

    def __init__(
        self, task: Task, listening: socket.socket | None, clock: Clock
    ) -> None:
        self._task = task
        self._listening = listening
        self._clock = clock
        self._stopping = asyncio.Event()
        self._asked_by: signal.Signals | None = None
        self._children: dict[int, _Child] = {}
        self._codes: list[int] = []

    async def run(self) -> int:
        """Run the processes; return the exit code."""
        loop = asyncio.get_running_loop()
        for one in _SIGNALS:
            loop.add_signal_handler(one, self._arrived, one)
        first = await self._start(1, is_first=True)
        if not await first.works():
            code = await first.ended()
            return 128 + self._asked_by if self._asked_by else code
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep(1, first))
            for number in range(2, self._task.count + 1):
                if not self._stopping.is_set():
                    child = await self._start_or_wait(number)
                    group.create_task(self._keep(number, child))
        return next((code for code in self._codes if code), 0)

    async def _start(self, number: int, *, is_first: bool = False) -> _Child:
        task = dataclasses.replace(self._task, number=number, is_first=is_first)
        shared = [] if self._listening is None else [self._listening.fileno()]
        child = self._children[number] = await _Child.start(task, shared)
        if self._stopping.is_set():
            child.signal(signal.SIGTERM)  # the signal came while it was being started
        return child

    async def _start_or_wait(self, number: int) -> _Child | None:
        """Start a process once the machine has room for one; None: all are to stop."""
        while not self._stopping.is_set():
            try:
                return await self._start(number)
            except OSError as error:  # no process, memory or descriptor is left
                pause = LAST_PAUSE_SECONDS
                _log.error(
                    "process not started",
                    process=number,
                    error=str(error),
                    again_in=pause,
                )
                await self._pause(pause)
        return None

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until all are to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _keep(self, number: int, child: _Child | None) -> None:
        """Start a process again whenever it ends, until all are to stop."""
        pause = FIRST_PAUSE_SECONDS
        while child is not None:
            since = self._clock.monotonic()
            code = await child.ended()
            if self._stopping.is_set():
                self._codes.append(code)
                return
            if self._clock.monotonic() - since >= HEALTHY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            _log.error("process ended", process=number, code=code, again_in=pause)
            await self._pause(pause)
            pause = min(pause * 2, LAST_PAUSE_SECONDS)
            child = await self._start_or_wait(number)

    def _arrived(self, number: signal.Signals) -> None:
        """Drain all at the first signal, end all at the second."""
        if self._stopping.is_set():
            for child in self._children.values():
                child.signal(signal.SIGKILL)
            shutil.rmtree(self._task.folder, ignore_errors=True)
            sys.stderr.flush()
            os._exit(128 + number)
        self._asked_by = number
        self._stopping.set()
        if self._listening is not None:
            self._listening.close()  # each process closes its own when it has drained
        for child in self._children.values():
            child.signal(signal.SIGTERM)


class _Child:
    """One process, from its start to its end.

    Its end of a socket pair closes with the parent, however that ends.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, channel: socket.socket
    ) -> None:
        self._process = process
        self._channel = channel

    @classmethod
    async def start(cls, task: Task, shared: Sequence[int]) -> _Child:
        """Start a process with a task.

        Args:
            task: what it is to be.
            shared: descriptors that it gets.
        """
        channel, its_end = socket.socketpair()
        channel.setblocking(False)
        with contextlib.ExitStack() as opened, its_end:
            opened.enter_context(channel)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "saga_orchestrator.cli.replica"),
                str(its_end.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[its_end.fileno(), *shared],
                start_new_session=True,  # a Ctrl-C is the parent's to hand on
            )
            opened.pop_all()  # it is the child's now
        child = cls(process, channel)
        with contextlib.suppress(OSError):  # it has ended already
            await asyncio.get_running_loop().sock_sendall(channel, task.to_line())
        return child

    async def works(self) -> bool:
        """Wait until it says that it works; False: it ended before."""
        try:
            return bool(await asyncio.get_running_loop().sock_recv(self._channel, 16))
        except OSError:
            return False

    async def ended(self) -> int:
        """Wait for its end; return its exit code, as a shell has it."""
        code = await self._process.wait()
        self._channel.close()
        return code if code >= 0 else 128 - code

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
