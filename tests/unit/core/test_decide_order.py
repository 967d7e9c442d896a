"""The order of things: forward by dependency, back by descending success."""

from __future__ import annotations

from typing import Any

import pytest

from saga_orchestrator.core.definition import Step
from saga_orchestrator.core.states import Outcome
from tests.support.sagas import ONCE, TWICE, Run, definition, seconds, sequence, step


def _fan(**options: Any) -> Run:
    """Return a saga whose root is done and whose left and right are in flight."""
    sides = [step(name, depends_on=["root"], retry=TWICE) for name in ("left", "right")]
    run = Run(
        definition(
            step("root"), *sides, step("end", depends_on=["left", "right"]), **options
        )
    )
    run.succeed("root")
    return run


def _undone(run: Run) -> list[str]:
    """Return the steps in the order in which their undo was first sent."""
    undos = (told for told in run.all_sent if told.startswith("undo."))
    return list(dict.fromkeys(told[5:].partition("#")[0] for told in undos))


def test_sequence_goes_one_by_one() -> None:
    """Each step is sent when the one before it is done."""
    run = Run(definition(*sequence("a", "b", "c")))
    run.finish()
    assert run.all_sent == ["do.a#1", "do.b#1", "do.c#1"]
    assert run.saga.state == "completed"
    assert run.saga.ended_at == run.now


def test_independent_steps_run_in_parallel() -> None:
    """A step is sent as soon as all it depends on is done, not before."""
    run = _fan()
    assert run.sent == ["do.left#1", "do.right#1"]
    run.succeed("right")
    assert run.sent == []
    run.succeed("left")
    assert run.sent == ["do.end#1"]


def test_step_without_action_is_done_in_its_turn() -> None:
    """A joint has nothing to send; what waits for it goes on at once."""
    run = Run(definition(step("a"), Step("joint"), step("b")))
    run.succeed("a")
    assert (run.states, run.sent) == (["completed", "completed", "started"], ["do.b#1"])


def test_sequence_is_undone_last_in_first_out() -> None:
    """For a sequence undo is exactly the reverse."""
    run = Run(definition(*sequence("a", "b", "c", "d", retry=ONCE)))
    for name in "abc":
        run.succeed(name)
    run.refuse("d")
    run.finish()
    assert _undone(run) == ["c", "b", "a"]
    assert run.saga.state == "compensated"


def test_unknown_last_step_is_undone_first() -> None:
    """It was dispatched by the success before it, so it comes after it."""
    run = Run(definition(*sequence("a", "b", "c", retry=ONCE)))
    run.succeed("a")
    run.succeed("b")
    run.err("c")
    run.finish()
    assert _undone(run) == ["c", "b", "a"]


def test_refused_step_that_is_always_undone_is_undone_first() -> None:
    """The same holds for a refused step with ``undo_failed="always"``."""
    run = Run(definition(step("a"), step("b", undo_failed="always")))
    run.succeed("a")
    run.refuse("b")
    run.finish()
    assert _undone(run) == ["b", "a"]


def test_parallel_unknowns_are_undone_before_what_caused_them() -> None:
    """Both sides were dispatched by root's success, so root comes last."""
    run = _fan()
    run.err("left")
    run.give_up("right")
    run.compensate()
    run.finish()
    assert sorted(_undone(run)[:2]) == ["left", "right"]
    assert _undone(run)[2:] == ["root"]


def test_undo_order_is_that_of_success() -> None:
    """In a DAG the step that succeeded last is undone first."""
    run = _fan()
    run.succeed("right")
    run.succeed("left")
    run.refuse("end")
    run.finish()
    assert _undone(run) == ["left", "right", "root"]


def test_unknown_counts_from_its_last_dispatch() -> None:
    """Left was sent again after right's success, so it is undone before it."""
    run = _fan()
    run.err("left")
    run.succeed("right")
    run.retry_now("left")
    run.err("left")
    run.finish()
    assert _undone(run) == ["left", "right", "root"]


def test_one_undo_at_a_time() -> None:
    """The next undo is sent when the one before it is acknowledged."""
    run = Run(definition(*sequence("a", "b", "c")))
    run.succeed("a")
    run.succeed("b")
    run.refuse("c")
    assert run.sent == ["undo.b#2"]
    run.succeed("b")
    assert run.sent == ["undo.a#2"]


def test_parallel_compensation_sends_all_at_once() -> None:
    """Then the saga is compensated when the last one is acknowledged."""
    run = Run(definition(*sequence("a", "b", "c"), parallel_compensation=True))
    run.succeed("a")
    run.succeed("b")
    run.refuse("c")
    assert sorted(run.sent) == ["undo.a#2", "undo.b#2"]
    run.succeed("a")
    assert run.saga.state == "compensating"
    run.succeed("b")
    assert run.saga.state == "compensated"


