"""What may travel as JSON, checked the same at every door.

PostgreSQL's JSON refuses NUL, lone surrogates and NaN but takes ``1e400`` and
nesting of 50,000; Python's reader fails on nesting of 1,000 and on integers of
4,300 digits, and writes ``NaN``. So a value that one side accepts can plant a
row that another can never read again. These rules are the common ground.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from saga_orchestrator.errors import PayloadError

Json = Any
"""None, bool, int, float, str, list and dict with str keys, nested."""

PAYLOAD_BYTES_MAX = 1024 * 1024
VALUES_MAX = 20_000
"""Of one payload. A value costs its reader more than its bytes: half a million
small ones in a mebibyte would hold up the event loop for a second."""
NESTING_MAX = 64
INTEGER_BITS_MAX = 64
_INTEGER_END = 1 << INTEGER_BITS_MAX - 1
_CHAR_BYTES_MOST = 6
"""As an escape. No character has more as UTF-8."""
_VALUE_BYTES_MOST = 32
"""A float has 24, and there are quotes, a colon, a comma, or brackets around it."""
_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

# Strings whole, so that what stands in them is not counted; also one without an
# end, so that none is looked at twice. Every value but the first then has a comma
# or an opening bracket before it.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|(,|[\[{](?!\s*[\]}]))', re.DOTALL)


def encode(
    value: Json,
    path: str,
    *,
    bytes_max: int = PAYLOAD_BYTES_MAX,
    values_max: int = VALUES_MAX,
    nesting_max: int = NESTING_MAX,
) -> str:
    """Return the value's compact JSON text.

    What is too large is given up as soon as that is known: neither time nor memory
    grows with it.

    Args:
        value: what to encode.
        path: what errors call the value, as ``context``.
        bytes_max: the limit of the UTF-8 text.
        values_max: the limit of values in it, nested ones too.
        nesting_max: the limit of lists and objects within one another.

    Raises:
        PayloadError: names the place in the value and the fix.
    """
    plain = _Walk(path, bytes_max, values_max).plain(value, nesting_max)
    return _text_of(plain, path, bytes_max)


def decode(
    text: str | bytes,
    path: str,
    *,
    bytes_max: int = PAYLOAD_BYTES_MAX,
    values_max: int = VALUES_MAX,
    nesting_max: int = NESTING_MAX,
) -> Json:
    """Return the value of a JSON text, held to the same rules.

    Bytes and values are counted before anything is parsed.

    Raises:
        PayloadError: not JSON, or JSON that another reader cannot read.
    """
    body = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    if len(body) > bytes_max:
        raise PayloadError(path, f"is {len(body)} bytes, the limit is {bytes_max}")
    if holds_more_values(body, values_max):
        raise _too_many(path, values_max)
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        # Or a number that is out of range: the other reader has the words for it.
        value = _parsed(body, path, nesting_max)
        may_pass = False
    else:
        # Only so can there be a NUL or a lone surrogate: this reader is strict.
        may_pass = b"\\u" not in body and _is_within((value,), nesting_max)
    if not may_pass:
        _Walk(path, bytes_max, values_max).plain(value, nesting_max)
    return value


def holds_more_values(body: bytes, values_max: int) -> bool:
    """Tell whether a JSON text holds more values than that, without parsing it."""
    if body.count(b",") + body.count(b"[") + body.count(b"{") < values_max:
        return False
    count = 0
    for token in _TOKEN.finditer(body):
        count += token[1] is not None
        if count >= values_max:
            return True
    return False


def normalise(value: Json, path: str, *, bytes_max: int = PAYLOAD_BYTES_MAX) -> Json:
    """Return the value as a reader will see it: tuples as lists, nothing shared."""
    walk = _Walk(path, bytes_max, VALUES_MAX)
    plain = walk.plain(value, NESTING_MAX)
    if walk.bytes_most > bytes_max:
        _text_of(plain, path, bytes_max)  # for its size
    return plain


def is_same(one: Json, other: Json) -> bool:
    """Compare as JSON does: 1 is 1.0, but it is not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(
            is_same(one[k], other[k]) for k in one
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)


def _text_of(plain: Json, path: str, bytes_max: int) -> str:
    text = _write(plain)
    size = len(text) if text.isascii() else len(text.encode())
    if size > bytes_max:
        raise PayloadError(
            path,
            f"is {size} bytes of JSON, the limit is {bytes_max}; "
            "store it elsewhere and pass a reference",
        )
    return text


