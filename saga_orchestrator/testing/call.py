"""A run of a handler in a play, and the word for how it went."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from saga_orchestrator.core.commands import Answer, Reply
from saga_orchestrator.core.states import Direction

UNDO = "undo "
"""Stands before a step's name where its compensation ran."""
TIMEOUT = "timeout"
"""The result of a run that was cut off."""
LOST = "lost"
"""The result of a run whose answer was lost."""
ANSWERED = "answered"
"""The result of a deferred run whose success came from outside."""

_RESULTS = {
    Answer.SUCCEEDED: "",
    Answer.REFUSED: "refused",
    Answer.UNKNOWN: "error",
    Answer.SKIPPED: "skipped",
    Answer.RETRY_LATER: "later",
    Answer.ACCEPTED: "deferred",
    Answer.SUPERSEDED: "superseded",
}
RESULTS = (*filter(None, _RESULTS.values()), TIMEOUT, LOST, ANSWERED)
"""Every word that there is for a run that did not simply go well."""


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a handler, or of its stand-in; or an answer from outside.

    Attributes:
        at: when it ran.
        step: of which step.
        direction: its action, or its undo.
        attempt: the retry policy's count.
        generation: which dispatch.
        result: how it went; empty: well.
        error_type: the name of the exception's class.
        error: for people.
    """

    at: dt.datetime
    step: str
    direction: Direction
    attempt: int
    generation: int
    result: str
    error_type: str = ""
    error: str = ""

    @property
    def text(self) -> str:
        """``charge``, ``charge: refused``, ``undo reserve``."""
        undo = UNDO if self.direction is Direction.COMPENSATION else ""
        name = f"{undo}{self.step}"
        return f"{name}: {self.result}" if self.result else name

    @property
    def why(self) -> str:
        """``CardDeclined: no``."""
        return ": ".join(word for word in (self.error_type, self.error) if word)


def result_of(reply: Reply) -> str:
    """Return how a run went, in a word; empty: well."""
    if reply.answer is Answer.UNKNOWN and reply.error_type == "Timeout":
        return TIMEOUT
    return _RESULTS[reply.answer]
