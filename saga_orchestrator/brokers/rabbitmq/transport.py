"""A way to RabbitMQ on which no message's properties can cut the connection.

The broker passes on what a sender wrote around a body, unread: an instant beyond
the year 9999, a text that is no UTF-8, a table that ends too early. The client
library gives such a frame up, and the connection with it; the message comes again
on the next one, and no consumer of the process gets anywhere. So what cannot be
read is taken away here: the message then has a body and no properties.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, cast

import structlog
from aiormq.connection import (
    TCPTransportFactory,
    TLSTransportFactory,
    TransportFactory,
)
from pamqp.header import ContentHeader

if TYPE_CHECKING:
    import asyncio
    from typing import Any

    from yarl import URL

_HEADER_FRAME = b"\x02"
_PARTS = 3
"""The library reads a frame's type, its channel and size, and the rest."""
_FIXED = 12
"""Class, weight and body size; behind them stand the properties."""

_UNREADABLE = (struct.error, ValueError, ArithmeticError, OSError, RecursionError)
"""What the library raises of nonsense; an instant may be beyond the platform's."""

_log = structlog.get_logger("saga.rabbitmq")


class GuardedTransport(TransportFactory):
    """Makes connections whose content headers can always be read."""

    def __init__(self, url: URL) -> None:
        secure = url.scheme == "amqps"
        self._inner = TLSTransportFactory() if secure else TCPTransportFactory()

    async def create(
        self,
        url: URL,
        **kwargs: Any,  # noqa: ANN401 - the library's
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect as usual; guard what is read."""
        reader, writer = await self._inner.create(url, **kwargs)
        return cast("asyncio.StreamReader", _GuardedReader(reader)), writer


class _GuardedReader:
    """What the library uses of a stream, a frame in three parts."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._part = 0
        self._is_header = False

    def at_eof(self) -> bool:
        """Tell whether the connection has ended."""
        return self._reader.at_eof()

    async def read(self, count: int = -1) -> bytes:
        """Return what is there."""
        return await self._reader.read(count)

    async def readexactly(self, count: int) -> bytes:
        """Return the next part of a frame."""
        data = await self._reader.readexactly(count)
        if self._part == 0:
            self._is_header = data == _HEADER_FRAME
        self._part = (self._part + 1) % _PARTS
        if self._part == 0 and self._is_header:
            return readable(data)
        return data


def readable(frame: bytes) -> bytes:
    """Return a content header, its end mark behind it, that the library can read.

    Of the same length: without properties where they make no sense.
    """
    payload, end = frame[:-1], frame[-1:]
    try:
        ContentHeader().unmarshal(payload)
    except _UNREADABLE as error:
        _log.warning("properties of a message dropped", error=str(error)[:200])
        return payload[:_FIXED].ljust(len(payload), b"\0") + end
    return frame
