"""The RabbitMQ adapter of the broker port."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

from aio_pika.exceptions import ChannelNotFoundEntity

from saga_orchestrator.brokers.rabbitmq.consumer import RabbitConsumer
from saga_orchestrator.brokers.rabbitmq.declaring import Declarer
from saga_orchestrator.brokers.rabbitmq.failures import is_refusal
from saga_orchestrator.brokers.rabbitmq.link import Link, Timing, check_url
from saga_orchestrator.brokers.rabbitmq.publisher import Publisher
from saga_orchestrator.brokers.tasks import TaskSet
from saga_orchestrator.errors import BrokerError, BrokerUnavailableError
from saga_orchestrator.ports.broker import (
    Broker,
    DeliveryHandler,
    OutgoingMessage,
    QueueSpec,
    QueueStats,
    Receipt,
)
from saga_orchestrator.ports.clock import Clock, SystemClock
from saga_orchestrator.wire.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOPOLOGY = Topology()


class RabbitBroker(Broker):
    """Two connections, one to publish and one to consume.

    Two, because the broker stops reading from a connection that publishes while
    a memory or disk alarm is on: acks must still get through.
    """

    outlives_process = True

    def __init__(
        self,
        url: str,
        *,
        topology: Topology = _TOPOLOGY,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        publish_timeout: float = 10,
        call_timeout: float = 10,
        open_timeout: float = 10,
        check_interval: float = 5,
        reconnect_interval: float | None = None,
        heartbeat: int = 10,
    ) -> None:
        """Prepare the adapter; nothing is connected yet.

        Args:
            url: ``amqp://user:password@host:port/vhost``, or ``amqps``.
            topology: the name of the exchange.
            clock: what pauses are waited on.
            rng: where the pause before a reconnect is drawn from, so that the
                processes of an installation do not return all at once.
            publish_timeout: seconds until a receipt is ``UNKNOWN``.
            call_timeout: seconds for any other exchange with the broker.
            open_timeout: seconds that ``open`` waits for a broker to answer.
            check_interval: seconds between two looks at the consumed queues.
            reconnect_interval: seconds before a lost connection or consumer is
                restored; None: drawn, 1 to 4.
            heartbeat: seconds; one that is in the URL wins.

        Raises:
            ConfigurationError: the URL cannot be read.
        """
        check_url(url)
        rng = rng or random.Random()  # noqa: S311 - spreads reconnects, no secret
        self._clock = clock or SystemClock()
        self._open_timeout = open_timeout
        self._timing = Timing(
            publish=publish_timeout,
            call=call_timeout,
            check=check_interval,
            reconnect=reconnect_interval or rng.uniform(1, 4),
            heartbeat=heartbeat,
        )
        self._publishing = Link(url, "publish", self._timing, self._clock)
        self._consuming = Link(url, "consume", self._timing, self._clock)
        self._publisher = Publisher(
            self._publishing, topology.exchange, publish_timeout, rng
        )
        self._declarer = Declarer(self._consuming, topology.exchange)
        self._exchange = topology.exchange
        self._consumers: list[RabbitConsumer] = []
        self._tasks = TaskSet()
        self._may_be_away = False

    async def open(self, *, may_be_away: bool = False) -> None:
        """Connect, declare the topic exchange."""
        self._may_be_away = may_be_away
        links = (self._publishing, self._consuming)
        try:
            for link in links:
                await link.open(0 if may_be_away else self._open_timeout)
            await self._declare_exchange(self._exchange)
        except BrokerUnavailableError as error:
            if not may_be_away or is_refusal(error.__cause__):
                raise
            self._tasks.spawn(self._declare_exchange_later())
        for link in links:  # only now: a failed open can be tried again
            self._tasks.spawn(link.keep_open())

    async def _declare_exchange(self, name: str) -> None:
        await self._declarer.exchange(name, f"declaring exchange {name!r}")

    async def _declare_exchange_later(self) -> None:
        while True:
            await self._clock.sleep(self._timing.reconnect)
            with contextlib.suppress(BrokerError):
                return await self._declare_exchange(self._exchange)

    async def declare_exchange(self, name: str) -> None:
        """Create one more topic exchange."""
        self._require_up(f"declaring exchange {name!r}")
        await self._declare_exchange(name)

    async def declare(self, queue: QueueSpec) -> None:
        """Create the queue, its dead-letter queue and the bindings."""
        doing = f"declaring queue {queue.name!r}"
        self._require_up(doing)
        await self._declarer.queue(queue, doing)

    def _require_up(self, doing: str) -> None:
        if self._may_be_away and not self._consuming.is_up:
            raise BrokerUnavailableError(f"{doing}: {self._consuming.problem}")

    async def publish(self, messages: Sequence[OutgoingMessage]) -> list[Receipt]:
        """Publish all; wait for the confirms together."""
        return await self._publisher.publish(messages)

    async def consume(
        self, queue: QueueSpec, handler: DeliveryHandler, *, prefetch: int
    ) -> RabbitConsumer:
        """Declare the queue and call the handler for each delivery."""
        consumer = RabbitConsumer(
            self._consuming,
            self._declarer,
            queue,
            handler,
            prefetch,
            timing=self._timing,
            clock=self._clock,
            tasks=self._tasks,
        )
        try:
            if self._may_be_away and not self._consuming.is_up:
                consumer.postpone()
            else:
                await consumer.subscribe()
        except BrokerUnavailableError:
            if not self._may_be_away:
                raise  # else ``keep_consuming`` tries again
        self._consumers.append(consumer)
        self._tasks.spawn(consumer.keep_consuming())
        return consumer

    async def stats(self, queue: str) -> QueueStats | None:
        """Return the queue's numbers."""
        doing = f"looking at queue {queue!r}"
        async with self._consuming.scratch_channel(doing) as channel:
            try:
                found = await channel.queue_declare(queue, passive=True)
            except ChannelNotFoundEntity:
                return None
        return QueueStats(
            ready=found.message_count or 0, consumers=found.consumer_count or 0
        )

    def problems(self) -> list[str]:
        """Name what is wrong with the connections and the consumed queues."""
        links = [link.problem for link in (self._publishing, self._consuming)]
        queues = [consumer.problem for consumer in self._consumers]
        return [problem for problem in links + queues if problem is not None]

    async def close(self) -> None:
        """End the handlers that run, then the connections."""
        await self._tasks.close()
        await self._consuming.close()
        await self._publishing.close()
