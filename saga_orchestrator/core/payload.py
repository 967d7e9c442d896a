"""What may travel as JSON, checked the same at every door.

PostgreSQL's JSON refuses NUL, lone surrogates and NaN but takes ``1e400`` and
nesting of 50,000; Python's reader fails on nesting of 1,000 and on integers of
4,300 digits, and writes ``NaN``. So a value that one side accepts can plant a
row that another can never read again. These rules are the common ground.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from saga_orchestrator.errors import PayloadError

Json = Any
"""None, bool, int, float, str, list and dict with str keys, nested."""

PAYLOAD_BYTES_MAX = 1024 * 1024
NESTING_MAX = 64
INTEGER_BITS_MAX = 64


def encode(
    value: Json,
    path: str,
    *,
    bytes_max: int = PAYLOAD_BYTES_MAX,
    nesting_max: int = NESTING_MAX,
) -> str:
    """Return the value's compact JSON text.

    Args:
        value: what to encode.
        path: what errors call the value, as ``context``.
        bytes_max: the limit of the UTF-8 text.
        nesting_max: the limit of lists and objects within one another.

    Raises:
        PayloadError: names the place in the value and the fix.
    """
    text = json.dumps(
        _plain(value, path, nesting_max), ensure_ascii=False, separators=(",", ":")
    )
    size = len(text.encode())
    if size > bytes_max:
        raise PayloadError(
            path,
            f"is {size} bytes of JSON, the limit is {bytes_max}; "
            "store it elsewhere and pass a reference",
        )
    return text


def decode(
    text: str | bytes,
    path: str,
    *,
    bytes_max: int = PAYLOAD_BYTES_MAX,
    nesting_max: int = NESTING_MAX,
) -> Json:
    """Return the value of a JSON text, held to the same rules.

    Raises:
        PayloadError: not JSON, or JSON that another reader cannot read.
    """
    body = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    if len(body) > bytes_max:
        raise PayloadError(path, f"is {len(body)} bytes, the limit is {bytes_max}")
    try:
        # Strictly UTF-8: given bytes, the reader would guess other encodings.
        value = json.loads(body.decode(), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise PayloadError(path, f"is nested deeper than {nesting_max}") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise PayloadError(path, f"is not JSON: {error}") from error
    _plain(value, path, nesting_max)
    return value


def normalise(value: Json, path: str, *, bytes_max: int = PAYLOAD_BYTES_MAX) -> Json:
    """Return the value as a reader will see it: tuples as lists, nothing shared."""
    return json.loads(encode(value, path, bytes_max=bytes_max))


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


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _plain(value: Json, path: str, levels: int) -> Json:
    """Return the value in dicts and lists, or say what it must not hold."""
    if isinstance(value, Mapping):
        _check_levels(path, levels)
        plain = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise PayloadError(path, f"has the key {key!r}; keys must be text")
            _check_text(key, path)
            plain[key] = _plain(item, f"{path}.{key}", levels - 1)
        return plain
    if isinstance(value, list | tuple):
        _check_levels(path, levels)
        return [_plain(v, f"{path}[{i}]", levels - 1) for i, v in enumerate(value)]
    _check_scalar(value, path)
    return value


def _check_levels(path: str, levels: int) -> None:
    if levels < 1:
        raise PayloadError(path[:200], "is nested too deep; flatten it")


def _check_scalar(value: Json, path: str) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, int):
        if value.bit_length() >= INTEGER_BITS_MAX:
            raise PayloadError(path, "is an integer beyond 64 bits; pass it as text")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise PayloadError(path, f"is {value}; JSON has no such number, use null")
    else:
        raise PayloadError(
            path,
            f"is of type {type(value).__name__}, which JSON does not have; "
            "convert it first, as with model_dump(mode='json')",
        )


def _check_text(text: str, path: str) -> None:
    if "\0" in text:
        raise PayloadError(path, "holds a NUL character; remove it")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise PayloadError(path, "holds a lone surrogate; remove it") from error
