"""A proxy that asks about every message, and may hold it, or lose it.

The rule is asked about each AMQP frame or PostgreSQL message, in order and one
at a time in each direction of a connection. It may wait as long as it likes, and
kill a process. A message that it does not let pass is lost, and its connection
with it.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.proxy import TcpProxy
from tests.support.wire import AmqpWire, PostgresWire

if TYPE_CHECKING:
    import asyncio

    from tests.support.wire import Message, Wire

_METHODS = {
    (20, 10): "channel.open",
    (60, 40): "basic.publish",
    (60, 50): "basic.return",
    (60, 60): "basic.deliver",
    (60, 80): "basic.ack",
    (60, 120): "basic.nack",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One AMQP frame, or one PostgreSQL message.

    Attributes:
        from_server: its direction.
        kind: of AMQP ``basic.publish`` and its like, ``body``, or nothing; of
            PostgreSQL ``commit``, ``committed``, or the letter that it begins with.
        payload: what follows the head.
    """

    from_server: bool
    kind: str
    payload: bytes

    @property
    def is_publish(self) -> bool:
        """Whether a client begins to publish."""
        return self.kind == "basic.publish"

    @property
    def is_confirm(self) -> bool:
        """Whether the broker confirms what was published."""
        return self.kind == "basic.ack" and self.from_server

    @property
    def is_ack(self) -> bool:
        """Whether a consumer acknowledges what was delivered."""
        return self.kind == "basic.ack" and not self.from_server

    @property
    def is_commit(self) -> bool:
        """Whether a client asks for the commit of what it has written."""
        return self.kind == "commit"

    @property
    def is_committed(self) -> bool:
        """Whether the database says that it has committed that."""
        return self.kind == "committed"

    @property
    def commands(self) -> list[str]:
        """The steps of the commands in the body that a client publishes."""
        if self.kind != "body" or self.from_server:
            return []
        return [one["step"] for one in json.loads(self.payload).get("commands", ())]


Rule = Callable[[Seen], Awaitable[bool]]
Alter = Callable[[Seen, bytes], bytes]


async def pass_all(seen: Seen) -> bool:
    """Be the rule of a wire that nobody touches."""
    del seen
    return True


def unaltered(seen: Seen, data: bytes) -> bytes:
    """Pass a message on as it is."""
    del seen
    return data


class Wiretap(TcpProxy):
    """Passes on what its rule lets pass.

    Attributes:
        rule: asked about each message; tests set it.
        alter: makes of a message that passes the bytes that go on, or none.
        acks: how many acknowledgements of deliveries were passed.
        channels: how many times a client opened one.
        refused: how many times the broker said that it did not take a message.
        published: how often each command was passed to the broker, by step.
    """

    def __init__(self, target_port: int, wire: Callable[[], Wire]) -> None:
        super().__init__(target_port, wire=wire)
        self.rule: Rule = pass_all
        self.alter: Alter = unaltered
        self.acks = 0
        self.refused = 0
        self.published: Counter[str] = Counter()
        self.channels = 0

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        wire: Wire | None,
        *,
        from_server: bool,
    ) -> None:
        assert wire is not None
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                for message in wire.split(data, from_server=from_server):
                    seen = self._read(message, from_server=from_server)
                    if not await self.rule(seen):
                        return  # which ends the connection
                    self.acks += seen.is_ack
                    self.channels += seen.kind == "channel.open"
                    self.refused += seen.kind == "basic.nack"
                    self.published.update(seen.commands)
                    writer.write(self.alter(seen, message.data))
                await writer.drain()

    def _read(self, message: Message, *, from_server: bool) -> Seen:
        raise NotImplementedError


class AmqpTap(Wiretap):
    """Sees the frames to and from RabbitMQ."""

    def __init__(self, target_port: int) -> None:
        super().__init__(target_port, AmqpWire)

    def _read(self, message: Message, *, from_server: bool) -> Seen:
        data = message.data
        kind = "body" if data[0] == 3 else ""
        if data[0] == 1:
            kind = _METHODS.get(struct.unpack_from(">HH", data, 7), "")
        return Seen(from_server, kind, data[7:-1])


class PostgresTap(Wiretap):
    """Sees the messages to and from PostgreSQL."""

    def __init__(self, target_port: int) -> None:
        super().__init__(target_port, PostgresWire)

    def _read(self, message: Message, *, from_server: bool) -> Seen:
        data = message.data
        return Seen(from_server, message.name or chr(data[0]), data[5:])
