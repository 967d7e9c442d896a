"""Time: retries, resends, limits, deadlines, heartbeats; never early, never late."""

from __future__ import annotations

import datetime as dt

import pytest

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.fence import unit_interval
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.core.states import Outcome, Phase
from tests.support.sagas import NOW, ONCE, Run, definition, seconds, sequence, step
from tests.unit.core import situations as at

_MICROSECOND = 1e-6
_DAY = 24 * 3600


def test_backoff_with_jitter_of_the_fence() -> None:
    """1 s, doubled, at most 60 s, varied by up to 20 % as the fence says."""
    run = Run(definition(step("a", retry=RetryPolicy(max_attempts=9))))
    for exact in (1, 2, 4, 8, 16, 32, 60, 60):
        share = unit_interval(run.fence("a"))
        run.err("a")
        due_at = run.status("a").due_at
        assert due_at is not None
        delay = (due_at - run.now).total_seconds()
        assert delay == pytest.approx(exact * (1 + 0.2 * (2 * share - 1)), abs=1e-5)
        run.retry_now("a")
    run.err("a")
    assert run.saga.state == "compensating"


def test_retry_is_not_early() -> None:
    """A microsecond before it is due nothing happens."""
    run = at.waiting()
    run.wait(1 - _MICROSECOND)
    assert (run.sent, run.last.changed) == ([], False)
    run.wait(_MICROSECOND)
    assert run.sent == ["do.b#2"]


def test_retry_later_uses_no_attempt() -> None:
    """However often: the attempt stays, the generation goes on."""
    run = Run(definition(step("a", retry=ONCE)))
    for _ in range(10):
        run.postpone("a", 30)
        run.wait(30)
    assert (run.status("a").attempt, run.status("a").generation) == (1, 11)
    assert run.saga.state == "started"


@pytest.mark.parametrize("delay", [0, -5])
def test_retry_later_without_delay(delay: float) -> None:
    """It is due at once, by the timer."""
    run = Run(definition(step("a")))
    run.postpone("a", delay)
    assert run.saga.wake_at == run.now
    run.wait(0)
    assert run.sent == ["do.a#2"]


def test_retry_later_is_bounded_by_the_limit() -> None:
    """A step cannot be put off beyond its limit."""
    run = Run(definition(step("a", limit=seconds(100))))
    run.postpone("a", 10**9)
    assert run.saga.wake_at == NOW + seconds(100)
    run.wait(100)
    assert run.status("a").outcome is Outcome.UNKNOWN
    assert run.sent == ["undo.a#2"]


def test_resend_doubles_up_to_a_quarter_hour() -> None:
    """Timeout + 60 s, then twice that, …; the same generation, no attempt used."""
    run = Run(definition(step("a")))
    for delay in (120, 240, 480, 900, 900, 900):
        run.wait(delay - _MICROSECOND)
        assert run.sent == []
        run.wait(_MICROSECOND)
        assert run.sent == ["do.a#1"]
        assert run.last.dispatches[0].resend
    assert (run.status("a").attempt, run.status("a").generation) == (1, 1)


def test_resend_of_a_long_step() -> None:
    """A timeout above the cap is kept: nothing is sent again while it may run."""
    run = Run(definition(step("a", timeout=seconds(3600))))
    for _ in range(3):
        run.wait(3660 - _MICROSECOND)
        assert run.sent == []
        run.wait(_MICROSECOND)
        assert run.sent == ["do.a#1"]


def test_resend_for_years() -> None:
    """However often it is sent again, the count fits its byte in the store."""
    run = Run(definition(step("a", limit=dt.timedelta(days=3650))))
    for _ in range(300):
        run.wait(900)
    assert run.all_sent.count("do.a#1") > 290
    assert run.status("a").resends <= 255


