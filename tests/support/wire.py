"""What passes on a connection, message by message, as a proxy needs to know it.

A wire is fed the bytes of one connection, in both directions, and gives them back
cut at the borders of messages, with names for those that tests break at.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple, Protocol

AMQP_METHODS = {
    (10, 60): "connection.blocked",
    (10, 61): "connection.unblocked",
    (60, 20): "basic.consume",
    (60, 30): "basic.cancel",
    (60, 60): "basic.deliver",
    (60, 80): "basic.ack",
}
_AMQP_HEADER = b"AMQP\x00\x00\x09\x01"
_METHOD = 1
_SSL_REQUEST = 80877103


class Message(NamedTuple):
    """One message as it was on the wire.

    Attributes:
        name: of the kinds that tests break at; empty for all others.
        data: its bytes, all of them.
    """

    name: str
    data: bytes


class Wire(Protocol):
    """One connection's two streams."""

    def split(self, data: bytes, *, from_server: bool) -> Iterator[Message]:
        """Yield the messages that ``data`` completes; the rest is kept."""
        ...


class AmqpWire:
    """AMQP 0-9-1: frames, but for the client's first eight bytes.

    Named are the methods of ``AMQP_METHODS``. An acknowledgement from the server is
    a confirm.
    """

    def __init__(self) -> None:
        self._rest = {True: b"", False: b""}
        self._greeted = False

    def split(self, data: bytes, *, from_server: bool) -> Iterator[Message]:
        """Yield whole frames."""
        data = self._rest[from_server] + data
        if not from_server and not self._greeted and len(data) >= len(_AMQP_HEADER):
            self._greeted = True
            yield Message("", data[: len(_AMQP_HEADER)])
            data = data[len(_AMQP_HEADER) :]
        while self._greeted and len(data) >= 7:
            size = 8 + struct.unpack_from(">I", data, 3)[0]
            if len(data) < size:
                break
            yield Message(_method(data), data[:size])
            data = data[size:]
        self._rest[from_server] = data


def cancel_of(deliver: bytes) -> bytes:
    """Return the ``basic.cancel`` that ends the consumer of a ``basic.deliver``."""
    tag = deliver[11 : 12 + deliver[11]]
    payload = struct.pack(">HH", 60, 30) + tag + b"\x01"
    return deliver[:3] + struct.pack(">I", len(payload)) + payload + b"\xce"


def _method(frame: bytes) -> str:
    if frame[0] != _METHOD:
        return ""
    class_id, method_id = struct.unpack_from(">HH", frame, 7)
    return AMQP_METHODS.get((class_id, method_id), "")


class PostgresWire:
    """PostgreSQL: tagged messages, but for the client's first.

    Named are ``commit``, what a client sends, and ``committed``, the answer to it;
    not where the transaction only reads. A statement that changes sagas outside of a
    transaction is one of its own: it is a ``commit``, too.
    """

    def __init__(self) -> None:
        self._rest = {True: b"", False: b""}
        self._began = False
        self._writes = False
        self._is_open = False
        self._is_alone = False
        self._changing: set[bytes] = set()
        self._asked_for_ssl = False

    def split(self, data: bytes, *, from_server: bool) -> Iterator[Message]:
        """Yield whole messages."""
        data = self._rest[from_server] + data
        while data:
            size = self._size(data, from_server=from_server)
            if size is None or len(data) < size:
                break
            yield Message(self._name(data[:size], from_server=from_server), data[:size])
            data = data[size:]
        self._rest[from_server] = data

    def _size(self, data: bytes, *, from_server: bool) -> int | None:
        if from_server and self._asked_for_ssl:
            return 1  # yes or no
        tagged = from_server or self._began
        if len(data) < 4 + tagged:
            return None
        return int(tagged) + int(struct.unpack_from(">I", data, tagged)[0])

    def _name(self, message: bytes, *, from_server: bool) -> str:
        if from_server and self._asked_for_ssl:
            self._asked_for_ssl = False
            return ""
        if not from_server and not self._began:
            code = struct.unpack_from(">I", message, 4)[0]
            self._asked_for_ssl = code == _SSL_REQUEST
            self._began = code != _SSL_REQUEST
            return ""
        if from_server:
            return self._answer(message)
        return self._asked(message[:1], message[5:])

    def _asked(self, kind: bytes, content: bytes) -> str:
        if kind == b"Q" and content.startswith(b"BEGIN"):
            self._is_open = True
            self._writes = b"READ ONLY" not in content
        elif kind == b"Q" and content.startswith((b"COMMIT", b"ROLLBACK;")):
            self._is_open = False
            return "commit" if self._writes and content.startswith(b"C") else ""
        elif kind == b"P" and b"UPDATE sagas\n" in content:
            self._changing.add(content.partition(b"\0")[0])
        elif kind == b"B" and not self._is_open:
            _portal, statement, _arguments = content.split(b"\0", 2)
            self._is_alone = statement in self._changing
            return "commit" if self._is_alone else ""
        return ""

    def _answer(self, message: bytes) -> str:
        if message.startswith(b"E"):
            self._is_alone = False
        if self._is_alone and message.startswith(b"Z"):
            self._is_alone = False
            return "committed"
        if self._writes and message == b"C\x00\x00\x00\x0bCOMMIT\x00":
            return "committed"
        return ""
