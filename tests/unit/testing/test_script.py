"""Every word of the script: how the run goes, and whether the handler is run."""

from __future__ import annotations

from typing import Any

import pytest

from saga_orchestrator import Deferred, PayloadError, RetryPolicy
from saga_orchestrator.testing import Line, action, undo
from tests.unit.testing.plays import Witness, saga, seconds, step

B = action("b")
LONG_AGO = seconds(-1)

WORDS: dict[str, tuple[Line, str, list[str], int]] = {
    # what is scripted; how the saga ends; its runs; how often the handler ran
    "refuses": (B.refuses("no"), "compensated", ["a", "b: refused", "undo a"], 0),
    "refuses, retryable": (
        B.refuses(retryable=True, times=2),
        "completed",
        ["a", "b: refused", "b: refused", "b"],
        1,
    ),
    "errs": (B.errs(times=2), "completed", ["a", "b: error", "b: error", "b"], 1),
    "errs for ever": (
        B.errs(),
        "compensated",
        ["a", "b: error", "b: error", "b: error", "undo b", "undo a"],
        0,
    ),
    "errs after the effect": (
        B.errs_after_effect(times=1),
        "completed",
        ["a", "b: error", "b"],
        2,
    ),
    "times out": (B.times_out(times=1), "completed", ["a", "b: timeout", "b"], 2),
    "answers late": (B.answers_after(seconds(30)), "completed", ["a", "b"], 1),
    "answers after a resend": (
        B.answers_after(seconds(150)),
        "completed",
        ["a", "b", "b"],
        2,
    ),
    "arrives late": (B.arrives_after(seconds(3600)), "completed", ["a", "b"], 1),
    "arrives too late": (
        B.arrives_after(seconds(90_000)),
        "compensated",
        ["a", "undo b", "undo a", "b: later"],
        0,
    ),
    "never arrives": (B.never_arrives(times=1), "completed", ["a", "b"], 1),
    "loses its answer": (
        B.loses_its_answer(times=1),
        "completed",
        ["a", "b: lost", "b"],
        2,
    ),
    "answers twice": (B.answers_twice(), "completed", ["a", "b"], 1),
    "runs twice": (B.runs_twice(), "completed", ["a", "b", "b"], 2),
    "comes later": (
        B.comes_later(seconds(5), times=2),
        "completed",
        ["a", "b: later", "b: later", "b"],
        1,
    ),
    "skips": (B.skips(), "completed", ["a", "b: skipped"], 0),
    "defers": (
        B.defers(seconds(60)),
        "completed",
        ["a", "b: deferred", "b: answered"],
        0,
    ),
    "defers for ever": (
        B.defers(),
        "compensated",
        ["a", "b: deferred", "undo b", "undo a"],
        0,
    ),
    "returns": (B.returns({"x": 1}), "completed", ["a", "b"], 0),
    "goes well": (
        B.goes_well(times=1).refuses(),
        "completed",
        ["a", "b"],
        1,
    ),
    "one after the other": (
        B.errs(times=1).goes_well(times=1).refuses(),
        "completed",
        ["a", "b: error", "b"],
        1,
    ),
}


@pytest.mark.parametrize(
    ("line", "state", "calls", "runs"), WORDS.values(), ids=WORDS.keys()
)
def test_word(line: Line, state: str, calls: list[str], runs: int) -> None:
    """The script says how runs go; the handler is run where the word says so."""
    witness = Witness()
    play = saga("a", "b", handlers=witness.handlers).when(line)
    play.expect(state, calls=calls)
    assert len(witness.runs) == runs


@pytest.mark.parametrize(
    ("line", "calls"),
    [
        (undo("a").errs(times=2), ["undo a: error", "undo a: error", "undo a"]),
        (undo("a").times_out(times=1), ["undo a: timeout", "undo a"]),
        (undo("a").loses_its_answer(times=1), ["undo a: lost", "undo a"]),
        (undo("a").comes_later(seconds(1), times=1), ["undo a: later", "undo a"]),
        (undo("a").skips(), ["undo a: skipped"]),
        (undo("a").defers(seconds(1)), ["undo a: deferred", "undo a: answered"]),
    ],
    ids=lambda value: value.fates[0].says if isinstance(value, Line) else "",
)
def test_an_undo_has_the_same_words(line: Line, calls: list[str]) -> None:
    """Whatever an action can do, its compensation can."""
    play = saga("a", "b").when(B.refuses(), line)
    play.expect("compensated", calls=["a", "b: refused", *calls])


