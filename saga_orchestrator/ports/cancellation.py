"""Cancellation, where libraries that are not ours stand between.

A driver that is cancelled tidies up, and where that fails it raises its error *in
place of* the ``CancelledError``. An adapter that translates the error would tell its
caller to try again, which a loop does, for ever: the cancellation is gone, and who
waits for the loop to end waits in vain.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterator
from typing import Any

AGAIN_SECONDS = 5.0
"""What goes on after a cancellation for so long has swallowed it, or needs long."""


def is_cancelled_from_outside() -> bool:
    """Tell whether the running task is being cancelled.

    A library may raise a ``CancelledError`` of its own, which is no cancellation of
    its caller. Outside of a task nothing can be cancelled.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs
        return False
    return task is not None and task.cancelling() > 0


@contextlib.contextmanager
def cancellation_first() -> Iterator[None]:
    """Let no error of a library stand in for the cancellation that led to it.

    Raises:
        asyncio.CancelledError: in place of an error, when the task is being cancelled.
    """
    try:
        yield
    except Exception as error:
        if is_cancelled_from_outside():
            raise asyncio.CancelledError from error
        raise


async def cancel_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks, again where it had no effect, and wait until all have ended."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
