"""Text of users, made fit for a picture: no control characters, not too long.

Names are checked where they are made; reasons and values come from anywhere.
"""

from __future__ import annotations

import unicodedata

LONG = 500
"""Columns of a reason or a condition, at most; ``saga get`` tells it whole."""


def plain(text: str) -> str:
    """Return a text on one line, with what cannot be seen as its escape.

    That includes what XML forbids (NUL, lone surrogates) and what turns the
    direction of writing.
    """
    return "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text
    )


def width(text: str) -> int:
    """Return how many columns a text takes; a wide letter takes two."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def cut(text: str, columns: int) -> str:
    """Return a text of at most that many columns, with an ellipsis where cut."""
    if width(text) <= columns:
        return text
    taken, kept = 1, []  # the ellipsis takes one
    for letter in text:
        taken += _columns(letter)
        if taken > columns:
            break
        kept.append(letter)
    return "".join(kept) + "…"


def wrapped(text: str, columns: int, lines: int) -> list[str]:
    """Return a text on several lines, broken at blanks where it has them.

    Args:
        text: on one line.
        columns: of each line; the last one is cut.
        lines: at most.
    """
    found: list[str] = []
    while text and len(found) < lines - 1 and width(text) > columns:
        head = cut(text, columns + 1)[:-1]
        at = head.rfind(" ") if text[len(head)] != " " else len(head)
        at = at if at > 0 else len(head)
        found.append(text[:at].rstrip())
        text = text[at:].lstrip()
    return [*found, cut(text, columns)] if text else found


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