def _parsed(body: bytes, path: str, nesting_max: int) -> Json:
    """Parse with the standard library, whose errors say what is wrong."""
    try:
        # Strictly UTF-8: given bytes, the reader would guess other encodings.
        return json.loads(body.decode(), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise PayloadError(path, f"is nested deeper than {nesting_max}") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise PayloadError(path, f"is not JSON: {error}") from error


def _is_within(items: Iterable[Json], levels: int) -> bool:
    """Tell whether parsed values keep the limits of nesting and of integers."""
    for item in items:
        kind = type(item)
        if kind is dict or kind is list:
            inner = item.values() if kind is dict else item
            if levels < 1 or (inner and not _is_within(inner, levels - 1)):
                return False
        elif kind is int and not -_INTEGER_END < item < _INTEGER_END:
            return False
    return True


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


class _Refused(Exception):
    """Why a value cannot travel; ``place`` is gathered on the way out."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.place: list[str] = []


class _Walk:
    """Turns a value into dicts and lists, or says what it must not hold."""

    def __init__(self, path: str, bytes_max: int, values_max: int) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._values_max = values_max
        self._values = 0
        self._chars = 0

    @property
    def bytes_most(self) -> int:
        """What the JSON text of the value has at most, without writing it."""
        return self._chars * _CHAR_BYTES_MOST + self._values * _VALUE_BYTES_MOST

    def plain(self, value: Json, levels: int) -> Json:
        """Return the value, plain.

        Raises:
            PayloadError: names the place.
        """
        try:
            return self._plain(value, levels)
        except _Refused as refused:
            place = "".join(reversed(refused.place))
            raise PayloadError(f"{self._path}{place}"[:200], refused.problem) from None

    def _plain(self, value: Json, levels: int) -> Json:
        # Exact types first: asking whether something is a Mapping takes long.
        self._values += 1
        kind = type(value)
        if kind is str:
            self._take_text(value)
            return value
        if value is None or kind is bool:
            return value
        if kind is dict:
            return self._object(value, levels)
        if kind is list or isinstance(value, list | tuple):
            return self._array(value, levels)
        if isinstance(value, str):
            self._take_text(value)
            return str.__str__(value)
        if isinstance(value, Mapping):
            return self._object(value, levels)
        return _scalar(value)

    def _object(self, value: Mapping[Any, Json], levels: int) -> dict[str, Json]:
        self._check(levels)
        plain: dict[str, Json] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise _Refused(f"has the key {key!r:.50}; keys must be text")
            self._take_text(key)
            try:
                plain[str.__str__(key)] = self._plain(item, levels - 1)
            except _Refused as refused:
                refused.place.append(f".{key:.100}")
                raise
            if self._values > self._values_max:
                raise _too_many(self._path, self._values_max)
        return plain

    def _array(self, value: list[Json] | tuple[Json, ...], levels: int) -> list[Json]:
        self._check(levels)
        plain: list[Json] = []
        for item in value:
            try:
                plain.append(self._plain(item, levels - 1))
            except _Refused as refused:
                refused.place.append(f"[{len(plain)}]")
                raise
            if self._values > self._values_max:
                raise _too_many(self._path, self._values_max)
        return plain

    def _check(self, levels: int) -> None:
        if levels < 1:
            raise _Refused("is nested too deep; flatten it")

    def _take_text(self, text: str) -> None:
        self._chars += len(text)
        if self._chars > self._bytes_max:
            raise PayloadError(
                self._path,
                f"is more than {self._bytes_max} bytes of JSON, which is the limit; "
                "store it elsewhere and pass a reference",
            )
        if "\0" in text:
            raise _Refused("holds a NUL character; remove it")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise _Refused("holds a lone surrogate; remove it") from None


def _too_many(path: str, values_max: int) -> PayloadError:
    return PayloadError(
        path,
        f"holds more than {values_max} values, which is the limit; "
        "store them elsewhere and pass a reference",
    )


def _scalar(value: Json) -> int | float:
    """Return a number as the plain one that it is written as."""
    if isinstance(value, int):
        if not -_INTEGER_END < value < _INTEGER_END:
            raise _Refused("is an integer beyond 64 bits; pass it as text")
        return int.__pos__(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _Refused(f"is {value}; JSON has no such number, use null")
        return float.__pos__(value)
    raise _Refused(
        f"is of type {type(value).__name__}, which JSON does not have; "
        "convert it first, as with model_dump(mode='json')"
    )
