"""Which queue serves which action, learnt from the answers.

An action belongs to one queue. Two that answer one and the same dispatch mean
that it was done twice, by two services that know nothing of each other: that
is an alarm. And knowing the queue tells whether a command that was not answered
still waits there: then it is late, not lost, and sending it again would only
make the queue longer.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

import structlog

from saga_orchestrator.core.fence import Fence
from saga_orchestrator.errors import BrokerError
from saga_orchestrator.ports.broker import Broker

ROUTES_MAX = 10_000
ANSWERS_MAX = 10_000

K = TypeVar("K")
_log = structlog.get_logger("saga.routes")


class Routes:
    """Remembers the queues of routing keys, and of the latest answers."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._queue_of = _Recent[str](ROUTES_MAX)
        self._answered = _Recent[Fence](ANSWERS_MAX)
        self._alarm = ""

    def learn(self, routing_key: str, queue: str) -> None:
        """Note the queue that commands of this routing key come from."""
        self._queue_of.note(routing_key, queue)

    def queue_of(self, routing_key: str) -> str | None:
        """Return the queue that a routing key is served from, where it is known."""
        return self._queue_of.get(routing_key)

    def answered(self, fence: Fence, queue: str) -> None:
        """Note the queue that a dispatch was answered from."""
        before = self._answered.note(fence, queue)
        if queue and before and before != queue:
            self._alarm = (
                f"step {fence.step} was answered from two queues, {before} and "
                f"{queue}; an action belongs to one: remove the other's binding"
            )
            _log.error("answered twice", saga_id=fence.saga_id, problem=self._alarm)

    async def is_queued(self, routing_key: str) -> bool:
        """Tell whether the key's queue is being worked off and not empty.

        False where the queue is not known, or the broker does not say: then a
        duplicate is the smaller harm.
        """
        queue = self._queue_of.get(routing_key)
        if queue is None:
            return False
        try:
            stats = await self._broker.stats(queue)
        except BrokerError:
            return False
        return stats is not None and stats.ready > 0 and stats.consumers > 0

    def problems(self) -> list[str]:
        """Name the last alarm."""
        return [self._alarm] if self._alarm else []


class _Recent(Generic[K]):
    """The latest values by key; the oldest are forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[K, str] = OrderedDict()

    def get(self, key: K) -> str | None:
        """Return the value that was noted last."""
        return self._values.get(key)

    def note(self, key: K, value: str) -> str | None:
        """Keep a value; return the one before it."""
        before = self._values.get(key)
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)
        return before
