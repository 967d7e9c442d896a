"""Log lines that nobody can forge: for consoles, which obey what is written to them.

Much of what is logged was written by others: names, reasons, errors. JSON escapes it
anyway.
"""

from __future__ import annotations

import traceback
from typing import TextIO

import structlog

_INDENT = "  | "


def escape_control(
    _logger: object, _method: str, entry: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Escape what could begin a line of its own, or move a terminal's cursor."""
    return {
        name: value if name == "exc_info" else _escaped(value)
        for name, value in entry.items()
    }


def indented_traceback(stream: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    """Write a traceback so that no line of it can be taken for a log line."""
    text = "".join(traceback.format_exception(*exc_info))
    stream.writelines(f"\n{_INDENT}{_printable(line)}" for line in text.splitlines())


def _escaped(value: object) -> object:
    if isinstance(value, str):
        return _printable(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return _printable(repr(value))


def _printable(text: str) -> str:
    return "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text
    )
