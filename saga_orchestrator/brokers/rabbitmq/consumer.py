"""A subscription that comes back, and the deliveries it hands out."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING

from saga_orchestrator.brokers.rabbitmq.failures import translated
from saga_orchestrator.brokers.rabbitmq.link import in_time
from saga_orchestrator.brokers.tasks import TaskSet, handle
from saga_orchestrator.errors import BrokerError
from saga_orchestrator.ports.broker import (
    Consumer,
    Delivery,
    DeliveryHandler,
    QueueSpec,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Mapping
    from typing import Any

    from aiormq.abc import AbstractChannel, DeliveredMessage

    from saga_orchestrator.brokers.rabbitmq.declaring import Declarer
    from saga_orchestrator.brokers.rabbitmq.link import Link, Timing
    from saga_orchestrator.ports.clock import Clock


class RabbitDelivery(Delivery):
    """One message with the channel it came on; tags mean nothing on another."""

    __slots__ = (
        "_channel", "_is_settled", "_tag", "_timeout",
        "body", "headers", "kind", "redelivered", "routing_key",
    )  # fmt: skip

    def __init__(
        self, channel: AbstractChannel, message: DeliveredMessage, timeout: float
    ) -> None:
        properties = message.header.properties
        self._channel = channel
        self._timeout = timeout
        self._tag = message.delivery_tag or 0
        self._is_settled = False
        self.body = message.body
        self.kind = properties.message_type or ""
        self.routing_key = message.routing_key or ""
        self.redelivered = bool(message.redelivered)
        self.headers: Mapping[str, object] = properties.headers or {}

    async def ack(self) -> None:
        """Tell the broker to forget the message; does nothing on a dead channel."""
        if self._claim():
            await self._write(self._channel.basic_ack(self._tag, wait=False))

    async def requeue(self) -> None:
        """Give the message back.

        A reject, not a nack: RabbitMQ 4.3 and later count only rejects.
        """
        if self._claim():
            await self._write(self._channel.basic_reject(self._tag, wait=False))

    def _claim(self) -> bool:
        """Settle once: the broker closes the channel at a second time."""
        is_first, self._is_settled = not self._is_settled, True
        return is_first

    async def _write(self, frame: Awaitable[None]) -> None:
        with contextlib.suppress(BrokerError), translated("settling a delivery"):
            # Writing can hang: nobody empties a dead connection's buffer.
            async with asyncio.timeout(self._timeout):
                await frame


class RabbitConsumer(Consumer):
    """One queue's subscription on a channel of its own.

    The broker can end it in many ways: connection lost, queue deleted, consumer
    cancelled, channel closed. ``keep_consuming`` must run beside it and
    subscribes again after each; what cannot be mended shows in ``problem``.
    """

    def __init__(
        self,
        link: Link,
        declarer: Declarer,
        queue: QueueSpec,
        handler: DeliveryHandler,
        prefetch: int,
        *,
        timing: Timing,
        clock: Clock,
        tasks: TaskSet,
    ) -> None:
        self._link = link
        self._declarer = declarer
        self._queue = queue
        self._handler = handler
        self._prefetch = prefetch
        self._timing = timing
        self._clock = clock
        self._tasks = tasks
        self._channel: AbstractChannel | None = None
        self._tag = ""
        self._ended = asyncio.Event()  # the subscription, not the consumer
        self._is_cancelled = False
        self._problem: str | None = None

    @property
    def is_live(self) -> bool:
        """Tell whether the broker lists this consumer, as far as is known."""
        return bool(self._tag) and not self._ended.is_set()

    @property
    def problem(self) -> str | None:
        """Say why the queue is not consumed; None when it is."""
        if self._is_cancelled or (self.is_live and self._problem is None):
            return None
        return self._problem or f"queue {self._queue.name!r} is not consumed"

    def postpone(self) -> None:
        """Leave it to ``keep_consuming`` to subscribe, once there is a connection."""
        self._ended.set()

    async def subscribe(self) -> None:
        """Declare the queue and consume it on a new channel.

        Raises:
            TopologyError: the queue exists with another type or arguments.
            BrokerUnavailableError: no connection in time.
        """
        await self._let_go()
        try:
            await self._subscribe(f"consuming queue {self._queue.name!r}")
        except BrokerError:
            self._ended.set()
            await self._let_go()
            raise
        if self._is_cancelled:  # while it was being restored
            await self._let_go()

    async def _subscribe(self, doing: str) -> None:
        await self._declarer.queue(self._queue, doing)
        with translated(doing):
            async with asyncio.timeout(self._timing.call):
                channel = self._channel = await self._link.channel()
                self._ended.clear()
                channel.closing.add_done_callback(lambda _: self._end(channel))
                channel.on_consumer_cancel_callbacks.add(lambda _: self._end(channel))
                await channel.basic_qos(prefetch_count=self._prefetch)
                consuming = await channel.basic_consume(
                    self._queue.name, functools.partial(self._receive, channel)
                )
                self._tag = consuming.consumer_tag or ""
        self._problem = None

    async def keep_consuming(self) -> None:
        """Watch the subscription and restore it, until it is cancelled."""
        while not self._is_cancelled:
            if self._ended.is_set():
                await self._clock.sleep(self._timing.reconnect)
                await self._try(self.subscribe())
            elif not await in_time(self._ended.wait(), self._timing.check):
                await self._try(self._check())

    async def cancel(self) -> None:
        """Stop new deliveries.

        The channel stays open until the broker handle is closed, so that what
        was delivered can still be settled.
        """
        if self._is_cancelled:
            return
        self._is_cancelled = True
        was_live, self._problem = self.is_live, None
        self._ended.set()
        if was_live and self._channel is not None:
            with contextlib.suppress(BrokerError), translated("cancelling"):
                async with asyncio.timeout(self._timing.call):
                    await self._channel.basic_cancel(self._tag)

    async def _try(self, work: Coroutine[Any, Any, None]) -> None:
        """Note what went wrong.

        A check that fails ends nothing: a slow broker may still deliver, and
        to subscribe again would return all that is unsettled.
        """
        try:
            await work
        except BrokerError as error:
            self._problem = str(error)

    async def _check(self) -> None:
        """Declare the queue again, which mends bindings and finds a wrong type."""
        doing = f"checking queue {self._queue.name!r}"
        found = await self._declarer.queue(self._queue, doing)
        self._problem = None
        if not found.consumer_count:
            self._problem = f"queue {self._queue.name!r} has lost its consumer"
            self._ended.set()

    async def _let_go(self) -> None:
        """Close the old channel: its unsettled deliveries go back."""
        channel, self._channel = self._channel, None
        self._tag = ""
        if channel is not None:
            with contextlib.suppress(BrokerError), translated("closing a channel"):
                async with asyncio.timeout(self._timing.call):
                    await channel.close()

    def _end(self, channel: AbstractChannel) -> None:
        if channel is self._channel:
            self._ended.set()

    async def _receive(
        self, channel: AbstractChannel, message: DeliveredMessage
    ) -> None:
        # A task of ours: the client library would cancel its own with the
        # channel, in the middle of a handler.
        delivery = RabbitDelivery(channel, message, self._timing.call)
        self._tasks.spawn(handle(self._handler, delivery))
