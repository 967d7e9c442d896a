"""What is told of a saga's life: every kind of history entry, and what it tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from saga_orchestrator.core.decision import Decision, HistoryKind
from saga_orchestrator.core.definition import Step
from saga_orchestrator.core.lifecycle import Told, lifecycle_events
from saga_orchestrator.core.public import PublicEvent
from tests.support.sagas import ONCE, TWICE, Run, definition, seconds, sequence, step
from tests.unit.core import situations as at


@pytest.fixture
def kinds() -> set[HistoryKind]:
    """The kinds of the entries that the test's runs wrote."""
    return set()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, kinds: set[HistoryKind]) -> list[PublicEvent]:
    """What every decision of the test's runs tells, in order."""
    events: list[PublicEvent] = []
    keep = Run._keep  # the one place that sees every decision

    def keep_and_tell(run: Run, decision: Decision) -> Decision:
        for part in decision.parts:
            whose = getattr(run, "saga", None)
            before = whose if whose and part.saga and whose.id == part.saga.id else None
            kinds.update(entry.kind for entry in part.history)
            events.extend(lifecycle_events(before, part))
        return keep(run, decision)

    monkeypatch.setattr(Run, "_keep", keep_and_tell)
    return events


def words(events: list[PublicEvent]) -> str:
    """Return types, with the step they are about: ``step_failed:b``."""
    return " ".join(
        ":".join(filter(None, (str(one.type), one.payload.get("step", ""))))
        for one in events
    )


def _last_parked() -> Run:
    """The last step erred for good and the saga stopped as failed."""
    run = Run(definition(*sequence("a", "b", retry=ONCE), on_failure="park"))
    run.succeed("a")
    run.err("b")
    return run


def _two_parked() -> Run:
    """Two steps erred for good side by side, and the saga stopped as failed."""
    steps = [step(name, depends_on=["root"], retry=ONCE) for name in ("a", "b")]
    run = Run(definition(step("root"), *steps, on_failure="park"))
    run.succeed("root")
    run.err("a")
    run.err("b")
    return run


ROWS: list[tuple[Callable[[], Run], Callable[[Run], Any], str]] = [
    (at.sent, lambda run: run.succeed("b"), "step_completed:b"),
    (at.sent, lambda run: run.succeed("a"), ""),
    (at.sent, lambda run: run.skip("b"), "step_skipped:b"),
    (at.sent, lambda run: run.err("b"), ""),
    (at.sent, lambda run: run.postpone("b", 5), ""),
    (at.sent, lambda run: run.accept("b"), ""),
    (at.sent, lambda run: run.resend(), ""),
    (at.sent, lambda run: run.wait(200), ""),
    (at.waiting, lambda run: run.retry_now("b"), ""),
    (at.sent, lambda run: run.refuse("b"), "step_failed:b compensating"),
    (at.retried, lambda run: run.err("b"), "step_failed:b compensating"),
    (at.waiting, lambda run: run.compensate(), "step_failed:b compensating"),
    (at.sent, lambda run: run.compensate(), "compensating"),
    (at.retried, lambda run: run.give_up("b"), "step_failed:b compensating"),
    (at.sent, lambda run: run.wait(10**8), "step_failed:b compensating"),
    (at.aborted, lambda run: run.succeed("right"), "step_completed:right"),
    (at.aborted, lambda run: run.postpone("right", 5), "step_failed:right"),
    (at.past_pivot, lambda run: run.err("c"), "step_failed:c failed"),
    (at.undoing, lambda run: run.succeed("b"), "step_compensated:b"),
    (at.undoing, lambda run: run.skip("b"), "step_compensated:b"),
    (at.undoing, lambda run: run.err("b"), ""),
    (at.undoing, lambda run: run.refuse("b"), "step_failed:b failed"),
    (at.undoing_after_retry, lambda run: run.compensate(), ""),
    (
        at.undoing_after_retry,
        lambda run: run.succeed("b", generation=1),
        "residual_found:b",
    ),
    (at.undo_halted, lambda run: run.retry(), "resumed"),
    (at.undo_halted, lambda run: run.compensate(), "resumed"),
    (at.undo_halted, lambda run: run.resolve("b"), "step_compensated:b resumed"),
    # Its undo was never sent, so its dispatch is that of the action.
    (at.undo_halted, lambda run: run.resolve("a"), "step_compensated:a"),
    (at.parked, lambda run: run.retry(), "resumed"),
    (at.parked, lambda run: run.compensate(), "resumed compensating"),
    (at.parked, lambda run: run.resolve("b"), "step_completed:b resumed"),
    (at.parked, lambda run: run.succeed("b"), "step_completed:b"),
    (_last_parked, lambda run: run.resolve("b"), "step_completed:b resumed completed"),
    (_two_parked, lambda run: run.resolve("b"), "step_completed:b resumed failed"),
    (at.completed, lambda run: run.compensate(force=True), "compensating"),
    (
        at.compensated,
        lambda run: run.succeed("c", generation=1),
        "residual_found:c",
    ),
]