def test_a_refusal_has_a_name_and_a_reason() -> None:
    """The name is what a retry policy compares, the reason what people read."""
    policy = RetryPolicy(max_attempts=5, non_retryable=("Declined",))
    declined = B.refuses("too much", error_type="Declined", retryable=True)
    saga("a", step("b", retry=policy)).when(declined).expect(
        "compensated", calls=["a", "b: refused", "undo a"], reason="Declined: too much"
    )


def test_an_error_has_a_name_too() -> None:
    """With the effect or without."""
    policy = RetryPolicy(max_attempts=5, non_retryable=("Broken",))
    for line in (B.errs(error_type="Broken"), B.errs_after_effect(error_type="Broken")):
        saga("a", step("b", retry=policy)).when(line).expect(
            "compensated", executed=["a"], reason="step b: Broken: error"
        )


def test_a_timeout_is_told_as_the_executor_does() -> None:
    """Its reason names the step's timeout, and it takes that long."""
    once = step("b", retry=RetryPolicy(max_attempts=1), timeout=seconds(7))
    outcome = (
        saga("a", once)
        .when(B.times_out())
        .expect("compensated", reason="step b: Timeout: no answer within 7 s")
    )
    assert outcome.saga.updated_at - outcome.saga.created_at == seconds(7)


def test_a_stand_in_returns_and_updates() -> None:
    """Later steps read its output and its update of the context."""
    reads = step("c", when={"outputs.b.x": 1, "context.seen": True})
    returned = B.returns({"x": 1}, update={"seen": True, "n": None})
    saga("b", reads).when(returned).expect(
        "completed",
        outputs={"b": {"x": 1}},
        context={"seen": True},
        executed=["b", "c"],
    )


def test_an_answer_from_outside_has_an_output() -> None:
    """The scripted one, whether the handler deferred or the script did."""
    saga("b").when(B.defers(seconds(9), {"by": "bank"})).expect(
        "completed", outputs={"b": {"by": "bank"}}, executed=["b"]
    )
    defers = Witness(signal=Deferred())
    outside = B.answered_from_outside(seconds(9), {"by": "bank"})
    saga("b", handlers=defers.handlers).when(outside).expect(
        "completed",
        outputs={"b": {"by": "bank"}},
        calls=["b: deferred", "b: answered"],
        executed=["b"],
    )
    assert len(defers.runs) == 1


def test_nothing_comes_from_outside_where_nothing_was_deferred() -> None:
    """The handler's own answer stands."""
    outside = B.answered_from_outside(seconds(9), {"by": "bank"})
    saga("b", handlers=Witness().handlers).when(outside).expect(
        "completed", outputs={"b": {"run": 1}}, calls=["b"]
    )


def test_what_comes_after_the_script_goes_well() -> None:
    """Commands that are sent again count as well."""
    lost = B.never_arrives(times=2).refuses(retryable=True, times=1)
    saga("b").when(lost).expect("completed", calls=["b: refused", "b"])


def test_nothing_follows_what_never_ends() -> None:
    """Without ``times`` a line is at its end."""
    with pytest.raises(ValueError, match="step 'b': what comes before never ends"):
        B.errs().refuses()


@pytest.mark.parametrize("times", [0, -1, 1.5, True, "2"])
def test_times_is_a_count(times: Any) -> None:
    """From one."""
    with pytest.raises(ValueError, match="times: must be at least 1, it is"):
        B.refuses(times=times)


@pytest.mark.parametrize("word", ["answers_after", "arrives_after", "comes_later"])
def test_a_delay_is_a_duration(word: str) -> None:
    """Not a number of unknown units, and not in the past."""
    with pytest.raises(TypeError, match=r"5 is no duration; write timedelta\(sec"):
        getattr(B, word)(5)
    with pytest.raises(ValueError, match="in the past"):
        getattr(B, word)(LONG_AGO)


def test_outputs_and_reasons_are_checked_where_they_are_written() -> None:
    """An output is JSON, a reason is text."""
    wrong: Any = {1, 2}
    with pytest.raises(PayloadError, match=r"output\.x: is of type set"):
        B.returns({"x": wrong})
    with pytest.raises(PayloadError, match=r"update\.x: is of type set"):
        B.returns(update={"x": wrong})
    with pytest.raises(PayloadError, match="output: is of type set"):
        B.defers(seconds(1), wrong)
    wrong = ValueError("no")
    with pytest.raises(TypeError, match=r"ValueError\('no'\) is no text"):
        B.refuses(wrong)
