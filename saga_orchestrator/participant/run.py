"""One run of a handler: variables of its own, a limit in time, an end from outside.

A task of its own would give it all that, at a third of what a command costs. Most
runs end in the step in which they begin, and need none of it: a timer, and a place
where the drain finds it, are made for a run that waits, when it does.
"""

from __future__ import annotations

import asyncio
import contextvars
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from saga_orchestrator.participant.threads import Overrun

T = TypeVar("T")


class Interrupted(BaseException):
    """Somebody ended the run from outside; as after a cancellation it has no answer."""


def nobody_else() -> None:
    """Tell nobody that a run waits."""


def always() -> bool:
    """Say that any cancellation ends the process."""
    return True


class Run:
    """A handler's run, in whichever task drives it.

    That task may have run other handlers before, and may run more afterwards: no
    context variable that is set in the run is seen outside of it, and cancellations
    that the run asked for are taken back at its end. So are the handler's own: it may
    cancel the task that it finds itself in, as a time limit does, and mean itself.

    Args:
        waiting: where it is found while it waits, to be interrupted.
        when_it_waits: called once, when it begins to wait: its task is taken.
        is_closing: tells whether a cancellation that the run did not ask for is the
            process's end. If not, it is the handler's own.

    Attributes:
        is_cancelled: whether its task was cancelled by the process's end; a handler
            may as well raise a ``CancelledError`` of its own.
    """

    __slots__ = (
        "_cancels", "_cuts", "_is_closing", "_reason", "_task", "_timer",
        "_waiting", "_when_it_waits", "is_cancelled",
    )  # fmt: skip

    _task: asyncio.Task[Any]

    def __init__(
        self,
        waiting: dict[Run, None] | None = None,
        when_it_waits: Callable[[], None] = nobody_else,
        is_closing: Callable[[], bool] = always,
    ) -> None:
        self._waiting = {} if waiting is None else waiting
        self._when_it_waits = when_it_waits
        self._is_closing = is_closing
        self._timer: asyncio.TimerHandle | None = None
        self._reason: BaseException | None = None
        self._cancels = 0
        self._cuts = 0
        self.is_cancelled = False

    @types.coroutine
    def drive(
        self, work: Coroutine[Any, Any, T], seconds: float | None
    ) -> Generator[Any, Any, T]:
        """Run the work to its end and return what it returns.

        Args:
            work: what to run.
            seconds: after which it is cancelled; None: it limits itself.

        Raises:
            Overrun: the time passed, and the work ended by it.
            Interrupted: ``interrupt`` was called, and the work ended by it.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        task = asyncio.current_task()
        assert task is not None, "an event loop runs, so a task does"
        self._task, self._cancels = task, task.cancelling()
        context = contextvars.copy_context()
        try:
            waits_for = context.run(work.send, None)
        except StopIteration as end:
            value: T = end.value
            return value
        if seconds is not None:
            self._timer = loop.call_at(begun + seconds, self._overrun, seconds)
        self._begin_to_wait()
        try:
            return (yield from _steps(work, context, waits_for))
        except asyncio.CancelledError as error:
            others = self._task.cancelling() - self._cuts - self._cancels
            self.is_cancelled = others > 0 and self._is_closing()
            if self._reason is None or self.is_cancelled:
                raise
            raise self._reason from error
        finally:
            self._end()

    def interrupt(self) -> None:
        """Cancel the work, which waits; it may clean up after itself."""
        self._cut(Interrupted())

    def _overrun(self, seconds: float) -> None:
        if self._reason is None:
            self._cut(Overrun(f"no answer within {seconds:g} s"))

    def _cut(self, reason: BaseException) -> None:
        self._reason = reason
        self._cuts += 1
        self._task.cancel()

    def _begin_to_wait(self) -> None:
        self._waiting[self] = None
        self._when_it_waits()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        del self._waiting[self]
        while self._task.cancelling() > self._cancels:
            if self._is_closing() and not self._cuts:
                break  # what is left ends the process
            self._cuts = max(self._cuts - 1, 0)
            self._task.uncancel()


def _steps(
    work: Coroutine[Any, Any, T], context: contextvars.Context, waits_for: object
) -> Generator[Any, Any, T]:
    """Drive the work from its first wait to its end, each step in its context."""
    try:
        while True:
            try:
                given = yield waits_for
            except BaseException as error:  # noqa: BLE001 - whatever, it is the work's
                waits_for = context.run(work.throw, error)
            else:
                waits_for = context.run(work.send, given)
    except StopIteration as end:
        value: T = end.value
        return value
