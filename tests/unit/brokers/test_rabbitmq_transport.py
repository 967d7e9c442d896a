"""Properties that the client library cannot read."""

from __future__ import annotations

import struct

import pytest
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from saga_orchestrator.brokers.rabbitmq.transport import readable

END = b"\xce"
HEADERS, KIND = 1 << 13, 1 << 5
"""Bits of the properties in a content header."""


def _header(flags: int, properties: bytes) -> bytes:
    return struct.pack(">HHQH", 60, 0, 7, flags) + properties + END


def _table(*items: bytes) -> bytes:
    content = b"".join(items)
    return struct.pack(">I", len(content)) + content


def _item(kind: bytes, value: bytes) -> bytes:
    return b"\x01k" + kind + value


UNREADABLE = {
    "an instant beyond all years": _table(_item(b"T", b"\x7f" + b"\xff" * 7)),
    "an instant beyond the year 9999": _table(_item(b"T", b"\x00\x04" + b"\xff" * 6)),
    "a type that is none": _table(_item(b"?", b"")),
    "a name that is no text": _table(b"\x02\xff\xfeS" + struct.pack(">I", 0)),
    "a table that ends too early": struct.pack(">I", 100) + b"\x01kI",
    "a list that ends too early": _table(_item(b"A", struct.pack(">I", 100))),
    "a decimal that is none": _table(_item(b"D", b"\xff")),
}


@pytest.mark.parametrize("table", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_taken_away(table: bytes) -> None:
    """The frame keeps its length and its body's size; the properties are gone."""
    frame = _header(HEADERS, table)
    again = readable(frame)
    assert len(again) == len(frame)
    assert again.endswith(END)
    header = ContentHeader()
    header.unmarshal(again[:-1])
    assert header.body_size == 7
    assert header.properties.headers is None


def test_a_kind_that_is_no_text() -> None:
    """A short text of bytes that are no UTF-8 is dropped as well."""
    again = readable(_header(KIND, b"\x02\xff\xfe"))
    header = ContentHeader()
    header.unmarshal(again[:-1])
    assert header.properties.message_type is None


def test_what_can_be_read_is_left_alone() -> None:
    """Byte for byte."""
    properties = Basic.Properties(message_type="saga.replies", headers={"a": [1]})
    frame = ContentHeader(0, 7, properties).marshal() + END
    assert readable(frame) is frame
