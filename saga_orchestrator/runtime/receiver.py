"""The receiver: takes commands from the queues, and sees to what becomes of them.

For each delivery: set it aside if it is malformed; split it if it came back
and holds several; run its commands together, each with its own answer; and
acknowledge it when every answer is safe. In a drain, what has no answer is put
back into its queue, and the rest of its frame is not done again. What cannot even
be put back stays unacknowledged, and the broker delivers it again.
"""

from __future__ import annotations

import asyncio
import functools
import random

from saga_orchestrator.core.commands import Command, routing_key
from saga_orchestrator.core.states import Direction
from saga_orchestrator.errors import MessageError, StoreError
from saga_orchestrator.participant.handlers import Handlers
from saga_orchestrator.ports.broker import (
    Broker,
    Consumer,
    Delivery,
    QueueSpec,
)
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.runtime.in_hand import InHand
from saga_orchestrator.runtime.parking import Parking
from saga_orchestrator.runtime.quarantine import Quarantine
from saga_orchestrator.runtime.registry import Registry
from saga_orchestrator.runtime.returning import Received, Returning
from saga_orchestrator.runtime.serving import Serving
from saga_orchestrator.runtime.sinks import Sink
from saga_orchestrator.runtime.supervisor import Supervisor
from saga_orchestrator.runtime.together import Serve, Together
from saga_orchestrator.wire.envelope import read_commands
from saga_orchestrator.wire.topology import Topology

HAND_ON_SECONDS = 2.0
"""The end of a drain that is kept for putting back; at most a quarter of it."""


class Receiver:
    """Serves a process's handlers from their queues."""

    def __init__(
        self,
        *,
        broker: Broker,
        registry: Registry,
        sink: Sink,
        parking: Parking,
        supervisor: Supervisor,
        clock: Clock,
        rng: random.Random,
        topology: Topology,
        concurrency: int,
        directions: frozenset[Direction] = frozenset(Direction),
    ) -> None:
        self._broker = broker
        self._returning = Returning(broker, clock, rng)
        self._registry = registry
        self._sink = sink
        self._parking = parking
        self._supervisor = supervisor
        self._clock = clock
        self._topology = topology
        self._concurrency = concurrency
        self._directions = directions
        self._quarantine = Quarantine(clock, rng)
        self._consumers: list[Consumer] = []
        self._in_hand = InHand()
        self._serving = Serving(
            sink=sink,
            returning=self._returning,
            in_hand=self._in_hand,
            supervisor=supervisor,
            clock=clock,
            rng=rng,
            concurrency=concurrency,
        )
        self._may_run = asyncio.Event()
        self._takes_nothing = asyncio.Event()

    async def open(self) -> None:
        """Declare and consume the queues of every service; ``begin`` runs handlers."""
        for service in self._registry.services:
            for direction in sorted(self._directions):
                if service.actions(direction):
                    await self._consume(service, direction)

    def begin(self) -> None:
        """Run what has arrived, and what arrives: the whole process is open.

        A process that is stopped while it opens has nothing to drain, and closes at
        once: what it had run by then would be run again.
        """
        self._may_run.set()

    def routes(self) -> list[tuple[str, str]]:
        """Return the routing keys served here, each with its queue."""
        return [
            (key, spec.name)
            for service in self._registry.services
            for direction in self._directions
            for spec in [queue_of(service, direction, self._topology)]
            for key in spec.routing_keys
        ]

    async def stop(self, seconds: float) -> None:
        """Take nothing new, let what has begun end, put back what has not.

        Args:
            seconds: the drain's time; what is not done shortly before its end is
                interrupted and put back too.
        """
        self._in_hand.is_draining = True
        patience = seconds - min(HAND_ON_SECONDS, seconds / 4)

        async def lose_patience() -> None:
            await self._clock.sleep(patience)
            self._in_hand.interrupt()

        self._supervisor.once("end of the drain", lose_patience)
        for consumer in self._consumers:
            await consumer.cancel()
        self._takes_nothing.set()

    async def drained(self) -> None:
        """Wait until no delivery is in hand."""
        await self._in_hand.drained()

    async def _consume(self, service: Handlers, direction: Direction) -> None:
        queue = queue_of(service, direction, self._topology)

        async def handle(delivery: Delivery) -> None:
            await self._handle(delivery, queue.name, service)

        consumer = await self._broker.consume(queue, handle, prefetch=self._concurrency)
        self._consumers.append(consumer)

    async def _handle(self, delivery: Delivery, queue: str, service: Handlers) -> None:
        with self._in_hand:
            await self._may_run.wait()
            try:
                may_ack = await self._process(delivery, queue, service)
            except StoreError as error:
                await self._parking.park(delivery, queue, str(error))
            except asyncio.CancelledError:
                if self._serving.is_closing():
                    raise
                # A handler's, which had ended: what went on in its task, and its
                # frame, is cut off. What is answered by now does not come again.
                await self._give_back(delivery)
            else:
                if may_ack:
                    await delivery.ack()

    async def _give_back(self, delivery: Delivery) -> None:
        task = asyncio.current_task()
        while task is not None and task.cancelling():
            task.uncancel()
        await delivery.requeue()

    async def _process(self, delivery: Delivery, queue: str, service: Handlers) -> bool:
        """Do what a delivery asks for; tell whether it may be acknowledged.

        If not, it is left as it is, and the broker delivers it again.
        """
        try:
            commands = read_commands(delivery.body)
        except MessageError as error:
            await self._parking.park(delivery, queue, str(error))
            return False
        self._serving.hear(commands)
        received = Received(delivery, queue)
        serve = functools.partial(self._serving.serve, received, service)
        if received.is_suspect and len(commands) > 1:
            await self._returning.as_suspects(received)
            return True
        if received.is_suspect:
            ends = [await self._run_suspect(commands[0], serve)]
        else:
            together = self._together(commands, serve)
            ends = await self._quarantine.together(together.run)
        for place, end in enumerate(ends):
            if isinstance(end, StoreError):
                part = received.part(place)
                await self._parking.set_aside(part, delivery, queue, str(end))
        left = [place for place, end in enumerate(ends) if end is False]
        return not left or await self._put_back(received, left)

    def _together(self, commands: list[Command], serve: Serve) -> Together:
        return Together(commands, serve, self._clock, self._serving.is_closing)

    async def _run_suspect(self, command: Command, serve: Serve) -> bool | StoreError:
        """Run a command that came back: alone, and only if it is still awaited."""
        if not await self._sink.is_awaited(command.fence):
            return True  # answered before; nothing has to wait for it

        async def run() -> bool | StoreError:
            if not await self._sink.is_awaited(command.fence):
                return True
            (end,) = await self._together([command], serve).run()
            return end

        return await self._quarantine.alone(run)

    async def _put_back(self, received: Received, left: list[int]) -> bool:
        """Put what was left of a delivery back; tell whether it is there.

        Under no suspicion that it was not under before, as what a dead process had in
        hand is; and what was answered beside it does not come again.
        """
        if self._in_hand.is_draining:  # else it is the copy of what failed
            await self._takes_nothing.wait()  # or it came here again at once
        return await self._returning.as_it_was(received, left)


def queue_of(service: Handlers, direction: Direction, topology: Topology) -> QueueSpec:
    """Return the queue of a service's actions or compensations."""
    actions = sorted(service.actions(direction))
    return QueueSpec(
        topology.queue_for(direction, service.service),
        routing_keys=tuple(routing_key(direction, action) for action in actions),
        dead_letter=topology.undelivered,
    )
