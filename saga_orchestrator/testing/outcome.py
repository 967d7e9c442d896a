"""What a play came to, and how it differs from what was expected."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Unpack

from saga_orchestrator.core.public import PublicEvent
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import Direction
from saga_orchestrator.ports.records import SagaRecord
from saga_orchestrator.testing.call import ANSWERED, Call
from saga_orchestrator.testing.expectation import Expected, check_expected

__all__ = ["Expected", "Outcome", "Unexpected"]

LINES_MAX = 60
"""Of what happened, the last so many lines are told with a difference."""


class Unexpected(AssertionError):
    """The saga did not go as expected; tells every difference, and what happened."""


@dataclass(frozen=True, slots=True, repr=False)
class Outcome:
    """What a play came to. ``print`` it to see what happened.

    Attributes:
        record: the saga, with its history and all that is known of it.
        calls: every run of a handler, in order.
        undo_sagas: the sagas that undo its residuals.
        timeline: what happened, line by line: runs, and what no run tells.
        unused: lines of the script that nothing came of, as ``the action of b``.
            Only of a play to its end: one that is run by and by may yet come to
            them; ``Play.unused`` tells its own.
        events: what its handlers emitted and is published, in order, with ``type``
            and ``payload``.
    """

    record: SagaRecord
    calls: tuple[Call, ...]
    undo_sagas: tuple[Saga, ...] = ()
    timeline: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    events: tuple[PublicEvent, ...] = ()

    def __repr__(self) -> str:
        """Return what fits a line: a record alone has hundreds of fields."""
        runs = ", ".join(call.text for call in self.calls)
        return f"<Outcome {self.saga.name}: {self.saga.state}; {runs}>"

    def __str__(self) -> str:
        """Return what happened, and how it ended."""
        return "\n".join(self._told())

    @property
    def saga(self) -> Saga:
        """The saga, with its context and outputs."""
        return self.record.saga

    @property
    def executed(self) -> list[str]:
        """Steps whose action went well, in order; repeated where it ran again."""
        return self._well(Direction.ACTION)

    @property
    def undone(self) -> list[str]:
        """Steps whose compensation went well, in order."""
        return self._well(Direction.COMPENSATION)

    def expect(self, state: str, **expected: Unpack[Expected]) -> Outcome:
        """Hold the outcome against what is expected.

        Args:
            state: the saga's, as ``compensated``.
            expected: the rest, as ``Expected`` names it.

        Returns:
            The outcome itself, for more assertions.

        Raises:
            Unexpected: tells every difference, each line of the script that nothing
                came of, and what happened.
        """
        __tracebackhide__ = True  # pytest then shows the line of the test
        check_expected(self.saga.plan, state, expected)
        different = [
            f"  {what}: expected {wanted!r}, is {actual!r}"
            for what, wanted, actual in self._compared(state, expected)
            if wanted != actual
        ]
        # A fault that never happened is a mistake of the test: it shows nothing.
        different += [f"  never used: {line}" for line in self.unused]
        if different:
            told = [f"saga {self.saga.name}:", *different, "what happened:"]
            raise Unexpected("\n".join([*told, *self._told(LINES_MAX)]))
        return self

    def _compared(
        self, state: str, expected: Expected
    ) -> Iterator[tuple[str, object, object]]:
        """Yield (what, expected, actual) of all that was asked for."""
        saga = self.saga
        yield "state", str(state), saga.state.value
        yield "residuals", expected.get("residuals", 0), saga.residuals
        if "executed" in expected:
            yield "executed", *_ordered(expected["executed"], self.executed)
        if "undone" in expected:
            yield "undone", *_ordered(expected["undone"], self.undone)
        if "calls" in expected:
            actual = [call.text for call in self.calls]
            yield "calls", *_ordered(expected["calls"], actual)
        if "context" in expected:
            yield "context", dict(expected["context"]), dict(saga.context)
        if "reason" in expected:
            reason = expected["reason"]
            found = bool(reason) and reason in saga.reason
            yield "reason", reason, reason if found else saga.reason
        for name, wanted in expected.get("steps", {}).items():
            yield f"step {name}", str(wanted), saga.status(name).state.value
        for name, output in expected.get("outputs", {}).items():
            yield f"output of {name}", output, saga.outputs.get(name, _NO_OUTPUT)

    def _well(self, direction: Direction) -> list[str]:
        return [
            call.step
            for call in self.calls
            if call.direction is direction and call.result in ("", ANSWERED)
        ]

    def _told(self, lines_max: int | None = None) -> Iterator[str]:
        shown = self.timeline[-lines_max:] if lines_max else self.timeline
        if len(shown) < len(self.timeline):
            yield f"  … {len(self.timeline) - len(shown)} lines before …"
        yield from shown
        yield f"  the saga is {self.saga.state}: {self.saga.reason}".rstrip(": ")


class _NoOutput:
    """Stands where a step has no output; None would be one."""

    def __repr__(self) -> str:
        """Say so."""
        return "no output"


_NO_OUTPUT = _NoOutput()


@dataclass(frozen=True, slots=True, repr=False)
class _AnyOrder:
    """Runs, sorted: their order does not matter, but their number does."""

    runs: tuple[str, ...]

    def __repr__(self) -> str:
        """Return a set in which what ran twice is there twice."""
        return f"{{{', '.join(map(repr, self.runs))}}}"


def _ordered(expected: Collection[str], actual: list[str]) -> tuple[object, object]:
    if isinstance(expected, set | frozenset):
        return _AnyOrder(tuple(sorted(expected))), _AnyOrder(tuple(sorted(actual)))
    return list(expected), actual
