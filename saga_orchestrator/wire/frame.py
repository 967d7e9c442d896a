"""Frames: several commands of one routing key in one AMQP message.

Frames never wait to fill: under low load they hold one command, under load
they share the cost per message of broker and client. Retries travel alone, so
that a command that harms its consumer takes no neighbour with it.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from saga_orchestrator.core.commands import Command, Reply
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.wire.envelope import (
    command_text,
    read_document,
    reply_text,
    write,
)
from saga_orchestrator.wire.models import VERSION

COMMANDS_MAX = 32
BYTES_MAX = 256 * 1024
_ROOM = BYTES_MAX - 64  # what the envelope leaves
_BYTES_PER_VALUE = 5
"""What a value weighs at least: a reader takes no more of them than so many."""


class Frame(Struct, frozen=True):
    """One message body with what it holds.

    Attributes:
        routing_key: of all its commands.
        body: UTF-8 JSON.
        fences: of its commands, in order.
    """

    routing_key: str
    body: bytes
    fences: tuple[Fence, ...]


def pack(commands: Iterable[Command]) -> list[Frame]:
    """Pack commands into as few frames as the limits allow, in order.

    A command that is larger than a frame may be travels in a frame of its own.
    """
    frames: list[Frame] = []
    filling: dict[str, list[tuple[Fence, bytes]]] = {}
    sizes: dict[str, int] = {}
    for command in commands:
        key = command.routing_key
        item = (command.fence, command_text(command))
        size = _weight(item[1])
        if command.attempt > 1:
            frames.append(_frame(key, [item]))
            continue
        group = filling.setdefault(key, [])
        if len(group) == COMMANDS_MAX or (group and sizes[key] + size > _ROOM):
            frames.append(_frame(key, group))
            group = filling[key] = []
        sizes[key] = size + (sizes[key] if group else 0)
        group.append(item)
    frames.extend(_frame(key, group) for key, group in filling.items())
    return frames


def split(body: bytes) -> list[bytes]:
    """Return a message of commands as messages of one command each, in order.

    What it holds that this program does not know, for it is newer, is in each.

    Raises:
        MalformedMessageError, UnsupportedVersionError: as ``read_commands``.
    """
    document = read_document(body)
    return [
        write({**document, "commands": [command]}) for command in document["commands"]
    ]


def pack_replies(replies: Iterable[Reply]) -> list[bytes]:
    """Pack replies into messages within the limits of a frame, in order.

    A reply that is larger than a frame may be is in a message of its own.
    """
    groups: list[list[bytes]] = []
    room = 0
    for reply in replies:
        text = reply_text(reply)
        size = _weight(text)
        if not groups or len(groups[-1]) == COMMANDS_MAX or size > room:
            groups.append([])
            room = _ROOM
        groups[-1].append(text)
        room -= size
    return [_body("replies", texts) for texts in groups]


def _weight(text: bytes) -> int:
    """Return what an item takes of a frame's room: its bytes, or its values."""
    values = text.count(b",") + text.count(b"[") + text.count(b"{")
    return max(len(text) + 1, values * _BYTES_PER_VALUE)


def _frame(key: str, items: list[tuple[Fence, bytes]]) -> Frame:
    body = _body("commands", [text for _, text in items])
    return Frame(key, body, tuple(fence for fence, _ in items))


def _body(kind: str, texts: list[bytes]) -> bytes:
    return b'{"v":%d,"%b":[%b]}' % (VERSION, kind.encode(), b",".join(texts))
