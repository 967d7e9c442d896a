"""Declaring queues and the exchange, as far as the user's rights go.

A user with least rights may configure its service's own queues and nothing
else. What it may not declare must then be there already, which is all that it
needs to know. The broker logs a refusal, so each is asked for once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity

from saga_orchestrator.brokers.rabbitmq.queues import (
    declare_exchange,
    declare_queue,
    queue_arguments,
)
from saga_orchestrator.errors import BrokerUnavailableError
from saga_orchestrator.ports.broker import QueueSpec

if TYPE_CHECKING:
    from aiormq import spec
    from aiormq.abc import AbstractChannel

    from saga_orchestrator.brokers.rabbitmq.link import Link

T = TypeVar("T")


class Declarer:
    """Declares on one connection, for one user."""

    def __init__(self, link: Link, exchange: str) -> None:
        self._link = link
        self._exchange = exchange
        self._is_limited = False
        self._refusals: dict[str, BrokerUnavailableError] = {}

    async def queue(self, queue: QueueSpec, doing: str) -> spec.Queue.DeclareOk:
        """Create the queue, its dead-letter queue and the bindings; idempotent.

        Args:
            queue: what is needed.
            doing: what is under way, for the error.

        Returns:
            The broker's answer for the queue: what is ready, and how many consume.

        Raises:
            TopologyError: the broker has it with other arguments.
            BrokerUnavailableError: no answer; or it may not be declared, and is
                not there.
        """
        if not self._is_limited:
            try:
                async with self._link.scratch_channel(doing) as channel:
                    return await declare_queue(channel, queue, self._exchange)
            except BrokerUnavailableError as error:
                if not _is_forbidden(error):
                    raise
                self._is_limited = True
        return await self._queue_as_permitted(queue, doing)

    async def exchange(self, name: str, doing: str) -> None:
        """Create a topic exchange; raises as ``queue`` does."""

        async def declare(channel: AbstractChannel, *, passive: bool) -> None:
            await declare_exchange(channel, name, passive=passive)

        await self._as_permitted(f"exchange {name}", doing, declare)

    async def _queue_as_permitted(
        self, queue: QueueSpec, doing: str
    ) -> spec.Queue.DeclareOk:
        async def declare(
            channel: AbstractChannel, *, passive: bool
        ) -> spec.Queue.DeclareOk:
            return await channel.queue_declare(
                queue.name,
                passive=passive,
                durable=True,
                arguments=queue_arguments(queue),
            )

        if queue.dead_letter is not None:
            await self._queue_as_permitted(QueueSpec(queue.dead_letter), doing)
        declared = await self._as_permitted(f"queue {queue.name}", doing, declare)
        if queue.routing_keys:
            await self.exchange(self._exchange, doing)
            async with self._link.scratch_channel(doing) as channel:
                for key in queue.routing_keys:
                    await channel.queue_bind(queue.name, self._exchange, key)
        return declared

    async def _as_permitted(
        self, what: str, doing: str, declare: Callable[..., Awaitable[T]]
    ) -> T:
        """Declare something; where that is forbidden, see that it is there."""
        refusal = self._refusals.get(what)
        if refusal is None:
            try:
                async with self._link.scratch_channel(doing) as channel:
                    return await declare(channel, passive=False)
            except BrokerUnavailableError as error:
                if not _is_forbidden(error):
                    raise
                self._refusals[what] = refusal = error
        try:
            async with self._link.scratch_channel(doing) as channel:
                return await declare(channel, passive=True)
        except BrokerUnavailableError as error:
            if not isinstance(error.__cause__, ChannelNotFoundEntity):
                raise
            del self._refusals[what]  # it may be permitted the next time
            raise BrokerUnavailableError(str(refusal)) from refusal.__cause__


def _is_forbidden(error: BrokerUnavailableError) -> bool:
    return isinstance(error.__cause__, ChannelAccessRefused)
