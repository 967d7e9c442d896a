"""JSON and text on their way into a row and back: what goes in comes out.

The values were checked where they entered the program. Here is the last door:
a row that could not be read again would break every later read of its saga.
"""

from __future__ import annotations

import math
import re

import msgspec

from saga_orchestrator.core.payload import NESTING_MAX, VALUES_MAX, Json, decode, encode
from saga_orchestrator.errors import PayloadError, StoreDataError

_LIMITS = {
    "bytes_max": 64 * 1024 * 1024,
    "values_max": 16 * VALUES_MAX,
    "nesting_max": NESTING_MAX + 2,
}
"""Of one column: an entry holds several payloads, each below a key of its own."""

_UNREADABLE = (
    *(PayloadError, TypeError, ValueError, RecursionError),
    msgspec.MsgspecError,
)

_SCALARS = frozenset({str, int, bool})

_ODD = re.compile(r"\\u(0000|[dD][89a-fA-F])|[0-9]{19}")
"""What a NUL, a lone surrogate or an integer beyond 64 bits would show as."""

_encode = msgspec.json.Encoder().encode


# It takes neither NaN nor a number beyond every finite one: whatever put them there,
# they could not travel to a participant.
_decode = msgspec.json.Decoder().decode


def to_json(value: Json, what: str) -> str:
    """Return the value's compact JSON text.

    Args:
        value: what to write.
        what: what errors call it, as ``saga X: its context``.

    Raises:
        StoreDataError: a value that one of the stores could not read back.
    """
    try:
        if not _is_plain(value):
            return encode(value, "value", **_LIMITS)
        text = _encode(value).decode()
        if _may_be_refused(text):
            return encode(value, "value", **_LIMITS)
    except (PayloadError, TypeError, ValueError, RecursionError) as error:
        raise StoreDataError(f"{what} cannot be stored: {error}") from error
    return text


def from_json(text: str, what: str) -> Json:
    """Return the value of a column's JSON text.

    Held to the rules of a payload: what breaks them was put there by somebody
    else, and could not travel to a participant.

    Raises:
        StoreDataError: it cannot be read.
    """
    try:
        if _may_be_refused(text):
            return decode(text, "value", **_LIMITS)
        return _decode(text)
    except _UNREADABLE as error:
        raise StoreDataError(f"{what} cannot be read: {error}") from error


def from_json_object(text: str, what: str) -> dict[str, Json]:
    """Return the object of a column's JSON text.

    Raises:
        StoreDataError: it cannot be read, or is something else.
    """
    value = from_json(text, what)
    if not isinstance(value, dict):
        raise StoreDataError(f"{what} cannot be read: it is no JSON object")
    return value


def storable(text: str, what: str) -> str:
    """Return the text, which every store can hold.

    Raises:
        StoreDataError: it has a NUL character or a lone surrogate.
    """
    if "\0" in text:
        raise StoreDataError(f"{what} cannot be stored: it holds a NUL character")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise StoreDataError(f"{what} cannot be stored: {error}") from error
    return text


def _is_plain(value: Json) -> bool:
    """Tell whether a value is of JSON's own types: the writer takes others, too.

    Of those it would make something else than a reader could tell: null of NaN, text
    of bytes, a list of a set.
    """
    kind = type(value)
    if kind is dict:
        return all(type(key) is str and _is_plain(value[key]) for key in value)
    if kind is list:
        return all(map(_is_plain, value))
    if kind is float:
        return math.isfinite(value)
    return value is None or kind in _SCALARS


def _may_be_refused(text: str) -> bool:
    """Tell whether the full check of the payload rules is needed.

    It walks the value in Python, at more than the cost of writing it; these
    scans run in C and let nearly every text pass.
    """
    brackets = text.count("[") + text.count("{")
    return brackets > NESTING_MAX or _ODD.search(text) is not None
