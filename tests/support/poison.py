"""Values that some store or reader cannot take, and those that all keep exactly."""

from __future__ import annotations

import math
from typing import Any

from saga_orchestrator.core.payload import PAYLOAD_BYTES_MAX, VALUES_MAX


def nested(depth: int) -> Any:
    """Return lists in one another."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


REFUSED: dict[str, Any] = {
    "NUL": "a\0b",
    "NUL in a key": {"a\0b": 1},
    "lone surrogate": "\ud800",
    "NaN": math.nan,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
    "2^63": 2**63,
    "10^4300": 10**4300,
    "nesting 1,000": nested(1_000),
    "nesting 100,000": nested(100_000),
    "10^6 keys": dict.fromkeys(map(str, range(10**6))),
    "a key of 1 MiB": {"k" * PAYLOAD_BYTES_MAX: 1},
    "16 MiB": "x" * 16 * 2**20,
}
"""What a program may hand over, and is refused, by what it is."""

REFUSED_TEXTS: dict[str, str] = {
    "NUL": r'"a\u0000b"',
    "NUL in a key": r'{"a\u0000b":1}',
    "lone surrogate": r'"\ud800"',
    "NaN": "NaN",
    "Infinity": "[Infinity]",
    "-Infinity": "-Infinity",
    "1e400": "1e400",
    "1e5000": "-1e5000",
    "2^64": "18446744073709551616",
    "10^4300": "1" + "0" * 4300,
    "nesting 100": "[" * 100 + "]" * 100,
    "nesting 1,000": "[" * 1_000 + "]" * 1_000,
    "nesting 100,000": "[" * 100_000 + "]" * 100_000,
    "nesting without an end": "[" * 100_000,
    "many values": "[" + "0," * VALUES_MAX + "0]",
    "10^6 keys": "{" + ",".join(f'"{n}":0' for n in range(10**6)) + "}",
    "a key of 1 MiB": f'{{"{"k" * PAYLOAD_BYTES_MAX}":1}}',
    "2 MiB": f'"{"x" * 2 * 2**20}"',
    "16 MiB": f'"{"x" * 16 * 2**20}"',
}
"""JSON, or nearly, as a foreign participant may send it."""

LARGE = {"many values", "a key of 1 MiB", "2 MiB"}
"""Of these: too large for one payload, but not for a message of several."""

EXACT: dict[str, Any] = {
    "2^53+1": 2**53 + 1,
    "largest": 2**63 - 1,
    "smallest": -(2**63) + 1,
    "large": 1e308,
    "tiny": 5e-324,
    "sum": 0.1 + 0.2,
    "minus zero": -0.0,
    "texts": ["\u2028", "\U0001f600", "\x7f", '"\\', "é"],
    "keys": {"": 1, " ": 2, "$ref": 3, "__class__": 4},
    "deep": nested(50),
    "kinds": [True, 1, 1.0, "1", None],
}
"""What comes back with the same types and values, from every store."""


def told(value: Any) -> str:
    """Return a value with its types: 1, 1.0 and True are three; so is -0.0."""
    return repr(value)
