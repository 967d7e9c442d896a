"""Why a saga waits, from its snapshot and its outbox."""

from __future__ import annotations

import datetime as dt

import pytest

from saga_orchestrator.core.waiting import (
    NO_SERVICE,
    QUEUED,
    QueueLook,
    StaleAfter,
    Unsent,
    Wait,
    WaitReason,
    refined,
    waits_of,
)
from tests.support.sagas import ONCE, Run, definition, sequence, step
from tests.unit.core import situations

SECOND = dt.timedelta(seconds=1)


def _wait(run: Run, unsent: Unsent | None = None, after: float = 1) -> Wait:
    """Return the saga's longest wait, so many seconds after its last change."""
    saga = run.saga
    numbers = [n for n, status in enumerate(saga.steps) if status.is_open]
    rows = {saga.fence_of(n): unsent for n in numbers} if unsent else {}
    return waits_of(saga, rows, saga.updated_at + after * SECOND)[0]


def _accepted(*, heartbeat: bool) -> Run:
    run = situations.sent()
    run.accept("b", heartbeat=heartbeat)
    return run


def _suspended() -> Run:
    steps = sequence("a", "b")
    run = Run(definition(*steps, deadline=60 * SECOND, on_deadline="suspend"))
    run.wait(61)
    run.succeed("a")
    return run


@pytest.mark.parametrize(
    ("run", "reason", "about"),
    [
        (situations.sent(), WaitReason.UNANSWERED, "b"),
        (situations.waiting(), WaitReason.RETRYING, "b"),
        (_accepted(heartbeat=True), WaitReason.RUNNING, "b"),
        (_accepted(heartbeat=False), WaitReason.DEFERRED, "b"),
        (situations.undoing(), WaitReason.UNANSWERED, "b"),
        (situations.undo_waiting(), WaitReason.RETRYING, "b"),
        (situations.undo_halted(), WaitReason.UNDO_GAVE_UP, "b"),
        (situations.parked(), WaitReason.PARKED, "b"),
        (situations.parked_past_pivot(), WaitReason.PARKED, "c"),
        (_suspended(), WaitReason.SUSPENDED, None),
    ],
)
def test_a_live_saga_has_a_reason(run: Run, reason: WaitReason, about: str) -> None:
    """The phase of what is open says why, and which step it is."""
    wait = _wait(run)
    assert (wait.reason, wait.step) == (reason, about)


@pytest.mark.parametrize("run", [situations.completed(), situations.compensated()])
def test_an_ended_saga_waits_for_nothing(run: Run) -> None:
    """What has ended cannot be stale."""
    assert waits_of(run.saga, {}, run.saga.updated_at) == ()


@pytest.mark.parametrize(
    ("error", "late", "reason", "detail"),
    [
        (f"{NO_SERVICE}do.b", 0, WaitReason.UNROUTABLE, f"{NO_SERVICE}do.b"),
        (QUEUED, 0, WaitReason.QUEUED, QUEUED),
        ("no plan", 0, WaitReason.UNPUBLISHED, "not sent: no plan"),
        ("", 0, WaitReason.UNPUBLISHED, "the broker has not confirmed it"),
        ("", 5, WaitReason.UNPUBLISHED, "no engine has taken it"),
    ],
)
def test_what_was_not_sent_says_so(
    error: str, late: float, reason: WaitReason, detail: str
) -> None:
    """The outbox knows better than the step: nobody can answer what was not sent."""
    run = situations.sent()
    unsent = Unsent(run.saga.updated_at + (1 - late) * SECOND, error)
    wait = _wait(run, unsent)
    assert wait.reason is reason
    assert detail in wait.detail


def test_what_is_long_due_names_the_engine() -> None:
    """Where a timer did not fire for ten seconds, no engine is at work."""
    run = situations.waiting()
    (number,) = (n for n, status in enumerate(run.saga.steps) if status.is_open)
    due = (run.saga.steps[number].due_at - run.saga.updated_at).total_seconds()
    assert _wait(run, after=due + 9).reason is WaitReason.RETRYING
    assert _wait(run, after=due + 10).reason is WaitReason.OVERDUE


def test_a_wait_counts_from_the_first_dispatch() -> None:
    """A step that is tried again and again has waited since its first attempt."""
    run = situations.retried()
    wait = _wait(run)
    assert wait.attempt == 2
    assert wait.since == run.saga.status("b").opened_at
    assert wait.since < run.saga.updated_at


def test_a_dead_letter_that_stopped_a_saga_is_named() -> None:
    """A command that nobody could take is told apart from one that was refused."""
    run = Run(definition(step("a", retry=ONCE), on_failure="park"))
    run.err("a", error_type="Undeliverable", error="step.do.a was dead-lettered")
    assert _wait(run).reason is WaitReason.DEAD_LETTERED


@pytest.mark.parametrize(
    ("looks", "reason"),
    [
        ([], WaitReason.UNANSWERED),
        ([QueueLook("q", 3, 0)], WaitReason.NO_CONSUMER),
        ([QueueLook("q", 0, 0), QueueLook("r", 7, 2)], WaitReason.QUEUED),
        ([QueueLook("q", 1, 0), QueueLook("r", 7, 2)], WaitReason.NO_CONSUMER),
        ([QueueLook("q", 0, 0)], WaitReason.UNANSWERED),
        ([QueueLook("q", 0, 1)], WaitReason.UNANSWERED),
    ],
)
def test_the_broker_refines_what_is_unanswered(
    looks: list[QueueLook], reason: WaitReason
) -> None:
    """Nobody reads the queue, many stand in it, or the command was taken."""
    assert refined(_wait(situations.sent()), looks).reason is reason


def test_the_broker_changes_no_other_reason() -> None:
    """What waits to retry does so whoever reads the queue."""
    wait = _wait(situations.waiting())
    assert refined(wait, [QueueLook("q", 3, 0)]) == wait


def test_a_definition_has_its_own_threshold() -> None:
    """Named ones count for their definition, the default for all others."""
    after = StaleAfter(600 * SECOND, {"fast": 5 * SECOND, "slow": 7200 * SECOND})
    assert [after.of(name) for name in ("fast", "slow", "any")] == [
        5 * SECOND,
        7200 * SECOND,
        600 * SECOND,
    ]
    assert after.shortest == 5 * SECOND
