"""Answers: three outcomes, the fence, repeats, and what is never dropped."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from saga_orchestrator.core.answers import CONTRADICTS, NOT_AWAITED
from saga_orchestrator.core.decide import decide
from saga_orchestrator.core.decision import Decision, HistoryKind
from saga_orchestrator.core.events import StepFailed, StepSkipped, StepSucceeded
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.core.states import Direction, Outcome
from tests.support.sagas import NOW, ONCE, TWICE, Run, definition, sequence, step
from tests.unit.core import situations as at


def test_unknown_sticks() -> None:
    """A later refusal does not clear it: the earlier attempt may have happened."""
    run = at.retried()
    assert run.status("b").outcome is Outcome.UNKNOWN
    run.refuse("b")
    assert run.status("b").outcome is Outcome.UNKNOWN
    assert run.sent == ["undo.b#3"]


def test_refusal_becomes_unknown() -> None:
    """A refused first attempt says nothing of a second one that was lost."""
    run = Run(definition(step("a", retry=TWICE)))
    run.refuse("a", retryable=True)
    assert run.status("a").outcome is Outcome.REFUSED
    run.retry_now("a")
    run.err("a")
    assert run.sent == ["undo.a#3"]


@pytest.mark.parametrize(
    ("undo_failed", "refused", "unknown"),
    [("if_unknown", False, True), ("always", True, True), ("never", False, False)],
)
def test_undo_failed(undo_failed: str, *, refused: bool, unknown: bool) -> None:
    """The failing step is itself undone as it says."""
    for answer, undone in (("refuse", refused), ("err", unknown)):
        run = Run(definition(step("a", retry=ONCE, undo_failed=undo_failed)))
        getattr(run, answer)("a")
        assert run.sent == (["undo.a#2"] if undone else [])
        assert run.saga.is_compensated is not undone


def test_non_retryable_type_is_a_refusal() -> None:
    """An error type named in ``non_retryable`` ends the step, as a definite no."""
    policy = RetryPolicy(non_retryable=("CardDeclined",))
    run = Run(definition(step("a", retry=policy)))
    run.err("a", error_type="CardDeclined")
    assert run.status("a").outcome is Outcome.REFUSED
    assert run.saga.state == "compensated"


def test_unknown_that_is_not_retryable() -> None:
    """An invalid output ends the step at once, and its effect may stand."""
    run = Run(definition(step("a")))
    run.err("a", error_type="InvalidOutput", retryable=False)
    assert run.sent == ["undo.a#2"]


def test_repeated_answer_changes_nothing() -> None:
    """At-least-once delivery is normal: the second one is only counted."""
    run = at.sent()
    before = run.saga
    run.succeed("a", "other", generation=1)
    assert run.saga == replace(before, ignored=1)
    assert run.last.ignored is not None
    assert run.last.ignored.answer == "StepSucceeded"
    assert run.saga.outputs == {"a": "out-a"}


def test_first_success_wins() -> None:
    """The output of the dispatch that answered first is the step's."""
    run = at.retried()
    run.succeed("b", "first", generation=1)
    run.succeed("b", "second", generation=2)
    assert run.saga.outputs["b"] == "first"
    assert run.residuals == []


def test_refusal_of_a_success_that_stands_is_named() -> None:
    """The same dispatch cannot have happened and not happened."""
    run = at.sent()
    run.refuse("a", generation=1)
    assert run.last.ignored is not None
    assert run.last.ignored.reason == CONTRADICTS
    assert run.saga.outputs == {"a": "out-a"}


@pytest.mark.parametrize(
    "say",
    [
        lambda run: run.err("a", generation=1),
        lambda run: run.postpone("a", 5, generation=1),
        lambda run: run.succeed("a", generation=1),
    ],
    ids=["an error", "not now", "again"],
)
def test_what_does_not_deny_a_success_is_no_contradiction(say) -> None:
    """A copy of the command may fail in any way but to say that nothing happened."""
    run = at.sent()
    say(run)
    assert run.last.ignored is not None
    assert run.last.ignored.reason != CONTRADICTS


def test_refusal_of_another_attempt_is_no_contradiction() -> None:
    """The first attempt may have had no effect, where the second one had."""
    run = at.retried()
    run.succeed("b", generation=2)
    run.refuse("b", generation=1)
    assert run.last.ignored is not None
    assert run.last.ignored.reason == NOT_AWAITED


def test_refusal_of_what_was_undone_is_no_contradiction() -> None:
    """The barrier says to a late copy that its undo came first."""
    run = at.compensated()
    run.refuse("a", generation=1)
    assert run.last.ignored is not None
    assert run.last.ignored.reason == NOT_AWAITED


@pytest.mark.parametrize("kind", [StepSucceeded, StepSkipped])
def test_generation_that_was_never_sent(kind: type) -> None:
    """It is ignored whatever it says, and named so."""
    run = at.sent()
    for generation in (0, -1, 2, 99):
        run.apply(kind(replace(run.fence("b"), generation=generation)))
        assert run.last.ignored is not None
        assert run.last.ignored.reason == "never sent"
        assert run.states == ["completed", "started", "pending"]


