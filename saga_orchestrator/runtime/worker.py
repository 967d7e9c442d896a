"""A participant process: handlers and a broker, and no database of ours."""

from __future__ import annotations

import asyncio
import contextlib
import random

import structlog

from saga_orchestrator.core.states import Direction
from saga_orchestrator.errors import BrokerUnavailableError
from saga_orchestrator.ports.broker import Broker, QueueSpec
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.runtime.backoff import Backoff
from saga_orchestrator.runtime.complaints import Complaints
from saga_orchestrator.runtime.manager import DRAIN_SECONDS
from saga_orchestrator.runtime.parking import Parking
from saga_orchestrator.runtime.process_watch import ProcessWatch
from saga_orchestrator.runtime.receiver import Receiver
from saga_orchestrator.runtime.registry import Registry
from saga_orchestrator.runtime.sinks import RemoteSink
from saga_orchestrator.runtime.supervisor import Supervisor
from saga_orchestrator.wire.topology import Topology

_log = structlog.get_logger("saga.worker")


class Worker:
    """Runs handlers for orchestrators elsewhere; answers over ``saga.replies``."""

    def __init__(
        self,
        *,
        broker: Broker,
        registry: Registry,
        clock: Clock,
        rng: random.Random,
        topology: Topology,
        concurrency: int,
        directions: frozenset[Direction] = frozenset(Direction),
        watch: bool = False,
    ) -> None:
        self._broker = broker
        self._watch = watch
        self._topology = topology
        self._supervisor = Supervisor(clock)
        self._clock = clock
        self._rng = rng
        self._complaints = Complaints(clock)
        self._sink = RemoteSink(broker, topology.replies, clock, rng, self._complaints)
        self._receiver = Receiver(
            broker=broker,
            registry=registry,
            sink=self._sink,
            parking=Parking(broker, topology.dead, clock, rng, self._complaints),
            supervisor=self._supervisor,
            clock=clock,
            rng=rng,
            topology=topology,
            concurrency=concurrency,
            directions=directions,
        )
        self._stopping = asyncio.Event()

    async def open(self) -> None:
        """Declare the queues and take commands."""
        await self._supervisor.open()
        self._supervisor.loop("replies", self._sink.run)
        try:
            await self._declare()
        except BrokerUnavailableError:
            self._supervisor.once("queues", self._declare_later)
        await self._receiver.open()
        if self._watch:
            self._supervisor.loop("watch", self._new_watch().run)
        self._receiver.begin()

    def problems(self) -> list[str]:
        """Name what is wrong now; empty: everything works."""
        return [problem for part in self.parts().values() for problem in part]

    def parts(self) -> dict[str, list[str]]:
        """Name what is wrong now, by part: worker, broker, remarks; all are there."""
        return {
            "worker": self._supervisor.problems(),
            "broker": self._broker.problems(),
            "remarks": self._complaints.problems(),
        }

    def _new_watch(self) -> ProcessWatch:
        return ProcessWatch(
            self._broker,
            self._clock,
            queues=sorted({queue for _, queue in self._receiver.routes()}),
            problems=self.problems,
        )

    async def _declare(self) -> None:
        """Create what the orchestrators consume: they may come later."""
        names = self._topology
        await self._broker.declare(QueueSpec(names.replies, dead_letter=names.dead))
        await self._broker.declare(QueueSpec(names.undelivered))

    async def _declare_later(self) -> None:
        backoff = Backoff(self._rng)
        while True:
            await self._clock.sleep(backoff.next())
            with contextlib.suppress(BrokerUnavailableError):
                return await self._declare()

    async def run(self) -> None:
        """Return when ``stop`` was called; handlers run meanwhile."""
        await self._stopping.wait()

    async def stop(self, timeout: float = DRAIN_SECONDS) -> None:
        """Take nothing new and finish what has begun, within ``timeout`` seconds.

        What does not finish in time is put back into its queue; no attempt is used
        up.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._receiver.stop(timeout)
                await self._receiver.drained()
        except TimeoutError:
            _log.warning("not drained in time", seconds=timeout)
        self._stopping.set()

    async def close(self) -> None:
        """Release everything. ``stop`` first to drain."""
        await self._supervisor.close()
        await self._broker.close()
