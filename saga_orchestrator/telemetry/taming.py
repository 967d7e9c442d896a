"""What of a log line came from outside is made harmless before it is written.

One line per event, whatever a message, an error or a user's text holds: what could
start a line of its own, or speak to a terminal, is escaped; what is long is cut;
passwords, in URLs and under telling names, are ``***``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

TEXT_CHARS_MAX = 4_000
MARGIN_CHARS = 1_000
"""So much more of a text is searched for secrets that begin before it is cut."""
ITEMS_MAX = 50
DEPTH_MAX = 4
HIDDEN = "***"

# Up to the last @: passwords that were not escaped have some, and quotes, too.
_URL_PASSWORD = re.compile(r"(://[^\s:/]*):[^\s/]+@")
_URL_UNFINISHED = re.compile(r"(://[^\s:/]*):[^\s/]*\Z")
_BEARER = re.compile(r"\b(Bearer\s+)[^\s\"',;)\]}]+", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"((?:password|passwd|secret|token|api_?key)\"?'?\s*[=:]\s*)[^\s&,;#)\]}]+",
    re.IGNORECASE,
)
_TELLING = re.compile(
    r"password|passwd|secret|token|api_?key|authorization|cookie", re.IGNORECASE
)


def tamed(value: object, depth: int = 0) -> Any:  # noqa: ANN401 - what a line may hold
    """Return a value as it may stand in a log line: bounded, and without secrets."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth < DEPTH_MAX:
        if isinstance(value, Mapping):
            return _tamed_mapping(value, depth)
        if isinstance(value, list | tuple | set | frozenset):
            items = [tamed(item, depth + 1) for item in list(value)[:ITEMS_MAX]]
            more = len(value) - ITEMS_MAX
            return [*items, f"and {more} more"] if more > 0 else items
    return tamed_text(value if isinstance(value, str) else _text(value))


def tamed_text(text: str) -> str:
    """Return a text without secrets, and cut."""
    searched = text[: TEXT_CHARS_MAX + MARGIN_CHARS]
    unsearched = len(text) - len(searched)
    shown = _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", searched)
    if unsearched:  # a password may go on there; the other secrets need no end
        shown = _URL_UNFINISHED.sub(rf"\1:{HIDDEN}", shown)
    shown = _BEARER.sub(rf"\1{HIDDEN}", shown)
    shown = _ASSIGNED.sub(rf"\1{HIDDEN}", shown)
    left = len(shown) - TEXT_CHARS_MAX
    more = max(left, 0) + unsearched
    return f"{shown[:TEXT_CHARS_MAX]}… and {more} more characters" if more else shown


def escaped(text: str) -> str:
    """Return a text of one line, without what could move a cursor."""
    return "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text
    )


def _tamed_mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    shown = {}
    for key, item in list(value.items())[:ITEMS_MAX]:
        name = tamed_text(key if isinstance(key, str) else _text(key))
        shown[name] = HIDDEN if _TELLING.search(name) else tamed(item, depth + 1)
    if len(value) > ITEMS_MAX:
        shown["and more"] = len(value) - ITEMS_MAX
    return shown


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - of a class that is not ours
        return f"({type(value).__name__}, whose text raised {type(error).__name__})"
