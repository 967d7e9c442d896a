"""Every act of a person: in the script, and by hand between two runs."""

from __future__ import annotations

from typing import Any

import pytest

from saga_orchestrator import RetryPolicy, Store, TransitionRefused
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.testing import ManualClock, Play, action, operator, undo
from tests.unit.testing.plays import saga, seconds, step

ONCE = RetryPolicy(max_attempts=1)
PARKED = saga("a", "b", on_failure="park").when(action("b").refuses(times=1))
STUCK = saga(step("a", compensation_retry=ONCE), "b").when(
    action("b").refuses(), undo("a").errs(times=1)
)
LATE = saga("a", step("b", limit=seconds(60))).when(
    action("b").answers_after(seconds(100))
)


def test_without_a_person_it_stays() -> None:
    """The sagas that the tests below put right."""
    PARKED.expect("failed", calls=["a", "b: refused"])
    STUCK.expect("failed", calls=["a", "b: refused", "undo a: error"])
    LATE.expect("compensated", calls=["a", "b", "undo b", "undo a"], residuals=1)


def test_compensates() -> None:
    """A failed saga is undone; a completed one by force; one that runs, at a time."""
    PARKED.when(operator.compensates()).expect("compensated", undone=["a"])
    whole = saga("a", "b")
    whole.when(operator.compensates(force=True)).expect(
        "compensated", undone=["b", "a"], reason="because the test says so"
    )
    early = operator.compensates(reason="changed my mind", at=seconds(5))
    whole.when(action("b").answers_after(seconds(10)), early).expect(
        "compensated", undone=["b", "a"], reason="changed my mind"
    )


def test_retries() -> None:
    """What gave up goes again, forward or back."""
    PARKED.when(operator.retries()).expect("completed", executed=["a", "b"])
    STUCK.when(operator.retries()).expect("compensated", undone=["a"])


def test_resolves() -> None:
    """A step counts as done, or undone, by hand."""
    PARKED.when(operator.resolves("b", {"by": "hand"})).expect(
        "completed", executed=["a"], outputs={"b": {"by": "hand"}}
    )
    STUCK.when(operator.resolves("a")).expect("compensated", undone=[])


def test_gives_up() -> None:
    """The answer that is awaited counts as unknown, at that time."""
    waits = saga("a", step("b", retry=ONCE)).when(action("b").defers())
    outcome = waits.when(operator.gives_up("b", at=seconds(30))).expect(
        "compensated", undone=["b", "a"], reason="GivenUp"
    )
    assert outcome.saga.updated_at == outcome.saga.created_at + seconds(30)


def test_undoes_residuals() -> None:
    """By a saga of its own, on which the script counts as well."""
    hesitant = LATE.when(undo("b").goes_well(times=1).errs(times=1))
    outcome = hesitant.when(operator.undoes_residuals()).expect(
        "compensated", undone=["b", "a", "b"], residuals=0
    )
    (other,) = outcome.undo_sagas
    assert (other.undoes, other.is_compensated) == (outcome.saga.id, True)
    assert [call.text for call in outcome.calls][-2:] == ["undo b: error", "undo b"]


def test_dismisses_residuals() -> None:
    """Without an undo."""
    outcome = LATE.when(operator.dismisses_residuals()).expect(
        "compensated", undone=["b", "a"], residuals=0
    )
    assert not outcome.undo_sagas
    (residual,) = outcome.record.residuals
    assert residual.settled is not None
    assert residual.settled.reason == "because the test says so"


def test_nothing_to_undo_is_no_error() -> None:
    """Acts on residuals are about all there are, also none."""
    saga("a").when(operator.undoes_residuals(), operator.dismisses_residuals()).expect(
        "completed"
    )


def test_acts_take_turns() -> None:
    """Each when nothing more comes of the one before."""
    twice = saga("a", "b", on_failure="park").when(action("b").refuses(times=2))
    twice.when(operator.retries(), operator.retries()).expect(
        "completed", calls=["a", "b: refused", "b: refused", "b"]
    )


def test_who_acts_and_why_is_on_record() -> None:
    """The history holds both."""
    outcome = PARKED.when(operator.retries(reason="stock came in")).expect("completed")
    (entry,) = (
        entry
        for entry in outcome.record.history
        if entry.kind is HistoryKind.RETRY_REQUESTED
    )
    assert entry.data["reason"] == "stock came in"
    assert entry.data["principal"] == "operator"


def test_what_is_not_allowed_reaches_the_test() -> None:
    """With what happened before, as a note."""
    with pytest.raises(TransitionRefused, match="only a failed saga can be re") as info:
        saga("a").when(operator.retries()).expect("completed")
    (note,) = info.value.__notes__
    assert note == ("what happened last:\n     +0.000s  a\n     +0.000s  · completed")
    with pytest.raises(TransitionRefused, match="no step 'x'; its steps are a, b"):
        PARKED.when(operator.resolves("x")).expect("completed")
    with pytest.raises(TransitionRefused, match="no step 'x'; its steps are a, b"):
        PARKED.when(
            action("a").answers_after(seconds(9)),
            operator.gives_up("x", at=seconds(3)),
        ).expect("completed")


def test_a_time_is_a_duration() -> None:
    """Not a number of unknown units, and not before the start."""
    number: Any = 5
    with pytest.raises(TypeError, match="5 is no duration"):
        operator.retries(at=number)
    with pytest.raises(ValueError, match="in the past"):
        operator.gives_up("a", at=seconds(-5))


async def begun(play) -> Play:
    """Begin a play on a store of its own."""
    clock = ManualClock()
    return await play.begin(await Store.open("memory://", clock=clock), clock)


async def test_by_hand() -> None:
    """Run to a time, or to rest; act; run on."""
    play = await begun(PARKED)
    failed = (await play.run()).expect("failed")
    await play.operator.retry(failed.saga.id, reason="by hand")
    (await play.run()).expect("completed", executed=["a", "b"])


async def test_an_act_happens_where_the_play_stands() -> None:
    """Between two runs time stands still, at the end of the first."""
    play = await begun(saga("a", "b").when(action("b").answers_after(seconds(50))))
    started = (await play.run(seconds(20))).expect("started")
    await play.operator.compensate(started.saga.id, reason="by hand")
    aborted = (await play.run(seconds(20))).expect("compensating")
    entry = aborted.record.history[-1]
    assert entry.at == aborted.saga.created_at + seconds(20)
    (await play.run()).expect("compensated", undone=["b", "a"])
