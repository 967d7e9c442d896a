"""What may travel as JSON; the hostile values are those of the fault catalogue."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import itertools
import json
import math
import time
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saga_orchestrator.core.payload import (
    NESTING_MAX,
    PAYLOAD_BYTES_MAX,
    VALUES_MAX,
    decode,
    encode,
    normalise,
)
from saga_orchestrator.errors import PayloadError

_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    _TEXT,
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner),
    max_leaves=20,
)


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@settings(deadline=None)
@given(_VALUES)
def test_round_trip(value: Any) -> None:
    """What is accepted is read back exactly, by our reader and by a plain one."""
    text = encode(value, "x")
    assert decode(text, "x") == decode(text.encode(), "x") == value
    assert json.loads(text) == normalise(value, "x") == value


@pytest.mark.parametrize(
    "value",
    [
        2**53 + 1,
        2**63 - 1,
        -(2**63) + 1,
        1e308,
        5e-324,
        0.1 + 0.2,
        "\u2028",
        "\U0001f600",
    ],
)
def test_exact_values(value: Any) -> None:
    """Numbers and characters at the edge keep type and value."""
    again = normalise([value], "x")[0]
    assert (type(again), again) == (type(value), value)


def test_negative_zero() -> None:
    """-0.0 keeps its sign, or has none from the start: never one per store."""
    sign = math.copysign(1, normalise(-0.0, "x"))
    assert sign == math.copysign(1, decode("-0.0", "x"))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("a\0b", "NUL"),
        ({"a\0b": 1}, "NUL"),
        ("\ud800", "lone surrogate"),
        ({"\udfff": 1}, "lone surrogate"),
        (math.nan, "null"),
        (math.inf, "null"),
        (-math.inf, "null"),
        (2**63, "64 bits"),
        (-(2**64), "64 bits"),
        (10**4300, "64 bits"),
        ({1: "a"}, "keys must be text"),
        ({None: "a"}, "keys must be text"),
        (b"bytes", "bytes"),
        ({1, 2}, "set"),
        (decimal.Decimal(1), "Decimal"),
        (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "datetime"),
        (object(), "object"),
        (_nested(NESTING_MAX + 1), "is nested"),
        (_nested(100_000), "is nested"),
        ("x" * PAYLOAD_BYTES_MAX, "pass a reference"),
        ({"k" * PAYLOAD_BYTES_MAX: 1}, "pass a reference"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_refused_values(value: Any, problem: str) -> None:
    """Each value that some store or reader cannot take is refused with the fix."""
    with pytest.raises(PayloadError, match=problem):
        encode(value, "x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "NaN",
        "[Infinity]",
        "-Infinity",
        "1e400",
        "-1e400",
        "1e5000",
        "1" + "0" * 4300,
        "1" + "0" * 4000,
        "18446744073709551616",
        '"\\u0000"',
        '{"\\u0000": 1}',
        '"\\ud800"',
        '"\\udc00\\ud800"',
        "[" * 65 + "]" * 65,
        "[" * 1_000 + "]" * 1_000,
        "[" * 100_000 + "]" * 100_000,
        "[" * 100_000,
        '{"a":' * 10_000 + "1" + "}" * 10_000,
        "'a'",
        "[1,]",
    ],
    ids=lambda text: text[:12] or "empty",
)
def test_refused_texts(text: str) -> None:
    """Each text that plants a poisonous row is refused, and nothing crashes."""
    with pytest.raises(PayloadError):
        decode(text, "x")
    with pytest.raises(PayloadError):
        decode(text.encode(), "x")


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe",
        b'"\xc3"',
        b'"\xed\xa0\x80"',
        b"\x00",
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        "{}".encode("utf-32-le"),
    ],
)
def test_refused_bytes(body: bytes) -> None:
    """Bytes are UTF-8 without a mark, and nothing is guessed: one reader, one value."""
    with pytest.raises(PayloadError):
        decode(body, "x")


def test_error_names_the_place() -> None:
    """The path leads to the value, so that a person finds it."""
    with pytest.raises(PayloadError, match=r"^context\.items\[3\]\.price: ") as caught:
        encode({"items": [0, 1, 2, {"price": math.nan}]}, "context")
    assert caught.value.path == "context.items[3].price"


def test_limits_are_inclusive() -> None:
    """Nesting of 64 and a text of exactly the limit are accepted."""
    assert normalise(_nested(NESTING_MAX), "x") == _nested(NESTING_MAX)
    assert len(encode("x" * 8, "x", bytes_max=10)) == 10
    assert decode('"' + "x" * 8 + '"', "x", bytes_max=10) == "x" * 8


def test_size_is_counted_in_bytes() -> None:
    """The limit is of the UTF-8 text, in both directions."""
    text = '"' + "é" * 8 + '"'
    with pytest.raises(PayloadError, match="18 bytes"):
        encode("é" * 8, "x", bytes_max=17)
    with pytest.raises(PayloadError, match="18 bytes"):
        decode(text, "x", bytes_max=17)
    with pytest.raises(PayloadError, match="18 bytes"):
        decode(text.encode(), "x", bytes_max=17)


def _of(count: int) -> list[list[Any]]:
    """Return a value that holds so many, itself included."""
    return [[] for _ in range(count - 1)]


def test_values_are_counted_alike_in_both_directions() -> None:
    """The limit is inclusive, for a text as for a value, spaces or not."""
    for value in (_of(10), {"a": _of(9)}, [{}, *_of(9)], [0] * 9):
        for text in (json.dumps(value), json.dumps(value, indent=2)):
            assert decode(text, "x", values_max=10) == value
            with pytest.raises(PayloadError, match="more than 9 values"):
                decode(text, "x", values_max=9)
        encode(value, "x", values_max=10)
        with pytest.raises(PayloadError, match="more than 9 values"):
            encode(value, "x", values_max=9)


def test_commas_in_strings_are_no_values() -> None:
    """A text of a million characters is one value, whatever it says."""
    value = {"csv": ',[{"' * 200_000}
    assert decode(json.dumps(value), "x") == value


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"0," * VALUES_MAX + b"no JSON",
        b"{" + b'"a":0,' * VALUES_MAX + b"no JSON",
        b"[" + b"[]," * VALUES_MAX + b"no JSON",
    ],
)
def test_too_many_values_are_not_parsed(body: bytes) -> None:
    """They are counted before: that the text is no JSON is not even seen."""
    with pytest.raises(PayloadError, match=f"more than {VALUES_MAX} values"):
        decode(body, "x")


def test_strings_without_an_end_cost_no_more_than_others() -> None:
    """Nothing is looked at twice: a quadratic scan would take for hours."""
    for body in (b'"' + b'\\"' * 4_000_000, b',"' * 4_000_000, b"[ " * 4_000_000):
        with pytest.raises(PayloadError):
            decode(body, "x", bytes_max=len(body))


def test_what_is_too_large_is_not_walked_to_its_end() -> None:
    """A value is given up where the limit is passed, not at its end."""

    class Endless(dict[str, Any]):
        def items(self) -> Any:
            return ((str(number), "x" * 1000) for number in itertools.count())

    with pytest.raises(PayloadError, match="is the limit"):
        encode(Endless(), "x")
    with pytest.raises(PayloadError, match="is the limit"):
        encode({"a": Endless()}, "x", bytes_max=2**40)


def test_duplicate_keys() -> None:
    """The last one wins, as in PostgreSQL."""
    assert decode('{"a":1,"a":2}', "x") == {"a": 2}


def test_normalise_copies() -> None:
    """Tuples become lists, and nothing is shared with the caller's value."""
    value: dict[str, Any] = {"a": (1, [2])}
    again = normalise(value, "x")
    assert again == {"a": [1, [2]]}
    value["a"][1].append(3)
    assert again == {"a": [1, [2]]}


