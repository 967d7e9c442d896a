"""Texts of users: nothing that moves a cursor, nothing too long."""

from __future__ import annotations

import pytest

from saga_orchestrator.graph.labels import cut, plain, width, wrapped


def test_what_cannot_be_seen_is_escaped() -> None:
    """Control characters, lone surrogates and turned writing become visible."""
    text = "a\x00b\nc\x1b[31m\ud800\u202e\uffff é"
    assert plain(text) == r"a\x00b\nc\x1b[31m\ud800\u202e\uffff é"


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("很很很", 6, "很很很"),
        ("很很很", 5, "很很…"),
        ("很很很", 4, "很…"),
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
    ],
)
def test_cut(text: str, columns: int, expected: str) -> None:
    """A text fits its columns; wide letters count twice, accents not at all."""
    assert cut(text, columns) == expected
    assert width(cut(text, columns)) <= columns


def test_wrapped() -> None:
    """Lines break at blanks where there are some; the last one is cut."""
    assert wrapped("one two three four", 9, 3) == ["one two", "three", "four"]
    assert wrapped("one two three four", 8, 2) == ["one two", "three f…"]
    assert wrapped("aaaa bbbbbbbbbb", 4, 3) == ["aaaa", "bbbb", "bbb…"]
    assert wrapped("fits", 9, 2) == ["fits"]
    assert wrapped("", 9, 2) == []
