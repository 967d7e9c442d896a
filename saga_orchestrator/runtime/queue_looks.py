"""Looking at the queue of a command: does anybody read it, how many stand in it.

Nobody can ask a broker which queue an action is bound to. Answers tell it
(``Routes``); where none came yet, the queues that it would have by custom are looked
at. That is no proof, so an empty queue says nothing: a command that nobody took
stands in its queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from saga_orchestrator.core.commands import routing_key
from saga_orchestrator.core.waiting import QueueLook, Wait
from saga_orchestrator.errors import BrokerError
from saga_orchestrator.ports.broker import Broker, QueueStats
from saga_orchestrator.runtime.routes import Routes
from saga_orchestrator.wire.topology import Topology

LOOK_SECONDS = 3.0
"""A broker that does not answer within this is not asked again in this look."""


class QueueLooks:
    """Looks at each queue once: make a new one for a new look.

    Attributes:
        problem: why the broker could not be asked; empty: it could.
    """

    def __init__(self, broker: Broker, routes: Routes, topology: Topology) -> None:
        self._broker = broker
        self._routes = routes
        self._topology = topology
        self._seen: dict[str, QueueStats | None] = {}
        self.problem = ""

    async def at(self, wait: Wait) -> list[QueueLook]:
        """Look at the queues that a wait's command may stand in."""
        if wait.direction is None or not wait.action:
            return []
        return await self._look(self._queues_of(wait))

    async def dead_letters(self) -> int:
        """Return how many messages are set aside for a person."""
        found = await self._look([self._topology.dead])
        return sum(look.ready for look in found)

    def _queues_of(self, wait: Wait) -> list[str]:
        assert wait.direction is not None, "checked before"
        known = self._routes.queue_of(routing_key(wait.direction, wait.action))
        if known is not None:
            return [known]
        service = wait.action.partition(".")[0]
        names = ("", service, f"{service}s")
        return [self._topology.queue_for(wait.direction, name) for name in names]

    async def _look(self, queues: Iterable[str]) -> list[QueueLook]:
        found = []
        for queue in queues:
            stats = await self._stats(queue)
            if stats is not None:
                found.append(QueueLook(queue, stats.ready, stats.consumers))
        return found

    async def _stats(self, queue: str) -> QueueStats | None:
        if queue not in self._seen and not self.problem:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    self._seen[queue] = await self._broker.stats(queue)
            except TimeoutError:
                self.problem = f"no answer within {LOOK_SECONDS:g} s"
            except BrokerError as error:
                self.problem = str(error)  # once: each try would wait its time
        return self._seen.get(queue)
