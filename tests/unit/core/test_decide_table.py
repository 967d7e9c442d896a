"""Every cell of the event table: what an event does in each state of a saga.

A row reads: the situation, the event, then what it leads to: the saga's state,
the steps' states by their first letters, and what it sent. ``IGNORED`` says
that the answer changed nothing and was counted, ``RESIDUAL`` that it also left
a record, ``REFUSED`` that the operator got an error, ``NOTHING`` that nothing
at all happened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from saga_orchestrator.core.decision import Decision
from saga_orchestrator.errors import TransitionRefused
from tests.support.sagas import Run
from tests.unit.core import situations as at

IGNORED, RESIDUAL, REFUSED, NOTHING = "ignored", "residual", "refused", "nothing"

_LETTERS = {
    "pending": "P", "started": "S", "completed": "C", "failed": "F", "skipped": "K",
    "compensating": "U", "compensated": "X",
}  # fmt: skip


def _row(situation: Callable[[], Run], event: str, *arguments: Any) -> Any:
    *given, expected = arguments
    options = given[0] if given else {}
    words = [situation.__name__, event, *(f"{k}={v}" for k, v in options.items())]
    return pytest.param(situation, event, options, expected, id="-".join(words))


def _b(**options: Any) -> dict[str, Any]:
    return {"step": "b", **options}


def _c(**options: Any) -> dict[str, Any]:
    return {"step": "c", **options}


def _right(**options: Any) -> dict[str, Any]:
    return {"step": "right", **options}


_ACTION_SUCCEEDED = [
    # started: the open step completes, whichever dispatch says so; the first wins
    _row(at.sent, "succeed", _b(), "started CCS do.c#1"),
    _row(at.waiting, "succeed", _b(), "started CCS do.c#1"),
    _row(at.retried, "succeed", _b(), "started CCS do.c#1"),
    _row(at.retried, "succeed", _b(generation=1), "started CCS do.c#1"),
    _row(at.sent, "succeed", {"step": "a"}, IGNORED),
    _row(at.skipped, "succeed", _b(generation=1), RESIDUAL),
    # compensating: its undo was not sent, so it joins what is undone
    _row(at.aborted, "succeed", _right(), "compensating CFU undo.right#2"),
    _row(
        at.aborted_after_retry,
        "succeed",
        _right(generation=1),
        "compensating CFU undo.right#3",
    ),
    # compensating: its undo was sent
    _row(at.undoing, "succeed", _c(generation=1), RESIDUAL),
    _row(at.undoing_after_retry, "succeed", _b(generation=1), RESIDUAL),
    _row(at.undoing_after_retry, "succeed", _b(generation=2), IGNORED),
    # failed: its undo was not sent, so the step completes and the saga stays
    _row(at.parked, "succeed", _b(), "failed CCP"),
    _row(at.failed_with_open_question, "succeed", _b(), "failed CCU"),
    # failed: its undo was sent
    _row(at.undo_halted, "succeed", _c(generation=1), RESIDUAL),
    _row(at.undo_halted, "succeed", _b(generation=1), IGNORED),
    # ended
    _row(at.completed, "succeed", _b(), IGNORED),
    _row(at.completed_with_skip, "succeed", _b(generation=1), RESIDUAL),
    _row(at.compensated, "succeed", _b(generation=1), IGNORED),
    _row(at.compensated, "succeed", _c(), RESIDUAL),
]

_ACTION_FAILED = [
    # started: retry, else abort; past the pivot or on_failure="park": stop
    _row(at.sent, "err", _b(), "started CSP"),
    _row(at.retried, "err", _b(), "compensating CUP undo.b#3"),
    _row(at.sent, "refuse", _b(retryable=True), "started CSP"),
    _row(at.sent, "refuse", _b(), "compensating UFP undo.a#2"),
    _row(at.past_pivot, "err", _c(), "failed CCF"),
    _row(at.past_pivot, "refuse", _c(), "failed CCF"),
    # started: another dispatch than the current one
    _row(at.retried, "err", _b(generation=1), IGNORED),
    _row(at.retried, "refuse", _b(generation=1), IGNORED),
    _row(at.waiting, "err", _b(), IGNORED),
    _row(at.sent, "err", {"step": "a"}, IGNORED),
    # compensating: the step failed, there is no retry
    _row(at.aborted, "err", _right(), "compensating CFU undo.right#2"),
    _row(at.aborted, "refuse", _right(retryable=True), "compensating UFF undo.root#2"),
    _row(at.aborted_after_retry, "err", _right(generation=1), IGNORED),
    _row(at.undoing, "err", _c(generation=1), IGNORED),
    # failed, ended
    _row(at.parked, "err", _b(), IGNORED),
    _row(at.failed_with_open_question, "refuse", _b(), IGNORED),
    _row(at.completed, "err", _b(), IGNORED),
    _row(at.compensated, "err", _c(), IGNORED),
]

_UNDO_SUCCEEDED = [
    _row(at.undoing, "succeed", _b(), "compensating UXX undo.a#2"),
    _row(at.undo_waiting, "succeed", _b(), "compensating UXX undo.a#2"),
    _row(at.undo_halted, "succeed", _b(), "failed CXX"),
    _row(at.undo_halted, "succeed", _b(generation=2), "failed CXX"),
    _row(at.undo_halted, "succeed", _c(), IGNORED),
    _row(at.compensated, "succeed", _b(), IGNORED),
]

_UNDO_FAILED = [
    _row(at.undoing, "err", _b(), "compensating CUX"),
    _row(at.undoing, "refuse", _b(), "failed CUX"),
    _row(at.undo_waiting, "err", _b(), IGNORED),
    _row(at.undoing, "err", _c(), IGNORED),
    _row(at.undo_halted, "err", _b(), IGNORED),
    _row(at.undo_halted, "refuse", _b(generation=2), IGNORED),
    _row(at.compensated, "err", _b(), IGNORED),
]

_COMPENSATE = [
    _row(at.sent, "compensate", "compensating CSP"),
    _row(at.waiting, "compensate", "compensating CUP undo.b#2"),
    _row(at.past_pivot, "compensate", REFUSED),
    _row(at.past_pivot, "compensate", {"force": True}, "compensating CCS"),
    _row(at.aborted, "compensate", NOTHING),
    _row(at.undoing, "compensate", {"force": True}, NOTHING),
    _row(at.parked, "compensate", "compensating CUP undo.b#2"),
    _row(
        at.parked_past_pivot, "compensate", {"force": True}, "compensating CCU undo.c#2"
    ),
    _row(at.undo_halted, "compensate", "compensating CUX undo.b#4"),
    _row(at.failed_with_open_question, "compensate", "compensating CFU undo.c#3"),
    _row(at.compensated, "compensate", NOTHING),
    _row(at.compensated, "compensate", {"force": True}, NOTHING),
    _row(at.completed, "compensate", REFUSED),
    _row(at.completed, "compensate", {"force": True}, "compensating CCU undo.c#2"),
]

_RETRY = [
    _row(at.sent, "retry", REFUSED),
    _row(at.undoing, "retry", REFUSED),
    _row(at.parked, "retry", "started CSP do.b#2"),
    _row(at.parked_past_pivot, "retry", "started CCS do.c#2"),
    _row(at.undo_halted, "retry", "compensating CUX undo.b#4"),
    _row(at.failed_with_open_question, "retry", "compensating CFU undo.c#3"),
    _row(at.completed, "retry", REFUSED),
    _row(at.compensated, "retry", REFUSED),
]

_RESOLVE = [
    _row(at.sent, "resolve", _b(), REFUSED),
    _row(at.undoing, "resolve", _b(), REFUSED),
    _row(at.parked, "resolve", _b(), "started CCS do.c#1"),
    _row(at.parked, "resolve", {"step": "a"}, REFUSED),
    _row(at.parked, "resolve", _c(), REFUSED),
    _row(at.parked, "resolve", {"step": "x"}, REFUSED),
    _row(at.parked_past_pivot, "resolve", _c(), "completed CCC"),
    _row(at.undo_halted, "resolve", _b(), "compensating UXX undo.a#2"),
    _row(at.undo_halted, "resolve", _c(), REFUSED),
    _row(at.completed, "resolve", _b(), REFUSED),
    _row(at.compensated, "resolve", _b(), REFUSED),
]

_GIVE_UP = [
    _row(at.sent, "give_up", _b(), "started CSP"),
    _row(at.retried, "give_up", _b(), "compensating CUP undo.b#3"),
    _row(at.past_pivot, "give_up", _c(), "failed CCF"),
    _row(at.waiting, "give_up", _b(), REFUSED),
    _row(at.sent, "give_up", {"step": "a"}, REFUSED),
    _row(at.sent, "give_up", {"step": "x"}, REFUSED),
    _row(at.aborted, "give_up", _right(), "compensating CFU undo.right#2"),
    _row(at.undoing, "give_up", _b(), "compensating CUX"),
    _row(at.parked, "give_up", _b(), REFUSED),
    _row(at.undo_halted, "give_up", _b(), REFUSED),
    _row(at.completed, "give_up", _b(), REFUSED),
    _row(at.compensated, "give_up", _b(), REFUSED),
]

_ANYTHING_ELSE = [
    _row(situation, event, options, IGNORED)
    for situation, step in (
        (at.completed, "b"),
        (at.compensated, "c"),
        (at.parked, "b"),
        (at.undo_halted, "b"),
        (at.waiting, "b"),
    )
    for event, options in (
        ("postpone", {"step": step, "delay": 5}),
        ("accept", {"step": step}),
        ("beat", {"step": step}),
    )
] + [
    _row(at.completed, "skip", _b(), IGNORED),
    _row(at.compensated, "skip", _b(), IGNORED),
    _row(at.parked, "skip", _b(), IGNORED),
    _row(at.undoing, "skip", _c(generation=1), IGNORED),
]


@pytest.mark.parametrize(
    ("situation", "event", "options", "expected"),
    [
        *_ACTION_SUCCEEDED,
        *_ACTION_FAILED,
        *_UNDO_SUCCEEDED,
        *_UNDO_FAILED,
        *_COMPENSATE,
        *_RETRY,
        *_RESOLVE,
        *_GIVE_UP,
        *_ANYTHING_ELSE,
    ],
)
def test_cell(
    situation: Callable[[], Run], event: str, options: dict[str, Any], expected: str
) -> None:
    """The cell of the table holds."""
    run = situation()
    before, residuals = run.saga, len(run.residuals)
    decision = getattr(run, event)(**options)
    if expected in (IGNORED, RESIDUAL):
        _check_ignored(run, decision, ignored=before.ignored + 1)
        assert run.states == [status.state for status in before.steps]
        assert run.saga.state is before.state
        assert len(run.residuals) - residuals == (expected == RESIDUAL)
        assert run.saga.residuals == before.residuals + (expected == RESIDUAL)
    elif expected == REFUSED:
        assert isinstance(decision.refusal, TransitionRefused)
        assert (decision.saga, decision.changed) == (before, False)
    elif expected == NOTHING:
        assert decision == Decision(before)
    else:
        letters = "".join(_LETTERS[state] for state in run.states)
        assert " ".join([run.saga.state, letters, *run.sent]) == expected
        assert (decision.ignored, decision.residual) == (None, None)


def _check_ignored(run: Run, decision: Decision, *, ignored: int) -> None:
    assert decision.ignored is not None
    assert decision.ignored.number == run.saga.ignored == ignored
    assert decision.ignored.reason
    assert decision.dispatches == ()


@pytest.mark.parametrize(
    ("situation", "expected"),
    [
        (at.sent, "compensating"),
        (at.aborted, "unchanged"),
        (at.undoing, "unchanged"),
        (at.undo_halted, "unchanged"),
        (at.parked, "unchanged"),
        (at.completed, "unchanged"),
        (at.compensated, "unchanged"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_deadline_cell(situation: Callable[[], Run], expected: str) -> None:
    """A deadline aborts a started saga and nothing else."""
    run = situation()
    run.saga = replace(run.saga, deadline_at=run.now)
    state = run.saga.state
    run.wait(0)
    if expected == "unchanged":
        assert (run.saga.state, run.last.history) == (state, ())
    else:
        assert run.saga.state == expected
