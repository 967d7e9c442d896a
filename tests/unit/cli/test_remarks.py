"""What `saga get` says behind a step in flight: since when, and what comes next."""

from __future__ import annotations

from saga_orchestrator.cli.remarks import Remarks, not_undone
from saga_orchestrator.ports.records import SagaRecord
from tests.support.sagas import ONCE, Run, definition, seconds, sequence, step


def _told(run: Run, after: float, number: int = 0) -> str:
    """Return the remark on a step some seconds after the run's last event."""
    record = SagaRecord(run.saga, tuple(run.history))
    return Remarks(record, run.now + seconds(after)).on(number)


def test_what_is_overdue_waits_for_an_engine() -> None:
    """Nobody asked again when it was time, so that is said."""
    run = Run(definition(step("a", timeout=seconds(5))))
    assert _told(run, 300).endswith("; asked again: overdue for 3 min 55 s")


def test_what_was_sent_again() -> None:
    """The time counts from the last send."""
    run = Run(definition(step("a", timeout=seconds(5))))
    run.wait(65)
    assert _told(run, 2).startswith("sent again 2.0 s ago, its answer is awaited; ")


def test_a_limit_that_comes_first() -> None:
    """A step that will not be asked again says when its limit passes."""
    run = Run(definition(step("a", timeout=seconds(5), limit=seconds(20))))
    assert _told(run, 8).endswith("; its limit passes in 12.0 s")


def test_what_was_accepted() -> None:
    """Who beats is lost when silent for too long; who does not, has its limit."""
    beating, silent = (Run(definition(step("a"))) for _ in range(2))
    beating.accept("a")
    silent.accept("a", heartbeat=False)
    told = _told(beating, 4)
    assert told.startswith("accepted 4.0 s ago, its answer is awaited; if it stays ")
    assert _told(silent, 3600).endswith("; its limit passes in 23 h 0 min")


def test_effects_of_unknown_outcome_stand_too() -> None:
    """What may have happened and cannot be undone is named with its doubt."""
    run = Run(definition(*sequence("go", "letter", compensation="", retry=ONCE)))
    run.succeed("go")
    assert not_undone(run.saga) == ""
    run.err("letter")
    assert run.saga.is_compensated
    expected = "not undone, no compensation: go, letter (outcome unknown)"
    assert not_undone(run.saga) == expected