def test_resend_starts_anew_with_the_next_dispatch() -> None:
    """A retry is another dispatch: its first resend comes after the first delay."""
    run = Run(definition(step("a")))
    run.wait(120)
    run.err("a")
    run.retry_now("a")
    run.wait(119)
    assert run.sent == []
    run.wait(1)
    assert run.sent == ["do.a#2"]


def test_resend_request() -> None:
    """The broker lost its queues: what is in flight is sent again, at once."""
    run = Run(definition(step("r"), *sequence("x", "y", "z", depends_on=["r"])))
    run.succeed("r")
    run.err("x")
    run.accept("y")
    run.resend()
    assert run.sent == ["do.z#1"]
    assert all(sent.resend for sent in run.last.dispatches)


def test_limit_bounds_all_dispatches() -> None:
    """Queueing and retries included, from the first dispatch on."""
    policy = RetryPolicy(max_attempts=None, initial_delay=seconds(40), jitter=0.0)
    run = Run(definition(step("a", retry=policy, limit=seconds(100))))
    run.err("a")
    run.wait(40)
    run.err("a")
    run.wait(60 - _MICROSECOND)
    assert run.states == ["started"]
    run.wait(_MICROSECOND)
    assert run.kinds[-1] is HistoryKind.STEP_EXPIRED
    assert run.sent == ["undo.a#3"]


def test_limit_of_what_is_out_is_unknown() -> None:
    """A refused attempt before does not make the lost one a refusal."""
    run = Run(definition(step("a", limit=seconds(100))))
    run.refuse("a", retryable=True)
    run.retry_now("a")
    run.wait(100)
    assert (run.status("a").outcome, run.sent) == (Outcome.UNKNOWN, ["undo.a#3"])


def test_limit_while_waiting_keeps_the_outcome() -> None:
    """Nothing is out, and the only attempt was refused: nothing to undo."""
    policy = RetryPolicy(initial_delay=seconds(50), jitter=0.0)
    run = Run(definition(step("a", retry=policy, limit=seconds(60))))
    run.wait(30)
    run.refuse("a", retryable=True)
    run.wait(30)
    assert run.status("a").outcome is Outcome.REFUSED
    assert run.saga.state == "compensated"


def test_limit_starts_with_the_undo() -> None:
    """The undo's 24 hours count from its own first dispatch."""
    run = Run(definition(*sequence("a", "b")))
    run.succeed("a")
    run.now += seconds(_DAY - 1)
    run.refuse("b")
    run.wait(_DAY - 1)
    assert run.saga.state == "compensating"
    run.wait(1)
    assert run.saga.state == "failed"


def test_deadline_does_not_bound_an_undo() -> None:
    """It bounds the forward part; a short one must not make undos give up."""
    run = Run(definition(*sequence("a", "b"), deadline=seconds(120)))
    run.succeed("a")
    run.refuse("b")
    run.err("a")
    run.wait(121)
    run.err("a")
    assert run.saga.state == "compensating"


@pytest.mark.parametrize("late", [0, 3600])
def test_deadline_aborts(late: float) -> None:
    """At the instant or after an outage, never a microsecond early."""
    run = Run(definition(*sequence("a", "b"), deadline=seconds(60)))
    run.succeed("a")
    run.wait(60 - _MICROSECOND)
    assert run.saga.state == "started"
    run.wait(_MICROSECOND + late)
    assert run.saga.state == "compensating"
    assert HistoryKind.DEADLINE_PASSED in run.kinds
    assert run.saga.reason == "its deadline passed"


def test_deadline_suspends() -> None:
    """``on_deadline="suspend"`` stops for a person, once nothing is in flight."""
    steps = sequence("a", "b", "c")
    run = Run(definition(*steps, deadline=seconds(60), on_deadline="suspend"))
    run.now += seconds(10)
    run.succeed("a")
    run.wait(50)
    assert (run.saga.state, run.open_steps) == ("started", ["b"])
    run.succeed("b")
    assert (run.saga.state, run.states[1:]) == ("failed", ["completed", "pending"])
    run.retry()
    assert (run.saga.deadline_at, run.sent) == (None, ["do.c#1"])
    run.finish()
    assert run.saga.state == "completed"


