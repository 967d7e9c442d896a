"""The SVG's parts: a step's box, an undo's box, and what is written in them."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from saga_orchestrator.graph.frame import (
    LETTER_CODE,
    LETTER_NAME,
    LETTER_WORD,
    LINE,
    MARK,
    TEXT,
    Box,
    Frame,
)
from saga_orchestrator.graph.labels import cut
from saga_orchestrator.graph.marks import Mark
from saga_orchestrator.graph.picture import Node, Undo
from saga_orchestrator.graph.style import GLYPHS

_DIGIT = 7


def xml(text: str) -> str:
    """Return a text as XML content."""
    return escape(text, {'"': "&quot;"})


def text(x: int, y: int, content: str, kind: str) -> str:
    """Return one line of text; ``y`` is its base line."""
    return f'<text class="{kind}" x="{x}" y="{y}">{xml(content)}</text>'


def state(mark: Mark, words: str, x: int, y: int) -> str:
    """Return a state: its glyph in a disc, and its words; ``y`` is the base line."""
    return (
        f'<g class="mark" transform="translate({x + 8} {y - 4})">'
        f'<circle class="disc" r="8"/><path d="{GLYPHS[mark.kind]}"/></g>'
        f"{text(x + MARK, y, words, 'word')}"
    )


def step_box(node: Node, box: Box, told: str, frame: Frame) -> Iterator[str]:
    """Yield the box of a step.

    Args:
        node: the step.
        box: where.
        told: all about it in words, for those who point at it.
        frame: which lines the boxes have.
    """
    room, x = box.width - 2 * TEXT, box.x + TEXT
    yield f'<g class="step {node.mark.kind}">'
    yield f"<title>{xml(told)}</title>"
    yield _rect(box, 7)
    yield text(x, box.y + 20, cut(node.name, int(room / LETTER_NAME)), "code name")
    code = int(room / LETTER_CODE)
    yield text(x, box.y + 36, cut(node.action or "no action", code), "code faint")
    if node.when:
        yield text(x, box.y + 36 + LINE, cut(f"if {node.when}", code), "code faint")
    if node.words:
        base = box.y + 58 + LINE * frame.has_conditions
        words = node.mark.word if frame.has_details else node.words
        yield state(node.mark, words, x, base)
        if frame.has_details:
            details = cut(", ".join(node.details), int((room - MARK) / LETTER_WORD))
            yield text(x + MARK, base + LINE, details, "faint")
    if node.pivot:
        yield from _tag(box.x + TEXT, box.y, "pivot")
    yield from _number(box, node.order)
    yield "</g>"


def undo_box(undo: Undo, box: Box, told: str) -> Iterator[str]:
    """Yield the box of an undo."""
    room, x = box.width - 2 * TEXT, box.x + TEXT
    yield f'<g class="undo {undo.mark.kind}">'
    yield f"<title>{xml(told)}</title>"
    yield _rect(box, 5)
    name = cut(undo.name, int(room / LETTER_CODE))
    base = box.y + 17 if undo.words else box.middle[1] + 4
    yield text(x, base, name, "code")
    if undo.words:
        words = cut(undo.words, int((room - MARK) / LETTER_WORD))
        yield state(undo.mark, words, x, box.y + 34)
    yield from _number(box, undo.order)
    yield "</g>"


def _rect(box: Box, radius: int) -> str:
    return (
        f'<rect class="box" x="{box.x}" y="{box.y}" width="{box.width}" '
        f'height="{box.height}" rx="{radius}"/>'
    )


def _number(box: Box, order: int | None) -> Iterator[str]:
    """Yield the number of what happened, on the upper right corner."""
    if order is not None:
        wide = 11 + _DIGIT * len(str(order))
        yield from _tag(box.x + box.width + 5 - wide, box.y, str(order))


def _tag(x: int, y: int, words: str) -> Iterator[str]:
    """Yield a few letters on the upper border of a box."""
    wide = 11 + _DIGIT * len(words)
    yield f'<rect class="disc" x="{x}" y="{y - 11}" width="{wide}" height="18" rx="9"/>'
    yield text(x + wide // 2, y + 2, words, "tag mid")