def test_self_reference() -> None:
    """A list that holds itself is too deep, and no endless loop."""
    value: list[Any] = []
    value.append(value)
    with pytest.raises(PayloadError, match="is nested"):
        encode(value, "x")


def test_any_mapping() -> None:
    """A read-only mapping is a mapping; ``Mapping`` is what the signatures say."""
    assert normalise(MappingProxyType({"a": 1}), "x") == {"a": 1}


def test_large_input_is_bounded_before_it_is_parsed() -> None:
    """16 MiB from outside cost no time."""
    body = b"[" + b"1," * (8 * 1024 * 1024) + b"1]"
    began = time.perf_counter()
    with pytest.raises(PayloadError, match="the limit is"):
        decode(body, "x")
    assert time.perf_counter() - began < 0.05


_NUMBERS = st.sampled_from(
    [
        *("0", "-0", "-0.0", "1e2", "1E+2", "0.1", "1e-400", "5e-324", "1.5e308"),
        *(str(2**63 - 1), str(2**63), str(-(2**63)), str(1 - 2**63), str(2**64)),
        *("1e309", "0.1" + "0" * 400 + "1", "123456789012345678901234567890.5"),
        *("9007199254740993.0", "2.2250738585072011e-308", "01", "1.", "NaN"),
    ]
)
_STRINGS = st.sampled_from(
    [
        *('"a"', '"\\u0000"', '"\\ud800"', '"\\udc00"', '"\\ud83d\\ude00"', '"\\/\\n"'),
        *(
            '"\\u00e9"',
            '"\u00e9"',
            '"\\\\u0000"',
            '"a\tb"',
            '"\\x"',
            '"\x7f"',
            '"\\ude00\\ud83d"',
        ),
    ]
)
_TEXTS = st.recursive(
    _NUMBERS | _STRINGS | st.sampled_from(["null", "true", "false", "nul"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(_STRINGS, inner), max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{k}:{v}" for k, v in pairs) + "}"
        )
    ),
    max_leaves=5,
)


