"""Whether a command still waits in its queue: then it is late, not lost.

A resend is for a broker that lost a message. While a queue has consumers and
messages ready, what was sent to it most likely waits there, and sending it
again would only make the queue longer.
"""

from __future__ import annotations

from collections import OrderedDict

from saga_orchestrator.errors import BrokerError
from saga_orchestrator.ports.broker import Broker

ROUTES_MAX = 10_000


class Backlog:
    """Remembers which queue answers for which routing key."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._queue_of: OrderedDict[str, str] = OrderedDict()

    def learn(self, routing_key: str, queue: str) -> None:
        """Note the queue that a command of this routing key came from."""
        self._queue_of[routing_key] = queue
        self._queue_of.move_to_end(routing_key)
        while len(self._queue_of) > ROUTES_MAX:
            self._queue_of.popitem(last=False)

    async def holds(self, routing_key: str) -> bool:
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
