"""How a state is shown: a glyph, a word and a kind; never by colour alone.

Where there are glyphs of the kind for both, they are those of the other
commands. None of them is an emoji by default, and each has an ASCII stand-in.
"""

from __future__ import annotations

from typing import NamedTuple

from saga_orchestrator.core.states import SagaState, StepState


class Mark(NamedTuple):
    """What a reader sees of a state.

    Attributes:
        glyph: one character, for text.
        word: the state in words; empty: there is none, as in a definition.
        kind: picks colour and drawn glyph.
    """

    glyph: str
    word: str
    kind: str


STATES: dict[str, Mark] = {
    StepState.PENDING: Mark("○", "pending", "pending"),
    StepState.STARTED: Mark("►", "started", "started"),
    StepState.COMPLETED: Mark("✓", "completed", "completed"),
    StepState.FAILED: Mark("✗", "failed", "failed"),
    StepState.SKIPPED: Mark("»", "skipped", "skipped"),
    StepState.COMPENSATING: Mark("↺", "compensating", "compensating"),
    StepState.COMPENSATED: Mark("↩", "compensated", "compensated"),
}
"""The states of a step; those of a saga are among them."""

PLAIN = Mark("●", "", "plain")
"""A step of a definition."""

UNDO = Mark("↩", "", "plain")
"""A compensation of a definition, or one that nobody asked for yet."""
UNDO_DUE = Mark("○", "to be undone", "pending")
UNDO_SENT = Mark("↺", "being undone", "compensating")
UNDO_WAITS = Mark("↺", "waits to retry", "compensating")
UNDO_GAVE_UP = Mark("!", "gave up", "gave_up")
UNDONE = Mark("↩", "undone", "compensated")
UNDO_NOT_NEEDED = Mark("-", "not needed", "idle")

RESIDUAL = Mark("!", "", "gave_up")
"""Effects that may stand outside the saga's account."""

UNDOS = (UNDO_DUE, UNDO_SENT, UNDO_WAITS, UNDO_GAVE_UP, UNDONE, UNDO_NOT_NEEDED)

ASCII = str.maketrans("○►✓✗»↺↩●…│─├┤┬┴┼╭╮╰╯", "o>+x/~<*~|-+++++++++")
"""For a terminal that has no other letters."""


def mark_of(state: SagaState | StepState) -> Mark:
    """Return how a state is shown."""
    return STATES[state.value]
