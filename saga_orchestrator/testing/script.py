"""What goes otherwise than well: the words of ``when``.

``action("charge").refuses("declined")`` and ``undo("reserve").errs(times=2)``
say how runs of a step's handlers go; ``operator.retries()`` is what a person
does. What is not scripted, the step's handler does, or a stand-in that
succeeds.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace

from saga_orchestrator.core.commands import Answer
from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.states import Direction
from saga_orchestrator.testing.fate import WELL, Fate


@dataclass(frozen=True, slots=True)
class Line:
    """How a step's action, or its undo, goes: one command after the other.

    Each method adds one more kind of run and returns the longer line. With
    ``times`` so many commands go that way, and then it is the next one's turn;
    without, all that follow. ``action("a").errs(times=2).refuses()`` errs
    twice, then refuses. Where the script ends, the handler says how it goes.
    A command that is sent again, for want of an answer, counts like any other.

    Attributes:
        step: the step's name.
        direction: its action, or its undo.
        fates: in order.
    """

    step: str
    direction: Direction
    fates: tuple[Fate, ...] = ()

    @property
    def whose(self) -> str:
        """``the action of charge``, ``the undo of charge``."""
        is_action = self.direction is Direction.ACTION
        return f"the {'action' if is_action else 'undo'} of {self.step}"

    @property
    def is_well(self) -> bool:
        """Whether nothing on it goes wrong, so that nobody need come to it."""
        return all(fate.is_well for fate in self.fates)

    def refuses(
        self,
        reason: str = "refused",
        *,
        retryable: bool = False,
        error_type: str = "StepFailed",
        times: int | None = None,
    ) -> Line:
        """Answer a definite no; the handler is not run."""
        return self._and(
            Fate(
                times,
                says=Answer.REFUSED,
                error=reason,
                error_type=error_type,
                retryable=retryable,
            )
        )

    def errs(
        self,
        error: str = "error",
        *,
        error_type: str = "RuntimeError",
        times: int | None = None,
    ) -> Line:
        """Raise before any effect: nobody can know, so the outcome is unknown."""
        return self._and(
            Fate(times, says=Answer.UNKNOWN, error=error, error_type=error_type)
        )

    def errs_after_effect(
        self,
        error: str = "error",
        *,
        error_type: str = "RuntimeError",
        times: int | None = None,
    ) -> Line:
        """Run the handler, then lose what it did: the outcome is unknown."""
        return self._and(
            Fate(
                times,
                says=Answer.UNKNOWN,
                hidden=True,
                error=error,
                error_type=error_type,
            )
        )

    def times_out(self, *, times: int | None = None) -> Line:
        """Run the handler, which takes longer than the step's timeout."""
        return self._and(
            Fate(
                times,
                says=Answer.UNKNOWN,
                hidden=True,
                answers_after=None,
                error_type="Timeout",
            )
        )

    def answers_after(self, delay: dt.timedelta, *, times: int | None = None) -> Line:
        """Run the handler; its answer comes late.

        Where nothing was heard for the step's timeout and a minute, the command
        is sent again: that is one more run.
        """
        return self._and(Fate(times, answers_after=delay))

    def arrives_after(self, delay: dt.timedelta, *, times: int | None = None) -> Line:
        """Leave the command in its queue for a while, then run the handler.

        It is not sent again meanwhile: it is late, not lost. After its limit it
        is not begun.
        """
        return self._and(Fate(times, arrives_after=delay))

    def never_arrives(self, *, times: int | None = None) -> Line:
        """Lose the command: it is sent again when its answer is overdue."""
        return self._and(Fate(times, runs=0))

    def loses_its_answer(self, *, times: int | None = None) -> Line:
        """Run the handler and lose its answer."""
        return self._and(Fate(times, answers=0))

    def answers_twice(self, *, times: int | None = None) -> Line:
        """Run the handler once; its answer comes twice."""
        return self._and(Fate(times, answers=2))

    def runs_twice(self, *, times: int | None = None) -> Line:
        """Deliver the command twice: the handler runs twice and answers twice."""
        return self._and(Fate(times, runs=2))

    def comes_later(
        self, delay: dt.timedelta, reason: str = "", *, times: int | None = None
    ) -> Line:
        """Answer ``RetryLater``: not now, and no attempt is used."""
        return self._and(
            Fate(times, says=Answer.RETRY_LATER, delay=delay, error=reason)
        )

    def skips(self, reason: str = "nothing to do", *, times: int | None = None) -> Line:
        """Answer ``Skip``."""
        return self._and(Fate(times, says=Answer.SKIPPED, error=reason))

    def defers(
        self,
        answered_after: dt.timedelta | None = None,
        output: Json = None,
        *,
        times: int | None = None,
    ) -> Line:
        """Answer ``Deferred``; success comes from outside, or never (None).

        The handler is not run; see ``answered_from_outside`` for one that defers.
        """
        return self._and(
            Fate(
                times,
                says=Answer.ACCEPTED,
                outside_after=answered_after,
                output=output,
            )
        )

    def returns(
        self,
        output: Json = None,
        *,
        update: Mapping[str, Json] | None = None,
        times: int | None = None,
    ) -> Line:
        """Succeed with this output; the handler is not run."""
        return self._and(
            Fate(times, says=Answer.SUCCEEDED, output=output, update=update or {})
        )

    def answered_from_outside(
        self,
        after: dt.timedelta,
        output: Json = None,
        *,
        times: int | None = None,
    ) -> Line:
        """Run the handler, which answers ``Deferred``; success comes so long after.

        Where the handler does not defer, nothing comes from outside.
        """
        return self._and(Fate(times, outside_after=after, output=output))

    def goes_well(self, *, times: int | None = None) -> Line:
        """Run the handler; to stand between other runs."""
        return self._and(replace(WELL, times=times))

    def _and(self, fate: Fate) -> Line:
        if self.fates and self.fates[-1].times is None:
            raise ValueError(
                f"step {self.step!r}: what comes before never ends; give it times="
            )
        return replace(self, fates=(*self.fates, fate))


def action(step: str) -> Line:
    """Script how a step's action goes."""
    return Line(step, Direction.ACTION)


def undo(step: str) -> Line:
    """Script how a step's compensation goes."""
    return Line(step, Direction.COMPENSATION)
