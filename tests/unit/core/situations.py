"""Sagas brought to a named point: the columns of the event table, opened up."""

from __future__ import annotations

from saga_orchestrator.core.retry import RetryPolicy
from tests.support.sagas import ONCE, TWICE, Run, definition, sequence, step

_PARALLEL = {"depends_on": ["root"], "retry": TWICE}


def sent() -> Run:
    """Step a completed; b, of two attempts, is in flight with its first."""
    run = Run(definition(*sequence("a", "b", "c", retry=TWICE)))
    run.succeed("a", "out-a")
    return run


def waiting() -> Run:
    """B's first attempt erred; it waits for its second."""
    run = sent()
    run.err("b")
    return run


def retried() -> Run:
    """B's first attempt erred; its second is in flight."""
    run = waiting()
    run.retry_now("b")
    return run


def skipped() -> Run:
    """B's first attempt erred, its second answered ``Skip``; c is in flight."""
    run = retried()
    run.skip("b")
    return run


def aborted() -> Run:
    """Left was refused, so the saga turned back; right is in flight since before."""
    run = Run(
        definition(step("root"), step("left", **_PARALLEL), step("right", **_PARALLEL))
    )
    run.succeed("root")
    run.refuse("left")
    return run


def aborted_after_retry() -> Run:
    """As ``aborted``, but right's second attempt is the one in flight."""
    run = Run(
        definition(step("root"), step("left", **_PARALLEL), step("right", **_PARALLEL))
    )
    run.succeed("root")
    run.err("right")
    run.retry_now("right")
    run.refuse("left")
    return run


def past_pivot() -> Run:
    """A pivot completed; c, of one attempt, is in flight."""
    run = Run(definition(step("a"), step("b", pivot=True), step("c", retry=ONCE)))
    run.succeed("a")
    run.succeed("b")
    return run


def undoing(**options: object) -> Run:
    """C erred for good; its undo succeeded, and b's is in flight."""
    run = Run(
        definition(
            *sequence("a", "b", retry=TWICE, compensation_retry=TWICE),
            step("c", retry=ONCE, compensation_retry=TWICE),
            **options,
        )
    )
    run.succeed("a", "out-a")
    run.succeed("b", "out-b")
    run.err("c")
    run.succeed("c")
    return run


def undoing_after_retry() -> Run:
    """B succeeded with its second attempt, c was refused; b's undo is in flight."""
    run = retried()
    run.succeed("b")
    run.refuse("c")
    return run


def undo_waiting() -> Run:
    """B's undo erred once and waits for its second attempt."""
    run = undoing()
    run.err("b")
    return run


def undo_halted() -> Run:
    """B's undo gave up: the saga stopped as failed, a's undo was never sent."""
    run = undo_waiting()
    run.retry_now("b")
    run.err("b")
    return run


def parked() -> Run:
    """B erred for good and the saga stopped as failed; c is pending."""
    run = Run(definition(*sequence("a", "b", "c", retry=ONCE), on_failure="park"))
    run.succeed("a", "out-a")
    run.err("b")
    return run


def parked_past_pivot() -> Run:
    """C erred for good past the pivot: the saga stopped as failed."""
    run = past_pivot()
    run.err("c")
    return run


def failed_with_open_question() -> Run:
    """Undo halted at c; b's action is unknown, and its undo was never sent."""
    steps = [
        step("root"),
        step("b", depends_on=["root"], retry=ONCE),
        step("c", depends_on=["root"], compensation_retry=RetryPolicy(max_attempts=1)),
    ]
    run = Run(definition(*steps))
    run.succeed("root")
    run.accept("b", heartbeat=False)
    run.compensate()
    run.give_up("b")
    run.succeed("c")
    run.refuse("c")
    return run


def completed() -> Run:
    """A, b and c completed."""
    run = sent()
    run.succeed("b")
    run.succeed("c")
    return run


def completed_with_skip() -> Run:
    """B's first attempt erred, its second skipped; the saga completed."""
    run = skipped()
    run.succeed("c")
    return run


def compensated() -> Run:
    """C was refused; b and a were undone."""
    run = sent()
    run.succeed("b")
    run.refuse("c")
    run.succeed("b")
    run.succeed("a")
    return run
