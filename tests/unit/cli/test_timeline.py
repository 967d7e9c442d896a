"""The history as text: one line per attempt, readable without colour."""

from __future__ import annotations

import datetime as dt

import pytest

from saga_orchestrator.cli.timeline import duration, timeline
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.ports.records import SagaRecord
from tests.support.sagas import ONCE, TWICE, Run, definition, seconds, sequence, step


def _lines(run: Run, *, after: int = 0) -> list[str]:
    return timeline(SagaRecord(run.saga, tuple(run.history)), after=after)


def _after(run: Run, duration: float) -> Run:
    run.now += seconds(duration)
    return run


def test_a_saga_that_is_undone() -> None:
    """Each attempt has its line: when, which, how it went, why; undos are marked."""
    run = Run(definition(*sequence("a", "bb")))
    _after(run, 0.009).succeed("a")
    _after(run, 0.012).refuse("bb", error="card declined", error_type="CardDeclined")
    _after(run, 1.5).succeed("a")
    assert _lines(run) == [
        "    +0.000s    · started order",
        "    +0.009s    ✓ a        attempt 1 #1     9 ms",
        (
            "    +0.021s    ✗ bb       attempt 1 #1    12 ms"
            "  CardDeclined: card declined (refused)"
        ),
        "    +0.021s    · compensating",
        "    +1.521s  ↩ ✓ undo a   attempt 1 #2    1.5 s",
        "    +1.521s    · compensated",
    ]


def test_retries_count_attempts_and_generations() -> None:
    """A failed attempt says when it is made again; the next has its own line."""
    run = Run(definition(step("a", retry=TWICE)))
    run.err("a", error="no answer")
    run.retry_now("a")
    run.err("a", error="again")
    told = _lines(run)
    assert told[1].endswith("no answer; tried again in 1.0 s")
    assert "attempt 2 #2" in told[2]


def test_an_undo_that_gives_up() -> None:
    """A failed undo is a line of its own, and so is the stop for a person."""
    run = Run(definition(*sequence("a", "b", compensation_retry=ONCE)))
    run.succeed("a")
    run.refuse("b")
    run.err("a", error="gone")
    told = _lines(run)
    assert "↩ ✗ undo a" in told[-2]
    assert told[-1].endswith("· failed")


def test_what_an_operator_did() -> None:
    """A request is told with who asked and why, and force is mentioned."""
    run = Run(definition(step("a")))
    run.succeed("a")
    run.compensate(force=True)
    assert any(
        line.endswith("· compensate requested by ann: asked (forced)")
        for line in _lines(run)
    )


def test_what_a_person_did() -> None:
    """Who resolved a step and why is told, with the output, shortened."""
    run = Run(definition(*sequence("a", "b", retry=ONCE), on_failure="park"))
    run.refuse("a")
    run.resolve("a", {"number": 7, "text": "x" * 100})
    line = next(line for line in _lines(run) if "resolved" in line)
    assert '· a: resolved by ann: asked; output {"number": 7, "text": "xxx' in line
    assert line.endswith("x...")


def test_a_wait_that_was_given_up() -> None:
    """Who gave it up and why is told, and when it is tried again."""
    run = Run(definition(step("a", retry=TWICE)))
    _after(run, 2).give_up("a")
    assert _lines(run)[1] == (
        "    +2.000s    ✗ a       attempt 1 #1    2.0 s"
        "  given up by ann: asked; tried again in 1.0 s"
    )


def test_what_was_skipped_put_off_or_given_up() -> None:
    """Every way that an attempt can end is told in words."""
    run = Run(definition(*sequence("a", "b", "c", retry=RetryPolicy(max_attempts=1))))
    run.skip("a", reason="nothing to do")
    run.postpone("b", 5)
    run.retry_now("b")
    run.give_up("b")
    told = "\n".join(_lines(run))
    assert "· a       " in told
    assert "skipped: nothing to do" in told
    assert "asked to come again in 5.0 s" in told
    assert "given up by ann: asked" in told


def test_a_saga_without_steps() -> None:
    """It starts and completes in one moment."""
    assert _lines(Run(definition())) == [
        "    +0.000s    · started order",
        "    +0.000s    · completed",
    ]


def test_only_what_is_new() -> None:
    """Who follows a saga gets each line once, whole."""
    run = Run(definition(*sequence("a", "b")))
    first = _lines(run)
    seen = run.saga.version
    run.succeed("a")
    run.refuse("b")
    assert first + _lines(run, after=seen) == _lines(run)


def test_a_late_success_alarms() -> None:
    """An effect that may stand outside the saga's account is told, with `!`."""
    run = Run(definition(step("a", retry=ONCE), step("b", retry=ONCE)))
    run.err("a")
    assert run.saga.is_compensating
    run.succeed("a", generation=1)
    assert any(
        line.endswith("! a: residual 3: answered too late: its effect may stand")
        for line in _lines(run)
    )


def test_texts_of_users_move_no_cursor() -> None:
    """Control characters in an error are shown, not obeyed."""
    run = Run(definition(step("a", retry=ONCE)))
    run.refuse("a", error="line\nbreak \x1b[31mred")
    line = next(line for line in _lines(run) if "✗" in line)
    assert line.endswith(r"line\nbreak \x1b[31mred (refused)")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (61, "1 min 1 s"),
        (7_260, "2 h 1 min"),
    ],
)
def test_durations(value: float, text: str) -> None:
    """A duration has the precision that a reader wants."""
    assert duration(dt.timedelta(seconds=value)) == text


def test_a_command_that_was_asked_for_again() -> None:
    """It is not told as sent again: an engine may not even have sent it once."""
    run = Run(definition(step("a")))
    run.resend()
    assert _lines(run)[1].endswith("· a: asked for again, in case the broker lost it")


def test_an_undo_that_was_resolved_while_another_is_stuck() -> None:
    """It is told as an undo, though the saga stays failed."""
    run = Run(definition(*sequence("a", "b", "c", compensation_retry=ONCE)))
    run.succeed("a")
    run.succeed("b")
    run.refuse("c")
    run.err("b")
    run.resolve("a")
    assert run.saga.is_failed
    assert _lines(run)[-1].endswith("· undo a: resolved by ann: asked")