def test_deadline_comes_before_a_retry() -> None:
    """Both are due in one look: nothing is sent any more."""
    policy = RetryPolicy(initial_delay=seconds(30), jitter=0.0)
    run = Run(definition(step("a", retry=policy), deadline=seconds(60)))
    run.wait(30)
    run.err("a")
    run.wait(40)
    assert run.sent == ["undo.a#2"]


def test_limit_comes_before_a_retry() -> None:
    """The limit of one step and a retry of another in one look: no action is sent."""
    options = {"depends_on": ["r"]}
    policy = RetryPolicy(initial_delay=seconds(30), jitter=0.0)
    steps = [
        step("r"),
        step("x", retry=policy, **options),
        step("y", limit=seconds(60), **options),
    ]
    run = Run(definition(*steps))
    run.succeed("r")
    run.wait(30)
    run.err("x")
    run.wait(40)
    assert run.saga.state == "compensating"
    assert "do.x#2" not in run.all_sent


def test_heartbeat_lapse_is_unknown() -> None:
    """60 s without one; each one moves the instant."""
    run = Run(definition(step("a", retry=ONCE)))
    run.accept("a")
    for _ in range(3):
        run.wait(59)
        run.beat("a")
    run.wait(60 - _MICROSECOND)
    assert run.status("a").phase is Phase.ACCEPTED
    run.wait(_MICROSECOND)
    assert run.kinds[-1] is HistoryKind.HEARTBEAT_LOST
    assert run.sent == ["undo.a#2"]


def test_lost_heartbeat_is_retried() -> None:
    """By the step's policy, as any unknown attempt is."""
    run = Run(definition(step("a")))
    run.accept("a")
    run.wait(60)
    run.retry_now("a")
    assert (run.sent, run.status("a").attempt) == (["do.a#2"], 2)


def test_accepted_without_heartbeats_waits_for_the_limit() -> None:
    """The answer comes from outside; there is no resend."""
    run = Run(definition(step("a")))
    run.accept("a", heartbeat=False)
    run.wait(120)
    assert (run.sent, run.saga.wake_at) == ([], NOW + seconds(_DAY))
    run.wait(_DAY - 121)
    assert run.sent == []
    run.succeed("a")
    assert run.saga.state == "completed"


def test_accepted_twice_is_a_repeat() -> None:
    """It is counted, and does not stretch the wait."""
    run = Run(definition(step("a")))
    run.accept("a")
    due_at = run.status("a").due_at
    run.wait(30)
    run.accept("a")
    assert run.last.ignored is not None
    assert run.status("a").due_at == due_at


def test_timer_that_found_nothing_moves_on() -> None:
    """A look that comes too soon sets the next instant, or it comes for ever."""
    run = Run(definition(*sequence("a", "b")))
    run.wait(50)
    run.succeed("a")
    assert run.saga.wake_at is not None
    run.now = run.saga.wake_at
    run.wait(0)
    assert run.saga.wake_at > run.now
    assert (run.last.history, run.last.dispatches) == ((), ())


def test_everything_due_fires_in_one_look() -> None:
    """After an outage one event brings the saga up to date."""
    steps = [step("r"), *sequence("x", "y", depends_on=["r"])]
    run = Run(definition(*steps))
    run.succeed("r")
    run.err("x")
    run.wait(600)
    assert run.sent == ["do.x#2", "do.y#1"]
    before = run.saga
    run.wait(0)
    assert run.saga == before


def test_ended_sagas_have_no_timer() -> None:
    """Nothing is left to wake for, though a deadline stands."""
    run = Run(definition(step("a"), deadline=seconds(60)))
    run.succeed("a")
    assert run.saga.wake_at is None
    run.wait(3600)
    assert run.saga.state == "completed"
