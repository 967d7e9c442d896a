"""When an undo fails: retried, never presumed done, then halt or continue."""

from __future__ import annotations

from typing import Any

import pytest

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.core.states import Phase
from tests.support.sagas import TWICE, Run, definition, seconds, sequence, step
from tests.unit.core import situations as at


def _undoing(**options: Any) -> Run:
    """Return a saga of three whose last was refused and whose b is being undone."""
    steps = sequence("a", "b", "c", compensation_retry=TWICE)
    run = Run(definition(*steps, **options))
    run.succeed("a")
    run.succeed("b")
    run.refuse("c")
    return run


def _give_up_undo(run: Run, name: str) -> None:
    run.err(name)
    run.retry_now(name)
    run.err(name)


def test_undo_that_errs_is_retried() -> None:
    """An exception or a timeout is no proof of anything."""
    run = _undoing()
    run.err("b")
    assert (run.status("b").phase, run.states[1]) == (Phase.WAITING, "compensating")
    run.retry_now("b")
    assert (run.sent, run.status("b").attempt) == (["undo.b#3"], 2)
    run.finish()
    assert run.saga.state == "compensated"


def test_default_policy_of_an_undo() -> None:
    """Twenty attempts, capped at five minutes."""
    run = Run(definition(step("a"), step("b")))
    run.succeed("a")
    run.refuse("b")
    delays = []
    for _ in range(19):
        run.err("a")
        due_at = run.status("a").due_at
        assert due_at is not None
        delays.append((due_at - run.now).total_seconds())
        run.retry_now("a")
    assert 0.8 <= delays[0] <= 1.2
    assert 240 <= delays[-1] <= 360
    run.err("a")
    assert (run.saga.state, run.saga.failed_steps) == ("failed", ("a", "b"))


def test_undo_that_times_out_is_not_done() -> None:
    """A limit that passed gives the undo up; it is never recorded as undone."""
    run = _undoing()
    run.wait(24 * 3600)
    assert run.saga.state == "failed"
    assert run.states == ["completed", "compensating", "failed"]
    assert run.status("b").phase is Phase.GAVE_UP


def test_undo_without_a_last_attempt_outlives_its_limit() -> None:
    """``max_attempts=None`` means for ever: at the limit it is sent anew."""
    policy = RetryPolicy(max_attempts=None)
    run = Run(definition(step("a", compensation_retry=policy), step("b")))
    run.succeed("a")
    run.refuse("b")
    run.wait(24 * 3600)
    assert (run.saga.state, run.sent) == ("compensating", ["undo.a#3"])
    assert run.status("a").opened_at == run.now
    run.succeed("a", generation=2)
    assert run.saga.state == "compensated"


@pytest.mark.parametrize("retryable", [True, False])
def test_refused_undo_gives_up_at_once(*, retryable: bool) -> None:
    """A definite no will not become a yes."""
    run = _undoing()
    run.refuse("b", retryable=retryable)
    assert run.saga.state == "failed"


def test_undo_with_a_non_retryable_error() -> None:
    """The compensation's own policy names its types."""
    policy = RetryPolicy(non_retryable=("NoHandler",))
    run = Run(definition(step("a", compensation_retry=policy), step("b")))
    run.succeed("a")
    run.refuse("b")
    run.err("a", error_type="NoHandler")
    assert (run.saga.state, run.states[0]) == ("failed", "compensating")


def test_skip_is_done() -> None:
    """A compensation that finds nothing to undo has undone it."""
    run = _undoing()
    run.skip("b", reason="nothing there")
    assert (run.states[1], run.sent) == ("compensated", ["undo.a#2"])


def test_halt_is_the_default() -> None:
    """The saga stops as failed; what is left stays as it is."""
    run = _undoing()
    _give_up_undo(run, "b")
    assert (run.saga.state, run.sent) == ("failed", [])
    assert run.states == ["completed", "compensating", "failed"]
    assert "undo of step b" in run.saga.reason
    assert (run.saga.wake_at, run.saga.ended_at) == (None, None)


