"""The SVG's measures: how large a box is, and where each stands, in pixels.

Few ranks run across the sheet, each undo below its step. A long sequence runs
down, each undo beside its step: down on the left, back up on the right.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from saga_orchestrator.graph.labels import width, wrapped
from saga_orchestrator.graph.picture import Node, Picture, Undo

LETTER_HEAD, LETTER_NAME, LETTER_CODE, LETTER_WORD = 10.2, 7.85, 6.65, 7.5
"""Widths of a letter as laid out; most fonts take a little less."""

PAD = 20
"""From the border of the sheet to what is on it."""
TEXT = 10
"""From the border of a box to its text."""
INSET = 16
"""By how much an undo's box is narrower than its step's, on each side."""
LINE = 16
"""From one line of text to the next."""
MARK = 22
"""What a drawn glyph takes, with the blank after it."""
ALARM = 24
"""What the line about residuals takes, below the saga's state."""
REASON_LINES = 3
_BOX_MIN, _BOX_MAX = 128, 300
_LINK = 16
_ACROSS_MAX = 1080
_SHEET_MIN = 460
_CONDITION_MAX = 180
"""By how much a condition widens a box; what is longer is cut."""
_WORDS_MAX = 24
"""Where a state takes more letters than this, its details have their own line."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle."""

    x: int
    y: int
    width: int
    height: int

    @property
    def middle(self) -> tuple[int, int]:
        """Its centre."""
        return self.x + self.width // 2, self.y + self.height // 2

    @property
    def right(self) -> int:
        """Its right side."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """Its lower side."""
        return self.y + self.height


class Frame:
    """Where everything stands.

    Attributes:
        is_down: ranks run from top to bottom; else from left to right.
        has_conditions: steps leave a line for their condition.
        has_details: steps leave a line for the details of their state.
        gap: between two ranks.
        width: of the sheet.
        height: of the sheet.
        reason: the saga's reason, in lines that fit.
    """

    def __init__(self, picture: Picture) -> None:
        nodes = picture.nodes
        layout = self._layout = picture.layout
        self.has_conditions = any(node.when for node in nodes)
        self.has_details = any(width(node.words) > _WORDS_MAX for node in nodes)
        undos = [node.undo for node in nodes if node.undo is not None]
        across = max(
            _clamped(_step_width(node, apart=self.has_details) for node in nodes),
            _clamped(_undo_width(undo) + 2 * INSET for undo in undos),
        )
        self.gap = 36 + 6 * min(layout.lane_count - 1, 8)
        long = layout.rank_count * (across + self.gap) > _ACROSS_MAX
        self.is_down = layout.is_sequence and long
        lines = self.has_conditions + self.has_details
        self._step = across, 46 + LINE * lines + 24 * (picture.mark is not None)
        aside = 0 if self.is_down else 2 * INSET
        undo_height = 42 if picture.mark else 26
        self._undo = (across - aside, undo_height) if undos else (0, 0)
        self._top = 0
        boxes = [self.step_at(number) for number in range(len(nodes))]
        boxes += [self.undo_at(i) for i, node in enumerate(nodes) if node.undo]
        self.width = max([_SHEET_MIN, *(box.right + PAD for box in boxes)])
        columns = int((self.width - 2 * PAD) / LETTER_CODE)
        self.reason = wrapped(picture.reason, columns, REASON_LINES)
        header = 80 + LINE * len(self.reason) if picture.mark else 58
        header += ALARM * bool(picture.alarm)
        self._top = header + 8 * bool(self.reason)
        self.height = max([0, *(box.bottom for box in boxes)]) + self._top + PAD

    def step_at(self, number: int) -> Box:
        """Return the box of a step."""
        rank, lane = self._layout.ranks[number], self._layout.lanes[number]
        wide, high = self._step
        if self.is_down:
            return Box(PAD, self._top + rank * (high + 32), wide, high)
        high_both = high + (_LINK + self._undo[1] if self._undo[1] else 0)
        x, y = PAD + rank * (wide + self.gap), self._top + lane * (high_both + 26)
        return Box(x, y, wide, high)

    def undo_at(self, number: int) -> Box:
        """Return the box of a step's undo."""
        box = self.step_at(number)
        if self.is_down:
            y = box.middle[1] - self._undo[1] // 2
            return Box(box.right + 3 * _LINK, y, *self._undo)
        return Box(box.x + INSET, box.bottom + _LINK, *self._undo)


def _step_width(node: Node, *, apart: bool) -> float:
    details = ", ".join(node.details)
    words = max(node.mark.word, details, key=width) if apart else node.words
    return max(
        width(node.name) * LETTER_NAME,
        width(node.action) * LETTER_CODE,
        MARK + width(words) * LETTER_WORD,
        min(width(f"if {node.when}") * LETTER_CODE, _CONDITION_MAX),
    )


def _undo_width(undo: Undo) -> float:
    return max(width(undo.name) * LETTER_CODE, MARK + width(undo.words) * LETTER_WORD)


def _clamped(widths: Iterable[float]) -> int:
    widest = math.ceil(max(widths, default=0)) + 2 * TEXT
    return min(max(widest, _BOX_MIN), _BOX_MAX)
