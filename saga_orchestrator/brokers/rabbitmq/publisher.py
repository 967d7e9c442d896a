"""Publishing with confirms: every message gets its receipt, in time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

import aiormq
from aio_pika.exceptions import PublishError

from saga_orchestrator.brokers.rabbitmq.failures import translated
from saga_orchestrator.errors import BrokerError
from saga_orchestrator.ports.broker import OutgoingMessage, Receipt

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from aiormq import Channel

    from saga_orchestrator.brokers.rabbitmq.link import Link

_PERSISTENT = 2


class Publisher:
    """One channel in confirm mode, opened again when it is gone."""

    def __init__(
        self, link: Link, exchange: str, timeout: float, rng: random.Random
    ) -> None:
        self._link = link
        self._exchange = exchange
        self._timeout = timeout
        self._opening = asyncio.Lock()
        self._channel: Channel | None = None
        # The client library matches a returned message by its message_id, so
        # two in flight must never share one. It means nothing to receivers.
        self._prefix = f"{rng.getrandbits(64):016x}"
        self._numbers = itertools.count(1)

    async def publish(self, messages: Sequence[OutgoingMessage]) -> list[Receipt]:
        """Send all at once and wait for the confirms together.

        Returns:
            One receipt per message. What has none when the time is up, the
            wait for a connection included, is ``UNKNOWN``. Never raises.
        """
        receipts = [Receipt.UNKNOWN] * len(messages)
        with contextlib.suppress(BrokerError), translated("publishing"):
            async with asyncio.timeout(self._timeout):
                channel = await self._open_channel()
                await asyncio.gather(
                    *(
                        self._send(channel, message, receipts, place)
                        for place, message in enumerate(messages)
                    )
                )
        return receipts

    async def _send(
        self,
        channel: Channel,
        message: OutgoingMessage,
        receipts: list[Receipt],
        place: int,
    ) -> None:
        """Publish one message and write its receipt; raises nothing."""
        exchange = message.exchange
        # A nack and a lost connection alike leave it unknown.
        with contextlib.suppress(BrokerError), translated("publishing"):
            try:
                await channel.basic_publish(
                    message.body,
                    exchange=self._exchange if exchange is None else exchange,
                    routing_key=message.routing_key,
                    properties=self._properties(message),
                    mandatory=True,
                    # Back-pressure: the last of a batch waits for the socket.
                    wait=place == len(receipts) - 1,
                )
            except PublishError:  # returned to us
                receipts[place] = Receipt.UNROUTABLE
            except ValueError:  # a key of over 255 bytes; nothing can be bound to it
                receipts[place] = Receipt.UNROUTABLE
            else:
                receipts[place] = Receipt.CONFIRMED

    def _properties(self, message: OutgoingMessage) -> aiormq.spec.Basic.Properties:
        return aiormq.spec.Basic.Properties(
            content_type="application/json",
            delivery_mode=_PERSISTENT,
            message_id=f"{self._prefix}-{next(self._numbers)}",
            message_type=message.kind,
            headers=dict(message.headers),
        )

    async def _open_channel(self) -> Channel:
        async with self._opening:
            if self._channel is None or self._channel.is_closed:
                self._channel = await self._link.channel()
            return self._channel