def _no_constant(name: str) -> None:
    raise ValueError(name)


@settings(max_examples=400, deadline=None)
@given(_TEXTS)
def test_the_fast_reader_reads_as_the_standard_library(text: str) -> None:
    """The same values of the same types, and the same is refused."""
    try:
        # A constant is refused where it stands, also where its key comes again.
        expected = normalise(json.loads(text, parse_constant=_no_constant), "x")
    except (ValueError, PayloadError):
        with pytest.raises(PayloadError):
            decode(text, "x")
        return
    value = decode(text, "x")
    assert (value, repr(value)) == (expected, repr(expected))


def test_kinds_of_the_users_own_become_plain() -> None:
    """A text, a number, an object of another class is read as what it is written as."""

    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "another"

    class Number(int):
        __slots__ = ()

    class Real(float):
        __slots__ = ()

    class Word(enum.StrEnum):
        YES = "yes"

    value = {Text("k"): [Text("v"), Number(3), Real(0.5), Word.YES], Word.YES: (True,)}
    again = normalise(value, "x")
    assert repr(again) == "{'k': ['v', 3, 0.5, 'yes'], 'yes': [True]}"
    assert encode(value, "x") == json.dumps(again, separators=(",", ":"))


@settings(max_examples=200, deadline=None)
@given(_VALUES | st.just("\x01" * 50) | st.just([-5e-324] * 20) | st.just({"": {}}))
def test_a_value_is_held_to_the_size_of_its_text(value: Any) -> None:
    """To the byte, also where its text is written by nobody."""
    size = len(encode(value, "x").encode())
    assert normalise(value, "x", bytes_max=size) == value
    with pytest.raises(PayloadError):
        normalise(value, "x", bytes_max=size - 1)