def test_continue_undoes_the_rest_first() -> None:
    """Then the saga is failed all the same."""
    run = _undoing(on_compensation_failure="continue")
    _give_up_undo(run, "b")
    assert (run.saga.state, run.sent) == ("compensating", ["undo.a#2"])
    run.succeed("a")
    assert run.saga.state == "failed"
    assert run.states == ["compensated", "compensating", "failed"]


def test_halt_awaits_parallel_undos() -> None:
    """``failed`` is entered with nothing in flight; no retry is sent meanwhile."""
    run = _undoing(parallel_compensation=True)
    run.refuse("b")
    assert (run.saga.state, run.open_steps) == ("compensating", ["a"])
    run.err("a")
    assert run.saga.state == "failed"
    assert [run.status(name).phase for name in "ab"] == [Phase.GAVE_UP, Phase.GAVE_UP]


def test_halt_gives_up_waiting_undos() -> None:
    """An undo that waits for its next attempt is not sent after the halt."""
    run = _undoing(parallel_compensation=True)
    run.err("a")
    run.refuse("b")
    assert run.saga.state == "failed"
    run.wait(3600)
    assert run.sent == []


def test_late_undo_success_while_failed() -> None:
    """The step is compensated, the saga stays until a person asks."""
    run = at.undo_halted()
    run.succeed("b", generation=2)
    assert (run.saga.state, run.states[1]) == ("failed", "compensated")
    run.retry()
    assert (run.saga.state, run.sent) == ("compensating", ["undo.a#2"])
    run.finish()
    assert run.saga.state == "compensated"


def test_retry_of_a_halted_saga_has_fresh_attempts() -> None:
    """What gave up is tried again as often as the policy says."""
    run = at.undo_halted()
    run.retry()
    assert (run.status("b").attempt, run.sent) == (1, ["undo.b#4"])
    run.err("b")
    assert run.saga.state == "compensating"
    run.finish()
    assert run.saga.state == "compensated"


def test_retry_after_continue() -> None:
    """Every undo that gave up is sent again, in its order."""
    run = _undoing(on_compensation_failure="continue")
    run.refuse("b")
    run.refuse("a")
    assert run.saga.state == "failed"
    run.retry()
    assert run.sent == ["undo.b#3"]
    run.finish()
    assert run.saga.state == "compensated"


def test_resolved_undo() -> None:
    """A person undid it by hand; the entry says so, and the saga goes on."""
    run = at.undo_halted()
    run.resolve("b")
    assert run.history[-1].kind is HistoryKind.STEP_RESOLVED
    assert run.sent == ["undo.a#2"]
    run.finish()
    assert run.saga.state == "compensated"


def test_resolve_of_an_undo_that_was_not_sent_yet() -> None:
    """A person may be ahead of the engine."""
    run = at.undo_halted()
    run.resolve("a")
    assert run.states == ["compensated", "compensating", "compensated"]
    assert run.saga.state == "failed"
    run.resolve("b")
    assert run.saga.state == "compensated"


def test_undo_put_off() -> None:
    """``RetryLater`` holds for undos too, and uses no attempt."""
    run = _undoing()
    for _ in range(5):
        run.postpone("b", 30)
        run.retry_now("b")
    assert run.status("b").attempt == 1
    run.succeed("b")
    assert run.sent == ["undo.a#2"]


def test_undo_put_off_while_halting() -> None:
    """No undo is sent after the halt, not even one that asked for time."""
    run = _undoing(parallel_compensation=True)
    run.refuse("b")
    run.postpone("a", 30)
    assert run.saga.state == "failed"


def test_forced_undo_of_a_completed_saga() -> None:
    """By force a completed saga is undone like any other."""
    run = at.completed()
    assert run.saga.ended_at is not None
    run.now += seconds(60)
    run.compensate(force=True)
    undoing = run.saga
    assert (run.sent, undoing.ended_at) == (["undo.c#2"], None)
    run.finish()
    assert (run.states, run.saga.ended_at) == (["compensated"] * 3, run.now)
