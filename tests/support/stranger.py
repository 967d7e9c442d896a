"""A participant that uses nothing of ours but the wire: raw AMQP and JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import aio_pika

from tests.support.waiting import eventually

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

_FENCE = ("saga_id", "step", "direction", "generation", "token")
_KEYS = [
    *(f"step.far.{name}" for name in "abcde"),
    *(f"compensate.far.undo_{name}" for name in "abcde"),
]


class Stranger:
    """Serves the actions ``far.a`` to ``far.e``, by hand.

    Attributes:
        commands: what arrived, with the raw message; tests take from it.
    """

    def __init__(self, channel: aio_pika.abc.AbstractChannel) -> None:
        self._channel = channel
        self.commands: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def serve(self) -> None:
        """Bind a queue to the actions, and take what comes."""
        exchange = await self._channel.declare_exchange(
            "sagas", aio_pika.ExchangeType.TOPIC, durable=True
        )
        queue = await self._channel.declare_queue("stranger", durable=True)
        for key in _KEYS:
            await queue.bind(exchange, key)
        await queue.consume(self._take, no_ack=True)

    async def command(self, step: str = "", *, seconds: float = 20) -> dict[str, Any]:
        """Return the next command, which must be for this step."""
        async with asyncio.timeout(seconds):
            command = await self.commands.get()
        assert step in ("", command["step"])
        return command

    async def reply(
        self, command: dict[str, Any], answer: str = "succeeded", **fields: Any
    ) -> None:
        """Answer a command; ``fields`` replace what a good reply says."""
        fence = {name: command[name] for name in _FENCE}
        document = {"v": 1, "replies": [{**fence, "answer": answer, **fields}]}
        await self.send(json.dumps(document).encode())

    async def send(
        self, body: bytes, queue: str = "saga.replies", **properties: Any
    ) -> None:
        """Put a message into a queue, as any program with access could."""
        properties = {"type": "saga.replies", **properties}
        message = aio_pika.Message(body, delivery_mode=2, **properties)
        await self._channel.default_exchange.publish(message, queue)

    async def overhear(self, key: str) -> asyncio.Queue[bytes]:
        """Return where the bodies of all messages with a routing key arrive."""
        heard: asyncio.Queue[bytes] = asyncio.Queue()

        async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            heard.put_nowait(message.body)

        queue = await self._channel.declare_queue(exclusive=True)
        await queue.bind("sagas", key)
        await queue.consume(take, no_ack=True)
        return heard

    async def waiting(self, queue: str) -> int:
        """Return how many messages are ready in a queue."""
        found = await self._channel.declare_queue(queue, passive=True)
        return found.declaration_result.message_count or 0

    async def copy(self, queue: str, rng: random.Random) -> Counter[str]:
        """Send every command of the service ``book`` to a queue again and again.

        Returns:
            How many copies were sent so far, by routing key.
        """
        sent: Counter[str] = Counter()

        async def send(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            for _ in range(rng.randint(1, 5)):
                await self.send(message.body, queue, type="saga.commands")
                sent[message.routing_key or ""] += 1

        copies = await self._channel.declare_queue("copies", exclusive=True)
        for name in "abc":
            await copies.bind("sagas", f"step.book.{name}")
        await copies.consume(send, no_ack=True)
        return sent

    async def parked(self) -> aio_pika.abc.AbstractIncomingMessage:
        """Return the next message that was set aside."""
        queue = await self._channel.get_queue("saga.dead", ensure=False)
        found: list[aio_pika.abc.AbstractIncomingMessage] = []

        async def look() -> bool:
            message = await queue.get(fail=False, no_ack=True)
            found.extend([message] if message else [])
            return bool(found)

        await eventually(look)
        return found[0]

    async def _take(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        for command in json.loads(message.body)["commands"]:
            self.commands.put_nowait(command)


@contextlib.asynccontextmanager
async def stranger(url: str, *, serves: bool = True) -> AsyncIterator[Stranger]:
    """Connect one; ``serves=False``: it only sends, and looks what was set aside."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        opened = Stranger(channel)
        if serves:
            await opened.serve()
        yield opened