@pytest.mark.parametrize(("situation", "event", "expected"), ROWS)
def test_what_an_event_tells(
    told: list[PublicEvent],
    situation: Callable[[], Run],
    event: Callable[[Run], Any],
    expected: str,
) -> None:
    """Attempts and waiting are not told; what becomes of steps and of the saga is."""
    run = situation()
    told.clear()
    event(run)
    assert words(told) == expected


def test_a_life_from_start_to_end(told: list[PublicEvent]) -> None:
    """A saga that goes well, and one that is undone, from the first word on."""
    at.completed()
    assert words(told) == (
        "started step_completed:a step_completed:b step_completed:c completed"
    )
    told.clear()
    at.compensated()
    assert words(told) == (
        "started step_completed:a step_completed:b step_failed:c compensating "
        "step_compensated:b step_compensated:a compensated"
    )


def test_what_is_decided_at_the_start_is_told(told: list[PublicEvent]) -> None:
    """Steps that are skipped or need no action, and a saga that ends at once."""
    Run(definition(step("a", when={"context.x": 1}), Step("b")), {"x": 2})
    assert words(told) == "started step_skipped:a step_completed:b completed"


def test_a_condition_that_cannot_be_judged_is_told_each_time(
    told: list[PublicEvent],
) -> None:
    """It fails a step that was never sent; after a retry it fails it again."""
    steps = [step("a"), step("b", when={"outputs.a.x": 1})]
    run = Run(definition(*steps, on_failure="park"))
    run.succeed("a", {"y": 1})
    assert words(told) == "started step_completed:a step_failed:b failed"
    told.clear()
    run.retry()
    assert words(told) == "resumed step_failed:b failed"


def test_a_deadline_that_passes_fails_what_waited(told: list[PublicEvent]) -> None:
    """A step that waits to retry is given up; what is in flight is not yet."""
    run = Run(definition(*sequence("a", retry=TWICE), deadline=seconds(60)))
    run.err("a")
    told.clear()
    run.wait(61)
    assert words(told) == "step_failed:a compensating"


def test_lost_heartbeats_give_up(told: list[PublicEvent]) -> None:
    """Silence after the last attempt is a failure like any other."""
    run = Run(definition(*sequence("a", retry=ONCE)))
    run.accept("a")
    told.clear()
    run.wait(61)
    assert words(told) == "step_failed:a compensating"


def test_a_saga_with_nothing_to_undo_is_compensated_at_once(
    told: list[PublicEvent],
) -> None:
    """Two moves in one decision are two events, in order."""
    run = Run(definition(step("a", undo_failed="never", retry=ONCE)))
    told.clear()
    run.refuse("a")
    assert words(told) == "step_failed:a compensating compensated"


def test_a_residual_and_the_saga_that_undoes_it(told: list[PublicEvent]) -> None:
    """The undo is a saga of its own, and told as one."""
    run = at.compensated()
    run.succeed("c", generation=1)
    number = run.history[-1].seq
    told.clear()
    run.undo_residual(number)
    assert words(told) == "started compensating"
    assert told[0].saga_id != run.saga.id
    run = at.compensated()
    run.succeed("c", generation=1)
    told.clear()
    run.dismiss_residual(run.history[-1].seq)
    assert words(told) == ""


def test_the_payload_says_what_a_reader_needs(told: list[PublicEvent]) -> None:
    """Ids, names, the state, the entry's number, and why."""
    run = at.sent()
    told.clear()
    run.refuse("b", error_type="Declined", error="no funds")
    failed, turned = told
    assert failed.payload == {
        "saga_id": run.saga.id,
        "saga": "order",
        "key": None,
        "state": "compensating",
        "seq": run.history[-1].seq,
        "at": run.now.isoformat(),
        "step": "b",
        "reason": "Declined: no funds",
    }
    assert turned.payload["reason"] == "step b: Declined: no funds"
    assert (failed.aggregate_type, failed.kind) == ("saga", "lifecycle")
    assert "step" not in turned.payload


def test_ids_are_fixed_and_differ(told: list[PublicEvent]) -> None:
    """Made twice, an event has the same id; no two events share one."""
    at.compensated()
    first = [one.id for one in told]
    told.clear()
    at.compensated()
    assert [one.id for one in told] == first
    assert len(set(first)) == len(first)


def test_every_kind_of_entry_and_of_event_was_seen(
    told: list[PublicEvent], kinds: set[HistoryKind]
) -> None:
    """Nothing that a history can tell is missing above: that would go unthought of."""
    for situation, event, _ in ROWS:
        event(situation())
    run = Run(definition(*sequence("a", retry=TWICE), deadline=seconds(60)))
    run.accept("a")
    run.wait(61)
    run = at.compensated()
    run.succeed("c", generation=1)
    run.dismiss_residual(run.history[-1].seq)
    run = at.compensated()
    run.succeed("c", generation=1)
    run.undo_residual(run.history[-1].seq)
    run = Run(definition(*sequence("a", retry=ONCE)))
    run.accept("a")
    run.wait(61)
    Run(definition(*sequence("a"))).refuse("a")
    at.completed()
    assert kinds == set(HistoryKind)
    assert {one.type for one in told} == set(Told)
