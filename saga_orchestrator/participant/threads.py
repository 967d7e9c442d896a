"""Runs sync handlers, each in a thread of its own, a bounded number at a time."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import AsyncIterator, Callable

THREADS_MAX = 32


class Overrun(Exception):
    """The run did not end within its timeout."""


class NoFreeThread(Exception):
    """All threads are taken; the handler was not begun."""


@contextlib.asynccontextmanager
async def run_limit(seconds: float) -> AsyncIterator[None]:
    """Cancel what runs inside after ``seconds``.

    Raises:
        Overrun: the time passed; a ``TimeoutError`` of the handler's own stays
            what it is.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise Overrun(f"no answer within {seconds:g} s") from error


class HandlerThreads:
    """The threads for sync handlers; one object per process.

    Daemon threads rather than a pool: the interpreter waits for a pool's
    threads when it exits, so that one handler that never returns would keep the
    process alive for ever.

    Attributes:
        threads_max: runs at a time.
    """

    def __init__(self, threads_max: int = THREADS_MAX) -> None:
        self.threads_max = threads_max
        self._free = asyncio.Semaphore(threads_max)

    async def run(
        self,
        function: Callable[..., object],
        arguments: tuple[object, ...],
        seconds: float,
    ) -> object:
        """Call the function in a thread and return what it returns.

        A thread cannot be stopped: after the timeout, or a cancellation, it goes
        on and keeps its place until the function returns. So the effect may
        still happen, which is why the answer is then *unknown*.

        Raises:
            NoFreeThread: no place within ``seconds``; nothing was begun.
            Overrun: begun, and not ended within ``seconds``.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._free.acquire()
        except TimeoutError as error:
            raise NoFreeThread(
                f"all {self.threads_max} handler threads are busy"
            ) from error
        finished = self._start(function, arguments)
        async with run_limit(seconds):
            value, problem = await finished
        if problem is not None:
            raise problem
        return value

    def _start(
        self, function: Callable[..., object], arguments: tuple[object, ...]
    ) -> asyncio.Future[tuple[object, BaseException | None]]:
        loop = asyncio.get_running_loop()
        finished: asyncio.Future[tuple[object, BaseException | None]]
        finished = loop.create_future()

        def settle(value: object, problem: BaseException | None) -> None:
            self._free.release()
            if not finished.done():
                # As a value: a future refuses some exceptions (StopIteration).
                finished.set_result((value, problem))

        def work() -> None:
            value: object = None
            problem: BaseException | None = None
            try:
                value = function(*arguments)
            except BaseException as error:  # noqa: BLE001 - SystemExit too is an answer
                problem = error
            with contextlib.suppress(RuntimeError):  # The loop may be closed by now
                loop.call_soon_threadsafe(settle, value, problem)

        context = contextvars.copy_context()
        try:
            threading.Thread(
                target=context.run, args=(work,), name="saga-handler", daemon=True
            ).start()
        except RuntimeError:
            self._free.release()
            raise
        return finished
