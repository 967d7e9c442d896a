"""The envelopes: what is written is read back, and nothing else is believed."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from saga_orchestrator.core.commands import Answer, Command, Reply
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.payload import NESTING_MAX, normalise
from saga_orchestrator.core.public import EVENT_TYPE, Emission
from saga_orchestrator.core.states import Direction
from saga_orchestrator.errors import MalformedMessageError, UnsupportedVersionError
from saga_orchestrator.participant.signals import RetryLater
from saga_orchestrator.wire.envelope import (
    MESSAGE_BYTES_MAX,
    read_commands,
    read_replies,
)
from saga_orchestrator.wire.frame import pack, pack_replies
from tests.unit.wire.samples import SAGA_ID, command, reply

_TEXT = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20
)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4)
    ),
    max_leaves=12,
)
_OBJECT = st.dictionaries(_TEXT, _JSON, max_size=4)
_FENCE = st.builds(
    Fence,
    st.just(SAGA_ID),
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    st.sampled_from(Direction),
    st.integers(1, 2**32 - 1),
)
_INSTANT = st.datetimes(
    dt.datetime(2020, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
    dt.datetime(2100, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
    timezones=st.just(dt.UTC),
)


def _millis(most_days: int):
    return st.integers(1, most_days * 86_400_000).map(
        lambda millis: dt.timedelta(milliseconds=millis)
    )


_TRACEPARENT = st.sampled_from(("", f"00-{'a' * 32}-{'b' * 16}-01"))
_COMMAND = st.builds(
    Command,
    traceparent=_TRACEPARENT,
    fence=_FENCE,
    token=st.just("0f" * 16),
    saga_name=st.just("order"),
    action=st.just("payment.charge"),
    attempt=st.integers(1, 10**6),
    input=_JSON,
    output=_JSON,
    outputs=_OBJECT,
    context=_OBJECT,
    timeout=_millis(3650),
    expires_at=_INSTANT,
    deadline_at=st.none() | _INSTANT,
    as_of=st.none() | _INSTANT,
    undoes=st.none() | st.just(SAGA_ID),
    is_known=st.booleans(),
)
_REPLY = st.builds(
    Reply,
    traceparent=_TRACEPARENT,
    fence=_FENCE,
    token=st.just("0f" * 16),
    answer=st.sampled_from(Answer),
    output=_JSON,
    update=_OBJECT,
    error_type=_TEXT,
    error=_TEXT,
    retryable=st.booleans(),
    delay=_millis(3650),
    heartbeat=st.booleans(),
    effect=st.booleans(),
    answered_by=_TEXT,
    emitted=st.lists(
        st.builds(Emission, st.from_regex(EVENT_TYPE, fullmatch=True), _JSON),
        max_size=3,
    ).map(tuple),
)


@settings(max_examples=150, deadline=None)
@given(_COMMAND)
def test_a_command_is_read_as_it_was_written(sent):
    """Every field comes back, an input that equals the context included."""
    (frame,) = pack([sent])
    assert read_commands(frame.body) == [sent]


@settings(max_examples=150, deadline=None)
@given(_REPLY)
def test_a_reply_is_read_as_it_was_written(sent):
    """Every field comes back."""
    assert read_replies(pack_replies([sent])[0]) == [sent]


def test_an_input_that_is_the_context_travels_once():
    """It is left out and filled in again by the reader."""
    sent = command()
    (frame,) = pack([sent])
    assert "input" not in json.loads(frame.body)["commands"][0]
    assert read_commands(frame.body) == [sent]


def test_an_input_of_null_is_not_the_context():
    """An absent input is the context, null is null."""
    (frame,) = pack([command(input=None)])
    assert read_commands(frame.body)[0].input is None


def _document(kind: str) -> dict:
    if kind == "commands":
        deadline = dt.datetime(2026, 2, 1, tzinfo=dt.UTC)
        (frame,) = pack([command(deadline_at=deadline, input={"x": 1})])
        return json.loads(frame.body)
    return json.loads(pack_replies([reply(answered_by="q")])[0])


def _read(kind: str, document: object):
    body = json.dumps(document).encode()
    return read_commands(body) if kind == "commands" else read_replies(body)


@pytest.mark.parametrize("kind", ["commands", "replies"])
def test_unknown_fields_are_tolerated(kind):
    """A newer sender may say more, at every level."""
    document = _document(kind)
    known = _read(kind, document)
    document["future"] = {"a": 1}
    document[kind][0]["future"] = [1]
    assert _read(kind, document) == known


_REQUIRED = ["saga_id", "step", "direction", "generation", "token"]
_OF_COMMANDS = ["saga", "action", "attempt", "context", "timeout_ms", "expires_at"]


@pytest.mark.parametrize(
    ("kind", "field"),
    [("commands", field) for field in [*_REQUIRED, *_OF_COMMANDS]]
    + [("replies", field) for field in [*_REQUIRED, "answer"]],
)
def test_a_missing_field_is_named(kind, field):
    """The reader says which field of which item is not there."""
    document = _document(kind)
    del document[kind][0][field]
    with pytest.raises(MalformedMessageError, match=rf"message\.{kind}\.0\.{field}:"):
        _read(kind, document)


_WRONG = {
    "saga_id": [5, None, "x" * 301],
    "step": [5, None, "x" * 301],
    "direction": ["sideways", None, 1],
    "generation": [0, -1, 2**32, "1", 1.5, True, None],
    "token": [5, None],
}
_WRONG_COMMAND = _WRONG | {
    "saga": [5, None],
    "action": [None, ["x"]],
    "attempt": [0, "1", 1.5, True],
    "context": [[], "x", None, 5],
    "outputs": [[], "x", None],
    "timeout_ms": [0, -5, "60", 1.5, None, 2**62],
    "expires_at": ["soon", "2026-01-01T00:00:00", None, {}],
    "deadline_at": ["soon", "2026-01-01T00:00:00"],
    "as_of": ["soon", "2026-01-01T00:00:00"],
}
_WRONG_REPLY = _WRONG | {
    "answer": ["maybe", None, 1],
    "update": [[], "x", None],
    "error_type": [5, "x" * 301],
    "error": [5, None],
    "retryable": ["yes", 1, None],
    "delay_ms": [-1, "5", 1.5, 2**62],
    "heartbeat": ["yes", 1],
    "effect": ["no", 0],
    "answered_by": [5, "x" * 301],
    "events": [
        *(5, "x", {}, [5], [{"payload": 1}], [{"type": 5}], [{"type": "1a"}]),
        *([{"type": "a\n"}], [{"type": ""}], [{"type": "a"}] * 101),
    ],
}


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [("commands", f, v) for f, values in _WRONG_COMMAND.items() for v in values]
    + [("replies", f, v) for f, values in _WRONG_REPLY.items() for v in values],
)
def test_a_wrong_field_is_named(kind, field, value):
    """A field of the wrong kind, or out of bounds, is malformed and named."""
    document = _document(kind)
    document[kind][0][field] = value
    with pytest.raises(MalformedMessageError, match=rf"message\.{kind}\.0\.{field}"):
        _read(kind, document)


def test_the_item_that_is_wrong_is_named():
    """Of several replies the number says which."""
    document = _document("replies")
    document["replies"] *= 3
    document["replies"][2] = {**document["replies"][2], "token": 7}
    with pytest.raises(MalformedMessageError, match=r"message\.replies\.2\.token"):
        _read("replies", document)


@pytest.mark.parametrize("version", [0, 2, "1", None, True, [1]])
def test_an_unknown_version_is_not_guessed_at(version):
    """The error tells the version found and the one that is spoken."""
    document = _document("replies") | {"v": version}
    with pytest.raises(UnsupportedVersionError, match="speaks 1"):
        _read("replies", document)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b"5",
        b"{",
        b'{"v":1,"replies":[NaN]}',
        b'{"v":1,"replies":[1e400]}',
        b'{"v":1,"replies":["\\u0000"]}',
        b'{"v":1,"replies":["\\ud800"]}',
        b'{"v":1,"replies":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"v":1,"replies":[' + b"9" * 5000 + b"]}",
        b'{"v":1,"replies":[]}',
        b'{"v":1,"replies":{}}',
    ],
)
def test_hostile_bytes_are_malformed(body):
    """Whatever comes, the answer is the same error, never a crash."""
    with pytest.raises(MalformedMessageError):
        read_replies(body)


def test_an_oversized_message_is_refused_before_it_is_parsed():
    """Beyond 8 MiB nothing is read."""
    with pytest.raises(MalformedMessageError, match="limit"):
        read_replies(b" " * (MESSAGE_BYTES_MAX + 1))


def test_what_the_edge_accepts_the_wire_carries():
    """Data nested as deep as a start allows comes through as context and output."""
    deep: object = 1
    for _ in range(NESTING_MAX - 2):
        deep = [deep]
    data = normalise({"deep": deep}, "context")
    sent = command(context=data, input=data, outputs={"before": data}, output=data)
    (frame,) = pack([sent])
    assert read_commands(frame.body)[0].context == data
    answer = reply(output=data, update=data)
    assert read_replies(pack_replies([answer])[0]) == [answer]


@pytest.mark.parametrize("micros", [1, 100, 499, 500, 999, 1500])
def test_a_short_timeout_is_not_rounded_to_none(micros):
    """A command that a definition allows can always be read."""
    (frame,) = pack([command(timeout=dt.timedelta(microseconds=micros))])
    assert read_commands(frame.body)[0].timeout > dt.timedelta(0)


def test_the_longest_delay_of_a_handler_can_be_read():
    """What ``RetryLater`` takes, the reply carries, or it is refused when made."""
    try:
        signal = RetryLater(dt.timedelta.max)
    except ValueError:
        return
    sent = reply(answer=Answer.RETRY_LATER, output=None, delay=signal.delay)
    assert read_replies(pack_replies([sent])[0])


def test_an_error_is_cut():
    """Nobody's stack trace makes a reply of a megabyte."""
    long = structs.replace(reply(), error="x" * 100_000)
    assert len(read_replies(pack_replies([long])[0])[0].error) == 2000


@pytest.mark.parametrize("odd", [None, 7, ["00"], {"a": 1}, "x" * 56])
def test_an_odd_traceparent_spoils_no_message(odd):
    """It only helps to look at things: what is no text, or too long, is dropped."""
    body = json.loads(pack([command()])[0].body)
    body["commands"][0]["traceparent"] = odd
    assert read_commands(json.dumps(body).encode()) == [command()]
    answers = json.loads(pack_replies([reply()])[0])
    answers["replies"][0]["traceparent"] = odd
    assert read_replies(json.dumps(answers).encode()) == [reply()]


def test_a_reply_without_events_does_not_name_them():
    """An older reader and an older log see what they always saw."""
    assert b"events" not in pack_replies([reply()])[0]
    sent = reply(emitted=(Emission("mail.sent", None),))
    assert b'"events":[{"type":"mail.sent","payload":null}]' in pack_replies([sent])[0]
