"""The reader's structs and the models that are the wire: one must be as the other."""

from __future__ import annotations

import copy

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from saga_orchestrator.wire import models, structs
from saga_orchestrator.wire.envelope import read_commands, read_document
from saga_orchestrator.wire.frame import pack, pack_replies
from tests.unit.wire.samples import command, reply

_PAIRS = [
    (structs.CommandStruct, models.CommandFields),
    (structs.ReplyStruct, models.ReplyFields),
    (structs.EventStruct, models.EventFields),
    (structs.CommandsStruct, models.CommandMessage),
    (structs.RepliesStruct, models.ReplyMessage),
]


@pytest.mark.parametrize(("struct", "model"), _PAIRS, ids=lambda kind: kind.__name__)
def test_they_have_the_same_fields(struct, model):
    """Also the same of them may be left out."""
    required = {one.name for one in msgspec.structs.fields(struct) if one.required}
    assert set(struct.__struct_fields__) == set(model.model_fields)
    assert required == {
        name for name, one in model.model_fields.items() if one.is_required()
    }


_ODD = st.sampled_from(
    [
        *(None, True, False, 0, 1, -1, 2**32 - 1, 2**32, 10**12, 10**12 + 1, 2**62),
        *(
            0.0,
            1.0,
            1.5,
            -0.0,
            1e300,
            "",
            "x",
            "1",
            "action",
            "compensation",
            "é" * 300,
        ),
        *("succeeded", "\U0001f600" * 300, "\U0001f600" * 301, "x" * 301, "a\n", "a.b"),
        *([], {}, [1], {"a": 1}, [{"type": "a"}], [{"type": "a\n"}], [{"type": 1}]),
        *([{"type": "a.b", "payload": [1], "more": 1}], [{"type": "a"}] * 101),
        *("2026-01-01T00:00:00Z", "2026-01-01T00:00:00+00:00", "2026-01-01"),
        *("2026-01-01T00:00:00", "2026-01-01t00:00:00.25z", "2026-01-01 00:00:00Z"),
        *("2026-01-01T00:00:00+2359", "2026-01-01T00:00:00-24:00", "1767225600"),
        *("0000-01-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-01-01T00:00:60Z"),
    ]
)


def _document(kind: str) -> dict:
    (body,) = (
        [pack([command()])[0].body] if kind == "commands" else pack_replies([reply()])
    )
    return read_document(body)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(_PAIRS[:2]), st.data())
def test_what_the_structs_take_the_models_take_alike(pair, data):
    """And never more; the models may take a little more, and have the last word."""
    struct, model = pair
    document = _document("commands" if "Command" in struct.__name__ else "replies")
    (fields,) = document["commands" if "Command" in struct.__name__ else "replies"]
    names = st.sampled_from([*model.model_fields, "unknown"])
    for name in data.draw(st.lists(names, min_size=1, max_size=2)):
        if data.draw(st.booleans()):
            fields[name] = copy.deepcopy(data.draw(_ODD))
        else:
            fields.pop(name, None)
    try:
        read = msgspec.convert(fields, struct)
    except msgspec.ValidationError:
        return
    judged = model.model_validate(fields)
    for name in model.model_fields:
        mine, theirs = getattr(read, name), getattr(judged, name)
        if name == "traceparent":
            mine = models.text_or_nothing(mine)
        elif name == "events":
            mine = [(one.type, one.payload) for one in mine]
            theirs = [(one.type, one.payload) for one in theirs]
        elif mine is msgspec.UNSET:
            assert name not in judged.model_fields_set
            continue
        assert (type(mine), mine) == (type(theirs), theirs)


@pytest.mark.parametrize(
    "instant", ["2026-01-01T00:00Z", 1767225600, "2026-01-01T00:00:00,5Z"]
)
def test_an_instant_that_only_the_model_takes_is_read(instant):
    """A foreign sender may write one in any way that the models know."""
    document = _document("commands")
    document["commands"][0]["expires_at"] = instant
    (read,) = read_commands(msgspec.json.encode(document))
    (judged,) = models.CommandMessage.model_validate(document).commands
    assert read.expires_at == judged.expires_at
    assert read.input == read.context


def test_the_structs_take_what_is_written_here():
    """Else every message would be read twice."""
    msgspec.convert(_document("commands"), structs.CommandsStruct)
    msgspec.convert(_document("replies"), structs.RepliesStruct)


@pytest.mark.parametrize("pair", _PAIRS[3:], ids=lambda pair: pair[0].__name__)
@pytest.mark.parametrize("count", [0, 1, 1000, 1001])
def test_they_take_as_many_items(pair, count):
    """One at least, and a thousand at most."""
    struct, model = pair
    kind = struct.__struct_fields__[1]
    document = _document(kind)
    document[kind] *= count
    if 1 <= count <= 1000:
        assert len(getattr(msgspec.convert(document, struct), kind)) == count
        return
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document, struct)
    with pytest.raises(ValidationError):
        model.model_validate(document)
