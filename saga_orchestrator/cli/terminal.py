"""Where text goes: data to stdout, everything else to stderr.

Colour only on a terminal, and not where ``NO_COLOR`` is set. Nothing is said
by colour alone. Where stdout is not UTF-8 the glyphs become ASCII.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import typer

from saga_orchestrator.core.states import SagaState

DONE, NOT_DONE, UNDONE, TOLD, ALARM = "✓", "✗", "↩", "·", "!"

_STYLES = {DONE: "green", NOT_DONE: "red", UNDONE: "yellow"}
_TO_ASCII = str.maketrans({DONE: "+", NOT_DONE: "x", UNDONE: "<", TOLD: "-"})
_OF_STATE = {
    SagaState.COMPLETED: DONE,
    SagaState.COMPENSATED: UNDONE,
    SagaState.FAILED: NOT_DONE,
}


def emit(lines: Iterable[str]) -> None:
    """Write lines of text to stdout, glyphs in colour where that is wanted."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        text = Text(encodable(line, sys.stdout))
        for glyph, style in _STYLES.items():
            text.highlight_words([glyph], style)
        console.print(text)


def emit_json(document: Any, *, indent: int | None = 2) -> None:  # noqa: ANN401 - JSON
    """Write one JSON document to stdout; without indent it is one line."""
    text = json.dumps(document, indent=indent, ensure_ascii=not is_utf8(sys.stdout))
    typer.echo(text)


def note(text: str) -> None:
    """Write to stderr, for people."""
    typer.echo(encodable(text, sys.stderr), err=True)


def encodable(text: str, stream: TextIO) -> str:
    """Return the text as the stream can take it."""
    if is_utf8(stream):
        return text
    encoding = stream.encoding or "ascii"
    plain = text.translate(_TO_ASCII)
    return plain.encode(encoding, "backslashreplace").decode(encoding)


def is_utf8(stream: TextIO) -> bool:
    """Tell whether every character can be written to the stream."""
    return (stream.encoding or "").lower().replace("-", "").startswith("utf8")


def one_line(text: str) -> str:
    """Return a user's text without what could move the cursor."""
    return "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text
    )


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align rows of equal length; the first may be the headings."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def marked(state: SagaState) -> str:
    """Return a saga's state with its glyph."""
    return f"{_OF_STATE.get(state, TOLD)} {state}"
