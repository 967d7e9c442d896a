"""A proxy sees whole messages, however the bytes arrive."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from tests.support.wire import AmqpWire, Message, PostgresWire, Wire, cancel_of

AMQP_HEADER = b"AMQP\x00\x00\x09\x01"
ACK = b"\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x50" + bytes(8) + b"\x00\xce"
BODY = b"\x03\x00\x01\x00\x00\x00\x02{}\xce"
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
STARTUP = b"\x00\x00\x00\x09\x00\x03\x00\x00\x00"
COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"


def query(sql: bytes) -> bytes:
    """Return a simple query."""
    return b"Q" + (len(sql) + 5).to_bytes(4) + sql + b"\x00"


def fed(
    wire: Wire, messages: list[bytes], size: int, *, from_server: bool
) -> Iterator[Message]:
    """Feed a stream in pieces of a size."""
    stream = b"".join(messages)
    for start in range(0, len(stream), size):
        yield from wire.split(stream[start : start + size], from_server=from_server)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_amqp(size: int) -> None:
    """Frames come out whole; those to break at have names."""
    wire = AmqpWire()
    sent = [AMQP_HEADER, ACK, BODY, ACK]
    found = list(fed(wire, sent, size, from_server=False))
    assert [message.data for message in found] == sent
    assert [message.name for message in found] == ["", "basic.ack", "", "basic.ack"]
    assert [m.name for m in fed(wire, [ACK], size, from_server=True)] == ["basic.ack"]


def test_the_cancel_of_a_delivery() -> None:
    """It goes to the same channel, for the same consumer."""
    deliver = b"\x01\x00\x05\x00\x00\x00\x1f\x00\x3c\x00\x3c\x04ctag" + bytes(30)
    assert cancel_of(deliver) == (
        b"\x01\x00\x05\x00\x00\x00\x0a\x00\x3c\x00\x1e\x04ctag\x01\xce"
    )


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_postgres(size: int) -> None:
    """Commits of what was written have names, and so have their answers."""
    wire = PostgresWire()
    assert list(fed(wire, [SSL_REQUEST], size, from_server=False))
    assert list(fed(wire, [b"N"], size, from_server=True)) == [Message("", b"N")]
    assert list(fed(wire, [STARTUP], size, from_server=False))
    for begin, names in (
        (b"BEGIN;", ("commit", "committed")),
        (b"BEGIN READ ONLY;", ("", "")),
    ):
        asked = [query(begin), query(b"SELECT 1"), query(b"COMMIT;")]
        found = list(fed(wire, asked, size, from_server=False))
        assert [message.name for message in found] == ["", "", names[0]]
        told = list(fed(wire, [COMMITTED], size, from_server=True))
        assert told == [Message(names[1], COMMITTED)]


def _tagged(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack(">I", len(content) + 4) + content


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("fails", [False, True])
def test_a_statement_that_changes_sagas_is_a_commit(size: int, fails: bool) -> None:
    """Outside of a transaction it is one; it is over when the server is ready again."""
    wire = PostgresWire()
    list(fed(wire, [STARTUP], size, from_server=False))
    parse = _tagged(b"P", b"s1\0WITH x AS (UPDATE sagas\n SET y = 1)\0\0\0")
    bind, other = _tagged(b"B", b"\0s1\0rest"), _tagged(b"B", b"\0s2\0rest")
    done, error, ready = (_tagged(kind, b"x") for kind in (b"C", b"E", b"Z"))

    def names(*messages: bytes, from_server: bool = False) -> list[str]:
        found = fed(wire, list(messages), size, from_server=from_server)
        return [message.name for message in found]

    assert names(parse, other) == ["", ""]
    assert names(ready, from_server=True) == [""]
    assert names(bind) == ["commit"]
    told = names(error if fails else done, ready, from_server=True)
    assert told == ["", "" if fails else "committed"]
    assert names(query(b"BEGIN;"), bind, query(b"COMMIT;")) == ["", "", "commit"]
