"""What an outcome tells, and every way in which it may differ."""

from __future__ import annotations

from typing import Any

import pytest

from saga_orchestrator import SagaState, StepState
from saga_orchestrator.testing import (
    Expected,
    Outcome,
    Unexpected,
    action,
    operator,
    undo,
)
from tests.unit.testing.plays import saga, seconds, step

REFUSED = saga("a", "b", "c").when(
    action("a").returns({"x": 1}, update={"seen": True}),
    action("c").refuses("sold out", error_type="NoStock"),
)
CALLS = ["a", "b", "c: refused", "undo b", "undo a"]
HAPPENED = """\
what happened:
     +0.000s  a
     +0.000s  b
     +0.000s  c: refused  NoStock: sold out
     +0.000s  · compensating
     +0.000s  undo b
     +0.000s  undo a
     +0.000s  · compensated
  the saga is compensated: step c: NoStock: sold out"""


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    """A saga of three steps that was undone."""
    return REFUSED.expect("compensated")


def test_all_that_may_be_expected(outcome: Outcome) -> None:
    """Each key holds; states may be given as text or as themselves."""
    everything: Expected = {
        "executed": ["a", "b"],
        "undone": ["b", "a"],
        "calls": CALLS,
        "steps": {"a": "compensated", "b": StepState.COMPENSATED, "c": "failed"},
        "outputs": {"a": {"x": 1}, "b": None},
        "context": {"n": 1, "seen": True},
        "reason": "sold out",
        "residuals": 0,
    }
    assert outcome.expect("compensated", **everything) is outcome
    assert outcome.expect(SagaState.COMPENSATED) is outcome


def test_a_set_is_expected_in_any_order(outcome: Outcome) -> None:
    """A list in its own; tuples are lists."""
    outcome.expect("compensated", undone={"a", "b"}, executed=("a", "b"))
    outcome.expect("compensated", calls=frozenset(CALLS))


DIFFERENCES: list[tuple[str, dict[str, Any], str]] = [
    ("completed", {}, "state: expected 'completed', is 'compensated'"),
    ("compensated", {"residuals": 2}, "residuals: expected 2, is 0"),
    ("compensated", {"executed": ["a"]}, "executed: expected ['a'], is ['a', 'b']"),
    (
        "compensated",
        {"undone": ["a", "b"]},
        "undone: expected ['a', 'b'], is ['b', 'a']",
    ),
    ("compensated", {"undone": {"a"}}, "undone: expected {'a'}, is {'a', 'b'}"),
    ("compensated", {"undone": set()}, "undone: expected {}, is {'a', 'b'}"),
    ("compensated", {"undone": []}, "undone: expected [], is ['b', 'a']"),
    ("compensated", {"calls": ["a"]}, f"calls: expected ['a'], is {CALLS}"),
    (
        "compensated",
        {"steps": {"c": "pending"}},
        "step c: expected 'pending', is 'failed'",
    ),
    (
        "compensated",
        {"outputs": {"a": {"x": 2}}},
        "output of a: expected {'x': 2}, is {'x': 1}",
    ),
    (
        "compensated",
        {"outputs": {"c": None}},
        "output of c: expected None, is no output",
    ),
    (
        "compensated",
        {"context": {"n": 1}},
        "context: expected {'n': 1}, is {'n': 1, 'seen': True}",
    ),
    (
        "compensated",
        {"reason": "broke"},
        "reason: expected 'broke', is 'step c: NoStock: sold out'",
    ),
    (
        "compensated",
        {"reason": ""},
        "reason: expected '', is 'step c: NoStock: sold out'",
    ),
]


@pytest.mark.parametrize(("state", "expected", "difference"), DIFFERENCES)
def test_a_difference_tells_all(
    outcome: Outcome, state: str, expected: Expected, difference: str
) -> None:
    """What was expected, what is, and everything that happened."""
    with pytest.raises(Unexpected) as info:
        outcome.expect(state, **expected)
    assert str(info.value) == f"saga sample:\n  {difference}\n{HAPPENED}"


def test_all_differences_are_told_at_once(outcome: Outcome) -> None:
    """One line each, in one error, which pytest takes for a failed assertion."""
    with pytest.raises(AssertionError) as info:
        outcome.expect("failed", undone=[], reason="", steps={"a": "failed"})
    lines = str(info.value).splitlines()
    assert [line.partition(":")[0] for line in lines[:5]] == [
        "saga sample",
        "  state",
        "  undone",
        "  reason",
        "  step a",
    ]


