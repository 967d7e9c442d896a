"""The receiver: takes commands from the queues, runs handlers, hands answers on.

For each delivery: set it aside if it is malformed; split it if it came back
and holds several; run its commands together, each with its own answer; and
acknowledge it when every answer is safe. In a drain, what has no answer is put
back into its queue, and the rest of its frame is not done again. What cannot even
be put back stays unacknowledged, and the broker delivers it again.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import random
from collections.abc import Callable, Coroutine
from typing import Any

from saga_orchestrator.core.commands import Answer, Command, Reply, routing_key
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.states import Direction
from saga_orchestrator.errors import MessageError, StoreError
from saga_orchestrator.participant.executor import execute, execute_long
from saga_orchestrator.participant.handlers import Handler, Handlers
from saga_orchestrator.participant.run import Interrupted, Run, nobody_else
from saga_orchestrator.participant.store_time import StoreTime
from saga_orchestrator.participant.threads import HandlerThreads
from saga_orchestrator.ports.broker import (
    Broker,
    Consumer,
    Delivery,
    QueueSpec,
)
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.runtime.answering import Answering, LongAnswering
from saga_orchestrator.runtime.backoff import Backoff
from saga_orchestrator.runtime.in_hand import InHand
from saga_orchestrator.runtime.parking import Parking
from saga_orchestrator.runtime.quarantine import Quarantine
from saga_orchestrator.runtime.registry import Registry
from saga_orchestrator.runtime.returning import Received, Returning
from saga_orchestrator.runtime.sinks import Sink
from saga_orchestrator.runtime.slots import NoSlot, Slots
from saga_orchestrator.runtime.supervisor import Supervisor
from saga_orchestrator.runtime.together import Serve, Together
from saga_orchestrator.telemetry import metrics, tracing
from saga_orchestrator.wire.envelope import read_commands
from saga_orchestrator.wire.topology import Topology

PUT_OFF = dt.timedelta(seconds=30)
"""How long a command waits that came to a service without its handler."""

HAND_ON_SECONDS = 2.0
"""The end of a drain that is kept for putting back; at most a quarter of it."""

AGAIN = dt.timedelta(seconds=1)
"""How long a long run waits for its next process, when its own one stops."""

_Execution = Callable[..., Coroutine[Any, Any, Reply]]


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
        self._rng = rng
        self._topology = topology
        self._concurrency = concurrency
        self._directions = directions
        self._slots = Slots(concurrency)
        self._at_work: set[Fence] = set()
        self._threads = HandlerThreads(len(Direction) * concurrency)
        self._quarantine = Quarantine(clock, rng)
        self._store_time = StoreTime(clock)
        self._consumers: list[Consumer] = []
        self._in_hand = InHand()
        self._may_run = asyncio.Event()
        self._takes_nothing = asyncio.Event()
        self._is_traced = False

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
                if self._is_closing():
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
        for command in commands:
            self._store_time.hear(command)
        self._is_traced = tracing.is_on()  # may be said late; asking takes long
        received = Received(delivery, queue)
        serve = functools.partial(self._serve, received, service)
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
        return Together(commands, serve, self._clock, self._is_closing)

    def _is_closing(self) -> bool:
        return self._supervisor.is_ending

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
        """Put what a drain left of a delivery back; tell whether it is there.

        Under no suspicion that it was not under before, as what a dead process had in
        hand is; and what was answered beside it does not come again.
        """
        await self._takes_nothing.wait()  # or it came here again at once
        return await self._returning.as_it_was(received, left)

    async def _serve(
        self,
        received: Received,
        service: Handlers,
        place: int,
        command: Command,
        when_it_waits: Callable[[], None],
    ) -> Answering:
        """Run one command; its answer is on its way, or it is elsewhere, or left."""
        queue = received.queue
        answering = Answering(self._sink, queue)
        if command.fence in self._at_work:
            # It was taken for lost while it waited, or ran: one stands for both.
            answering.returned()
            return answering
        handler = service.get(command.fence.direction, command.action)
        if handler is None:
            missing = f"queue {queue} has no handler for {command.action}"
            answering.hand_over(_later(command, missing, PUT_OFF))
            return answering
        self._at_work.add(command.fence)
        if handler.long:
            return self._begin_long(received, place, command, handler)
        execution = functools.partial(execute, command, handler)
        try:
            reply = await self._perform(command, queue, execution, when_it_waits)
            if reply is not None:
                answering.hand_over(reply)
        except NoSlot:
            await self._return(received, place, command, answering)
        finally:
            self._at_work.discard(command.fence)
        return answering

    async def _return(
        self, received: Received, place: int, command: Command, answering: Answering
    ) -> None:
        """Put a command back for which nothing became free: it may run elsewhere.

        It is tried until it is there, for it must not wait here; a drain does it
        with all that is left.
        """
        # Before it is there: it may come here again at once, and is no copy then.
        self._at_work.discard(command.fence)
        backoff = Backoff(self._rng)
        while not self._in_hand.is_draining:
            if await self._returning.as_it_was(received, [place]):
                answering.returned()
                return
            await self._clock.sleep(backoff.next())

    def _begin_long(
        self, received: Received, place: int, command: Command, handler: Handler
    ) -> LongAnswering:
        """Begin a long handler; its *accepted* is on its way."""
        queue = received.queue
        answering = LongAnswering(self._sink, queue)
        execution = functools.partial(execute_long, command, handler, answering.send)

        async def run() -> None:
            with self._in_hand:
                try:
                    await work()
                except NoSlot:
                    await self._return(received, place, command, answering)
                except Exception as error:
                    answering.failed(error)
                    raise
                finally:
                    self._at_work.discard(command.fence)
                    answering.ended()

        async def work() -> None:
            reply = await self._perform(command, queue, execution)
            if reply is None and answering.are_sent:
                # Its delivery is gone: only an answer brings it back.
                reply = _later(command, "its process was stopped", AGAIN)
            if reply is not None:
                await answering.send(reply)

        self._supervisor.once(f"long {command.action}", run)
        return answering

    async def _perform(
        self,
        command: Command,
        queue: str,
        execution: _Execution,
        when_it_waits: Callable[[], None] = nobody_else,
    ) -> Reply | None:
        """Run a handler when it is its turn; None: a drain left it without answer.

        Raises:
            NoSlot: its turn does not come soon.
        """
        way = command.fence.direction
        await self._slots.take(way, when_it_waits)
        try:
            if self._in_hand.is_draining:
                return None
            if self._store_time.is_late(command):
                return self._store_time.put_off(command)
            begun = self._clock.monotonic()
            run = Run(self._in_hand.waiting, when_it_waits, self._is_closing)
            span = (
                tracing.running(command, queue) if self._is_traced else tracing.UNTRACED
            )
            try:
                with span as traced:
                    reply = traced.ended(
                        await execution(
                            clock=self._clock, threads=self._threads, run=run
                        )
                    )
            except Interrupted:
                return None
            took = self._clock.monotonic() - begun
            metrics.handler_duration(command.action, reply.answer).observe(took)
            return reply
        finally:
            self._slots.leave(way)


def queue_of(service: Handlers, direction: Direction, topology: Topology) -> QueueSpec:
    """Return the queue of a service's actions or compensations."""
    actions = sorted(service.actions(direction))
    return QueueSpec(
        topology.queue_for(direction, service.service),
        routing_keys=tuple(routing_key(direction, action) for action in actions),
        dead_letter=topology.undelivered,
    )


def _later(command: Command, reason: str, delay: dt.timedelta) -> Reply:
    return Reply(
        command.fence, command.token, Answer.RETRY_LATER, error=reason, delay=delay
    )
