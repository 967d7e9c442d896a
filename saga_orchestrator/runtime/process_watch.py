"""What a process says of itself: its problems, and the queues that it reads.

A loop of its own in a worker; in an engine a part of the watch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version

from saga_orchestrator.errors import BrokerError
from saga_orchestrator.ports.broker import Broker, QueueStats
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.telemetry import metrics
from saga_orchestrator.telemetry.labels import QUEUES

EVERY_SECONDS = 15.0


class ProcessWatch:
    """Refreshes the gauges that need no store."""

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        *,
        queues: Sequence[str],
        problems: Callable[[], list[str]],
    ) -> None:
        """Prepare the loop.

        Args:
            broker: whose queues.
            clock: what the pauses are waited on.
            queues: those that this process reads.
            problems: what is wrong with it.
        """
        self._broker = broker
        self._clock = clock
        self._queues = queues
        self._problems = problems

    async def run(self) -> None:
        """Refresh for ever."""
        while True:
            await self.refresh()
            await self._clock.sleep(EVERY_SECONDS)

    async def refresh(self) -> None:
        """Look once; where the broker is away, its gauges stay as they were."""
        metrics.BUILD_INFO.labels(version("saga-orchestrator")).set(1)
        metrics.PROBLEMS.set(len(self._problems()))
        try:
            for queue in self._queues:
                await self._look_at(queue)
        except BrokerError:
            return  # its own problem says so

    async def _look_at(self, queue: str) -> None:
        # One that is not there is read by nobody; its last numbers say nothing.
        stats = await self._broker.stats(queue) or QueueStats(ready=0, consumers=0)
        label = QUEUES.label(queue)
        metrics.QUEUE_MESSAGES.labels(*label).set(stats.ready)
        metrics.QUEUE_CONSUMERS.labels(*label).set(stats.consumers)
