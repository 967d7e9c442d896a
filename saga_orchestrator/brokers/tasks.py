"""The tasks of one broker handle: its handlers and its own upkeep.

A task group cannot serve here: a handle is opened in one task and closed in
another, and a handler that fails must not end its neighbours.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from saga_orchestrator.ports.cancellation import cancel_all

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from saga_orchestrator.ports.broker import Delivery, DeliveryHandler

_log = logging.getLogger(__name__)


class TaskSet:
    """Tasks that end, at the latest, when their owner closes the set."""

    def __init__(self) -> None:
        # A dict, for its order: closing is the same in every seeded run.
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._is_closed = False

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside the caller; an error that it raises is logged.

        After ``close`` nothing starts: a late delivery goes back unhandled.
        """
        if self._is_closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a broker task failed", exc_info=error)

    async def close(self) -> None:
        """Cancel every task and wait until all have ended."""
        self._is_closed = True
        await cancel_all(list(self._tasks))


async def handle(handler: DeliveryHandler, delivery: Delivery) -> None:
    """Call the handler; give the message back when it raises."""
    try:
        await handler(delivery)
    except Exception:  # noqa: BLE001 - whatever a handler raises
        _log.exception("the handler of %r raised", delivery.routing_key)
        await delivery.requeue()