MISTAKES: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    (
        "compensate",
        {},
        ValueError,
        (
            "expect: state: there is no 'compensate'; there is started, completed, "
            "compensating, compensated, failed"
        ),
    ),
    (
        "compensated",
        {"done": ["a"], "undo": []},
        TypeError,
        (
            "expect: no such key: done, undo; they are executed, undone, calls, "
            "steps, outputs, context, reason, residuals"
        ),
    ),
    (
        "compensated",
        {"executed": "a"},
        TypeError,
        (
            "expect: executed: must be a list, expected in its order, or a set, "
            "expected in any; it is 'a'"
        ),
    ),
    ("compensated", {"undone": {"a": 1}}, TypeError, "undone: must be a list"),
    ("compensated", {"calls": "undo a"}, TypeError, "calls: must be a list"),
    ("compensated", {"calls": None}, TypeError, "calls: must be a list"),
    (
        "compensated",
        {"calls": ["a", "c: refuse"]},
        ValueError,
        (
            "expect: calls: c: there is no 'refuse'; there is refused, error, skipped, "
            "later, deferred, superseded, timeout, lost, answered"
        ),
    ),
    (
        "compensated",
        {"calls": {"undo x: refused"}},
        ValueError,
        "expect: calls: there is no 'x'; there is a, b, c",
    ),
    (
        "compensated",
        {"calls": ["c: "]},
        ValueError,
        "expect: calls: c: there is no ''; there is refused,",
    ),
    (
        "compensated",
        {"undone": ["x", "a"]},
        ValueError,
        "expect: undone: there is no 'x'; there is a, b, c",
    ),
    (
        "compensated",
        {"steps": {"x": "failed"}},
        ValueError,
        "expect: steps: there is no 'x'; there is a, b, c",
    ),
    (
        "compensated",
        {"outputs": {"x": 1}},
        ValueError,
        "expect: outputs: there is no 'x'; there is a, b, c",
    ),
    (
        "compensated",
        {"steps": {"a": "undone"}},
        ValueError,
        (
            "expect: steps: a: there is no 'undone'; there is pending, started, "
            "completed, failed, skipped, compensating, compensated"
        ),
    ),
]


@pytest.mark.parametrize(("state", "expected", "error", "message"), MISTAKES)
def test_a_misspelt_expectation_is_no_difference(
    outcome: Outcome,
    state: str,
    expected: Any,
    error: type[Exception],
    message: str,
) -> None:
    """It is a mistake of the test, and says what may be written."""
    with pytest.raises(error) as info:
        outcome.expect(state, **expected)
    assert message in str(info.value)


def test_it_prints_what_happened(outcome: Outcome) -> None:
    """``print`` tells the play, ``repr`` fits a line."""
    assert str(outcome) == HAPPENED.removeprefix("what happened:\n")
    assert repr(outcome) == (
        "<Outcome sample: compensated; a, b, c: refused, undo b, undo a>"
    )


def test_what_runs_do_not_tell_is_told_too() -> None:
    """Resends, limits, deadlines, people, residuals and their undo."""
    outcome = (
        saga("a", step("b", limit=seconds(100), timeout=seconds(10)))
        .when(
            action("b").answers_after(seconds(150)),
            undo("a").refuses(times=1),
            undo("b").goes_well(times=1).skips(),
            operator.resolves("a"),
            operator.undoes_residuals(),
        )
        .expect("compensated", residuals=0)
    )
    assert (
        str(outcome)
        == """\
     +0.000s  a
     +0.000s  b
    +70.000s  · b: unanswered, sent again
    +70.000s  b
   +100.000s  · b: its limit passed
   +100.000s  · compensating
   +100.000s  undo b
   +100.000s  undo a: refused  StepFailed: refused
   +100.000s  · failed
   +150.000s  · b: succeeded too late: a residual
   +220.000s  · b: its answer changes nothing: repeated
   +220.000s  · a: an operator resolved it
   +220.000s  · compensating
   +220.000s  · compensated
   +220.000s  · b: an operator has the residual undone
   +220.000s  · the residual's undo: an operator compensates
   +220.000s  · the residual's undo: compensating
   +220.000s  undo b: skipped  nothing to do
   +220.000s  · the residual's undo: compensated
  the saga is compensated: step b: its limit passed; undo of step a: StepFailed: \
refused"""
    )


def test_conditions_are_told() -> None:
    """A step that was left out, or could not be judged, has no run."""
    outcome = saga("a", step("b", when={"context.n": 2})).expect(
        "completed", calls=["a"], steps={"b": "skipped"}
    )
    assert outcome.timeline[1].endswith("· b: skipped: when: context.n is 1, not 2")
    outcome = saga("a", step("b", when={"context.m": 2})).expect("compensated")
    assert outcome.timeline[1].endswith("· b: when: 'context.m' has no 'm'")


def test_what_repeats_is_one_line() -> None:
    """And of very long plays only the end is told with a difference."""
    lost = saga("a").when(action("a").never_arrives())
    outcome = lost.expect("compensated", calls=["undo a"])
    assert outcome.timeline[0].endswith("· a: unanswered, sent again  (98 times)")
    busy = saga("a").when(action("a").loses_its_answer())
    with pytest.raises(Unexpected) as info:
        busy.expect("completed")
    lines = str(info.value).splitlines()
    assert lines[3] == "  … 141 lines before …"
    assert len(lines) == 4 + 60 + 1


def test_a_step_that_ran_twice_is_told_twice() -> None:
    """Also in a set: it is in any order, not of any number."""
    twice = saga("a").when(action("a").runs_twice())
    twice.expect("completed", executed=["a", "a"])
    with pytest.raises(
        Unexpected, match=r"executed: expected \{'a'\}, is \{'a', 'a'\}"
    ):
        twice.expect("completed", executed={"a"})


def test_a_run_has_a_time_an_attempt_and_a_generation() -> None:
    """For assertions that no key of ``expect`` is for."""
    outcome = saga("a").when(action("a").errs("gone", times=1)).expect("completed")
    first, second = outcome.calls
    assert (first.text, first.why) == ("a: error", "RuntimeError: gone")
    assert (first.attempt, first.generation) == (1, 1)
    assert (second.attempt, second.generation) == (2, 2)
    assert first.at < second.at