def test_unknown_step() -> None:
    """A step that the plan does not have is ignored and counted."""
    run = at.sent()
    run.apply(StepFailed(replace(run.fence("b"), step="x"), refused=True))
    assert run.last.ignored is not None
    assert run.saga.ignored == 1


def test_unknown_saga() -> None:
    """There is no row to count on, so the answer itself is told."""
    run = at.sent()
    other = replace(run.fence("b"), saga_id=SagaId("01JGFJJZ00000000000000000B"))
    decision = decide(None, StepSucceeded(other), NOW)
    assert decision.ignored is not None
    assert (decision.saga, decision.changed) == (None, False)
    assert (decision.ignored.number, decision.ignored.fence) == (0, other)


def test_generations_never_repeat() -> None:
    """A first send, a retry, ``RetryLater`` and an undo each take the next one."""
    run = Run(definition(step("a", retry=RetryPolicy(max_attempts=2, jitter=0.0))))
    run.postpone("a", 5)
    run.retry_now("a")
    run.err("a")
    run.retry_now("a")
    run.err("a")
    run.postpone("a", 5)
    run.retry_now("a")
    assert run.all_sent == ["do.a#1", "do.a#2", "do.a#3", "undo.a#4", "undo.a#5"]


def test_success_without_effect_leaves_no_residual() -> None:
    """The barrier knows that the late run changed nothing."""
    run = at.compensated()
    run.succeed("c", effect=False)
    assert run.residuals == []
    assert run.last.ignored is not None


def test_residuals_are_told_once_each() -> None:
    """Redelivery, in whatever order, opens no second record of one effect."""
    run = Run(definition(step("a", retry=TWICE, undo_failed="never")))
    run.err("a")
    run.retry_now("a")
    run.err("a")
    assert run.saga.state == "compensated"
    for generation in (1, 2, 1, 2):
        run.succeed("a", generation=generation)
    assert [residual.fence.generation for residual in run.residuals] == [1, 2]


def test_counted_success_is_no_residual_later() -> None:
    """The success that was counted and undone does not come back as a residual."""
    run = at.undoing_after_retry()
    run.succeed("b", generation=1)
    assert len(run.residuals) == 1
    run.succeed("b", generation=2)
    assert len(run.residuals) == 1


def test_residual_changes_no_state() -> None:
    """It adds a record and an entry, and nothing else."""
    run = at.completed_with_skip()
    before = run.saga
    run.succeed("b", {"id": 7}, generation=1)
    assert run.kinds[-1] is HistoryKind.RESIDUAL_FOUND
    assert (run.saga.state, run.states) == (
        before.state,
        ["completed", "skipped", "completed"],
    )
    assert (run.saga.ended_at, run.saga.version) == (
        before.ended_at,
        before.version + 1,
    )
    assert run.saga.outputs == before.outputs


def test_late_success_while_failed() -> None:
    """The step completes, the saga stays; an operator's retry then goes on."""
    run = at.parked()
    run.succeed("b", "late")
    assert (run.saga.state, run.saga.outputs["b"]) == ("failed", "late")
    run.retry()
    assert (run.saga.state, run.sent) == ("started", ["do.c#1"])


def test_output_is_never_erased() -> None:
    """The undo data of a step outlives its undo."""
    run = at.compensated()
    assert run.saga.outputs["a"] == "out-a"


def test_success_in_the_other_direction() -> None:
    """An action's answer does not acknowledge an undo, and the reverse."""
    run = at.undoing()
    forged = replace(run.fence("b"), direction=Direction.ACTION)
    run.apply(StepFailed(forged, refused=True))
    assert run.last.ignored is not None
    assert run.states == ["completed", "compensating", "compensated"]


def test_history_of_a_success() -> None:
    """The entry holds the output, the update and the queue that answered."""
    run = Run(definition(*sequence("a", "b")))
    run.succeed("a", {"id": 7}, update={"x": 1}, answered_by="saga.steps.pay")
    entry = run.history[-1]
    assert (entry.kind, entry.step, entry.generation) == ("step_succeeded", "a", 1)
    assert entry.data == {
        "output": {"id": 7},
        "update": {"x": 1},
        "answered_by": "saga.steps.pay",
    }
    assert [sent.fence for sent in entry.sent] == [run.fence("b")]


def test_decision_of_nothing() -> None:
    """Looking at the clock before anything is due changes nothing."""
    run = at.sent()
    before = run.saga
    assert run.wait(1) == Decision(before)


def test_skip_of_an_earlier_dispatch_is_ignored() -> None:
    """The present one is out: what it does must not be left out of the account."""
    run = Run(definition(step("a", retry=TWICE)))
    run.err("a")
    run.retry_now("a")
    decision = run.skip("a", generation=1)
    assert decision.ignored is not None
    assert run.status("a").state == "started"
    run.succeed("a")
    assert run.saga.state == "completed"
