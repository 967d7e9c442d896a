"""Frames: what travels together, and how much of it."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from saga_orchestrator.core.states import Direction
from saga_orchestrator.wire.envelope import excess, read_commands, read_replies
from saga_orchestrator.wire.frame import (
    BYTES_MAX,
    COMMANDS_MAX,
    pack,
    pack_replies,
    split,
)
from tests.unit.wire.samples import SAGA_ID, command, fence, reply


def _numbered(count: int, **changes):
    return [command(fence=fence(step=f"s{n}"), **changes) for n in range(count)]


def test_commands_of_one_routing_key_share_a_frame():
    """A frame holds all of them, in the order given."""
    commands = _numbered(5)
    (frame,) = pack(commands)
    assert frame.routing_key == "step.payment.charge"
    assert read_commands(frame.body) == commands
    assert frame.fences == tuple(each.fence for each in commands)


def test_a_frame_holds_thirty_two_commands():
    """One more goes into the next frame."""
    sizes = [len(frame.fences) for frame in pack(_numbered(2 * COMMANDS_MAX + 1))]
    assert sizes == [32, 32, 1]


def test_a_frame_has_one_routing_key():
    """Another action, and the other direction, travel apart."""
    undo = fence(direction=Direction.COMPENSATION)
    frames = pack(
        [command(), command(action="payment.check"), command(fence=undo), command()]
    )
    assert [(frame.routing_key, len(frame.fences)) for frame in frames] == [
        ("step.payment.charge", 2),
        ("step.payment.check", 1),
        ("compensate.payment.charge", 1),
    ]


def test_a_retry_travels_alone():
    """A command that failed before shares its frame with nobody."""
    first, second, third = _numbered(3)
    second = structs.replace(second, attempt=2)
    held = sorted(len(frame.fences) for frame in pack([first, second, third]))
    assert held == [1, 2]
    assert (second.fence,) in [frame.fences for frame in pack([first, second, third])]


def test_a_full_frame_has_no_more_values_than_its_reader_takes():
    """Small values weigh more than their bytes, in commands and in replies."""
    dense = [0] * 4_000
    frames = pack(_numbered(64, context={"x": dense}))
    assert {excess(frame.body) for frame in frames} == {""}
    assert sum(len(read_commands(frame.body)) for frame in frames) == 64
    bodies = pack_replies(reply(output=dense) for _ in range(64))
    assert {excess(body) for body in bodies} == {""}
    assert sum(len(read_replies(body)) for body in bodies) == 64


def test_a_large_command_travels_alone():
    """What is larger than a frame may be gets a frame of its own."""
    large = command(fence=fence(step="l"), context={"x": "x" * BYTES_MAX})
    frames = pack([command(), large, command(fence=fence(step="z"))])
    assert (large.fence,) in [frame.fences for frame in frames]
    assert sum(len(frame.fences) for frame in frames) == 3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 70_000), min_size=1, max_size=40))
def test_frames_keep_their_limits(sizes):
    """No frame of several is over 256 KiB, and no command is lost or doubled."""
    commands = [
        command(fence=fence(step=f"s{n}"), context={"x": "é" * (size // 2)})
        for n, size in enumerate(sizes)
    ]
    frames = pack(commands)
    for frame in frames:
        assert len(frame.fences) <= COMMANDS_MAX
        assert len(frame.fences) == 1 or len(frame.body) <= BYTES_MAX
    packed = [each for frame in frames for each in frame.fences]
    assert sorted(packed) == sorted(each.fence for each in commands)


def test_the_envelope_counts_too():
    """A body is at most 256 KiB with its braces and commas, to the byte."""
    (empty,) = pack([command(context={"x": ""})])
    size = len(empty.body) - len(b'{"v":1,"commands":[]}')
    half = {"x": "x" * (BYTES_MAX // 2 - size)}
    pair = [command(fence=fence(step=s), context=half) for s in ("charge", "recall")]
    assert all(len(frame.body) <= BYTES_MAX for frame in pack(pair))


def test_a_frame_is_plain_json():
    """A foreign program reads it with any JSON parser."""
    (frame,) = pack([command()])
    document = json.loads(frame.body)
    assert document["v"] == 1
    assert document["commands"][0]["idempotency_key"] == f"{SAGA_ID}:charge:action"


def test_a_frame_is_split_without_loss():
    """Each command comes out as it went in, with what a newer program added."""
    (frame,) = pack(_numbered(3))
    document = json.loads(frame.body)
    document["later"] = {"a": [1, 2.5]}
    for number, one in enumerate(document["commands"]):
        one["priority"] = number
    parts = [json.loads(part) for part in split(json.dumps(document).encode())]
    assert parts == [{**document, "commands": [one]} for one in document["commands"]]