def test_late_success_joins_a_parallel_compensation() -> None:
    """Its undo goes out at once, beside the others."""
    run = _fan(parallel_compensation=True)
    run.err("left")
    run.accept("right", heartbeat=False)
    run.compensate()
    run.give_up("right")
    assert sorted(run.sent) == ["undo.left#2", "undo.right#2", "undo.root#2"]


def test_running_steps_are_awaited_before_undo() -> None:
    """At an abort nothing is undone while an action may still be at work."""
    run = _fan()
    run.refuse("left")
    assert (run.saga.state, run.sent) == ("compensating", [])
    run.succeed("right")
    assert run.sent == ["undo.right#2"]


def test_running_steps_are_awaited_to_their_limit() -> None:
    """A lost worker does not hold the undo for ever: its outcome is unknown."""
    run = _fan()
    run.refuse("left")
    run.wait(24 * 3600)
    assert run.status("right").outcome is Outcome.UNKNOWN
    assert run.sent == ["undo.right#2"]


def test_no_retry_after_the_abort() -> None:
    """A step that waits to retry settles at once, unsent."""
    run = _fan()
    run.err("right")
    run.refuse("left")
    assert run.states == ["completed", "failed", "compensating", "pending"]
    assert run.sent == ["undo.right#2"]
    run.finish()
    assert run.all_sent.count("do.right#1") == 1
    assert "do.right#2" not in run.all_sent


def test_step_that_was_put_off_settles_as_unknown() -> None:
    """Nobody knows what its handler began before it answered ``RetryLater``."""
    run = _fan()
    run.postpone("right", 60)
    run.refuse("left")
    assert run.sent == ["undo.right#2"]


@pytest.mark.parametrize("leave", ["abort", "limit"])
def test_put_off_after_a_refusal_is_unknown(leave: str) -> None:
    """``RetryLater`` opens again what an earlier attempt had refused.

    Another copy of the command may have had its effect before its process died.
    """
    run = _fan()
    run.refuse("right", retryable=True)
    run.retry_now("right")
    run.postpone("right", 3600)
    if leave == "abort":
        run.refuse("left")
    else:
        run.succeed("left")
        run.wait(3600)
        run.postpone("right", 48 * 3600)
        run.wait(24 * 3600)
    assert run.status("right").outcome is Outcome.UNKNOWN
    assert run.sent == ["undo.right#3" if leave == "abort" else "undo.right#4"]


def test_step_put_off_after_the_abort() -> None:
    """``RetryLater`` after the abort is no retry: the step failed, unknown."""
    run = _fan()
    run.refuse("left")
    run.postpone("right", 60)
    assert run.sent == ["undo.right#2"]


@pytest.mark.parametrize("answer", ["succeed", "skip", "refuse", "err"])
def test_pending_steps_stay_pending(answer: str) -> None:
    """No answer after the abort sends a step that was not sent before."""
    run = _fan()
    run.refuse("left")
    getattr(run, answer)("right")
    run.finish()
    assert run.states[3] == "pending"
    assert not any(told.startswith("do.end") for told in run.all_sent)
    assert run.saga.state == "compensated"


def test_step_without_compensation_is_passed_over() -> None:
    """It stays completed, and nothing is recorded as undone that was not."""
    run = Run(definition(step("a"), step("b", compensation=""), step("c")))
    run.succeed("a")
    run.succeed("b")
    run.refuse("c")
    assert run.sent == ["undo.a#2"]
    run.finish()
    assert run.states == ["compensated", "completed", "failed"]


def test_nothing_to_undo() -> None:
    """The saga was compensating for a moment all the same."""
    run = Run(definition(step("a")))
    run.refuse("a")
    assert [entry.state for entry in run.history] == [
        "started", "compensating", "compensated",
    ]  # fmt: skip
    assert run.saga.state == "compensated"


def test_late_success_opens_no_branch_after_the_end() -> None:
    """No saga is ever resurrected; what the late answer left is told once."""
    run = Run(definition(step("a", limit=seconds(60))))
    run.wait(60)
    run.succeed("a")
    assert run.saga.state == "compensated"
    run.succeed("a", {"id": 7}, generation=1)
    run.succeed("a", {"id": 7}, generation=1)
    assert run.saga.state == "compensated"
    (residual,) = run.residuals
    assert (residual.fence, residual.output) == (run.fence("a", 1), {"id": 7})
    assert (residual.number, residual.at) == (run.saga.version, run.now)
    assert (run.saga.residuals, run.saga.ignored) == (1, 2)
