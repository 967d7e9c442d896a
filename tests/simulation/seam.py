"""A process's connection to the broker, which has the broker's moods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from saga_orchestrator.brokers.memory import MemoryBroker
from saga_orchestrator.brokers.memory.broker import MemoryConsumer
from saga_orchestrator.errors import BrokerUnavailableError
from saga_orchestrator.ports.broker import (
    Delivery,
    DeliveryHandler,
    OutgoingMessage,
    QueueSpec,
    QueueStats,
    Receipt,
)
from tests.simulation.process import Life, ProcessClock

if TYPE_CHECKING:
    from tests.simulation.world import World

CONFIRM_SECONDS = 0.005
PUBLISH_SECONDS = 10.0
"""After that a publish that a broker holds up counts as unknown."""


class ProcessBroker(MemoryBroker):
    """A handle whose process can die, on a broker with its moods."""

    def __init__(self, world: World, life: Life) -> None:
        super().__init__(clock=ProcessClock(life), faults=_Faults(world))
        self._node = world.node
        self._world = world
        self._life = life
        self.outlives_process = not world.is_embedded
        life.at_end(self.crash)

    async def open(self, *, may_be_away: bool = False) -> None:
        """Connect."""
        await self._life.step()
        await super().open(may_be_away=may_be_away)

    async def declare(self, queue: QueueSpec) -> None:
        """Declare, with the delivery limit of this world's broker."""
        await self._life.step()
        await super().declare(self._limited(queue))

    async def publish(self, messages: Sequence[OutgoingMessage]) -> list[Receipt]:
        """Publish one by one: a connection may break between two."""
        return [await self._publish_one(message) for message in messages]

    async def consume(
        self, queue: QueueSpec, handler: DeliveryHandler, *, prefetch: int
    ) -> MemoryConsumer:
        """Consume, with an eye on the acknowledgements."""
        await self._life.step()

        async def watched(delivery: Delivery) -> None:
            seen = _Watched(delivery, self._world, self._life, queue.name)
            try:
                await handler(seen)
            except Exception as error:
                self._world.accuse(f"a handler of {queue.name} raised {error!r}")
                raise

        return await super().consume(self._limited(queue), watched, prefetch=prefetch)

    async def stats(self, queue: str) -> QueueStats | None:
        """Return the queue's numbers, if the broker answers."""
        await self._clock.sleep(self._world.weather.seconds(CONFIRM_SECONDS))
        if self._world.is_broker_away:
            raise BrokerUnavailableError("simulated: no connection")
        return await super().stats(queue)

    async def _publish_one(self, message: OutgoingMessage) -> Receipt:
        world, weather = self._world, self._world.weather
        await self._life.step()
        world.wire.check_publish(message)
        if world.blocked_until > self._clock.monotonic():
            weather.fired["blocked"] += 1
            rest = world.blocked_until - self._clock.monotonic()
            await self._clock.sleep(min(rest, PUBLISH_SECONDS))
            if rest > PUBLISH_SECONDS:
                return Receipt.UNKNOWN
        if world.is_broker_away:
            weather.fired["broker_away"] += 1
            await self._clock.sleep(weather.seconds(2.0))
            return Receipt.UNKNOWN
        if world.is_unrouted(message):
            weather.fired["unrouted"] += 1
            return Receipt.UNROUTABLE
        if weather.strikes("nack"):
            return Receipt.UNKNOWN
        (receipt,) = await super().publish([message])
        if receipt is Receipt.CONFIRMED:
            world.wire.confirmed(message)
        await self._clock.sleep(weather.seconds(CONFIRM_SECONDS))
        return receipt

    def _limited(self, queue: QueueSpec) -> QueueSpec:
        return replace(queue, delivery_limit=self._world.weather.delivery_limit)


class _Watched(Delivery):
    """A delivery whose acknowledgement is checked."""

    def __init__(self, inner: Delivery, world: World, life: Life, queue: str) -> None:
        self._inner = inner
        self._world = world
        self._life = life
        self._queue = queue
        self.body = inner.body
        self.kind = inner.kind
        self.routing_key = inner.routing_key
        self.redelivered = inner.redelivered
        self.headers = inner.headers

    async def ack(self) -> None:
        """Acknowledge, unless the process dies before."""
        await self._life.step()
        self._world.wire.check_ack(self, self._queue)
        await self._inner.ack()

    async def requeue(self) -> None:
        """Give the message back."""
        await self._life.step()
        await self._inner.requeue()


class _Faults:
    """What the in-process broker asks (see ``brokers/faults.py``)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._weather = world.weather

    def copies(self, message: OutgoingMessage) -> int:
        """Duplicate a message, or lose it."""
        if self._weather.strikes("lose"):
            self._world.wire.lose(message.body)
            return 0
        return 2 if self._weather.strikes("duplicate") else 1

    def loses_confirm(self, message: OutgoingMessage) -> bool:
        """Leave a publisher without an answer."""
        return self._weather.strikes("confirm_lost")

    def delivery_delay(self, queue: str) -> float:
        """Delay each delivery a little, some much."""
        wait = self._world.broker_rest
        late = 20.0 if self._weather.strikes("delay") else 0.01
        return wait + self._weather.seconds(late)

    def loses_ack(self, queue: str) -> bool:
        """Lose an acknowledgement."""
        return self._weather.strikes("ack_lost")
