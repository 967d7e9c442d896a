"""What an operator asks: judged by the table, recorded with who and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from saga_orchestrator.core.decide import decide
from saga_orchestrator.core.decision import Decision, HistoryKind
from saga_orchestrator.core.events import (
    CompensateRequested,
    GiveUpRequested,
    ResendRequested,
    ResolveRequested,
    RetryRequested,
    SagaStarted,
    TimeCame,
)
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.plan import compile_plan
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.core.states import Direction, Outcome, SagaState
from saga_orchestrator.errors import KeyConflict, SagaNotFoundError, TransitionRefused
from tests.support.sagas import (
    NOW,
    ONCE,
    SAGA_ID,
    Run,
    definition,
    seconds,
    sequence,
    step,
)
from tests.unit.core import situations as at


@pytest.mark.parametrize(
    ("situation", "ask", "kind"),
    [
        (at.sent, lambda run: run.compensate(), HistoryKind.COMPENSATE_REQUESTED),
        (at.parked, lambda run: run.compensate(), HistoryKind.COMPENSATE_REQUESTED),
        (at.undo_halted, lambda run: run.retry(), HistoryKind.RETRY_REQUESTED),
        (at.parked, lambda run: run.retry(), HistoryKind.RETRY_REQUESTED),
        (at.parked, lambda run: run.resolve("b"), HistoryKind.STEP_RESOLVED),
        (at.undo_halted, lambda run: run.resolve("b"), HistoryKind.STEP_RESOLVED),
        (at.sent, lambda run: run.give_up("b"), HistoryKind.WAIT_GIVEN_UP),
        (at.undoing, lambda run: run.give_up("b"), HistoryKind.WAIT_GIVEN_UP),
    ],
)
def test_every_act_has_a_principal_and_a_reason(
    situation: Callable[[], Run], ask: Callable[[Run], Any], kind: HistoryKind
) -> None:
    """The audit trail says who asked and why, in fields of their own."""
    run = situation()
    ask(run)
    entry = next(entry for entry in run.last.history if entry.kind is kind)
    assert entry.data["principal"] == "ann"
    assert entry.data["reason"] == "asked"


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: at.sent().retry(), "is started: only a failed saga"),
        (lambda: at.completed().compensate(), "is completed: .* needs force"),
        (lambda: at.past_pivot().compensate(), "past its pivot.* needs force"),
        (lambda: at.parked().resolve("x"), "no step 'x'; its steps are a, b, c"),
        (lambda: at.parked().resolve("a"), "step a is completed"),
        (lambda: at.waiting().give_up("b"), "step b is started and waiting"),
    ],
)
def test_refusal_says_why(ask: Callable[[], Any], words: str) -> None:
    """A refused request names the saga's state and what it would take."""
    decision = ask()
    assert isinstance(decision.refusal, TransitionRefused)
    with pytest.raises(TransitionRefused, match=words):
        raise decision.refusal


@pytest.mark.parametrize(
    "event",
    [
        CompensateRequested(SAGA_ID, "ann", "asked"),
        RetryRequested(SAGA_ID, "ann", "asked"),
        ResolveRequested(SAGA_ID, "ann", "asked", "a", Direction.ACTION, 1),
        GiveUpRequested(SAGA_ID, "ann", "asked", "a", 1),
    ],
)
def test_request_for_no_saga(event: Any) -> None:
    """The operator is told; nothing is written."""
    decision = decide(None, event, NOW)
    assert isinstance(decision.refusal, SagaNotFoundError)
    assert not decision.changed


@pytest.mark.parametrize("event", [TimeCame(SAGA_ID), ResendRequested(SAGA_ID)])
def test_time_for_no_saga(event: Any) -> None:
    """A timer of a saga that was deleted is no error."""
    decision = decide(None, event, NOW)
    assert (decision.saga, decision.changed, decision.refusal) == (None, False, None)


def test_retry_has_fresh_attempts_and_no_deadline() -> None:
    """The given-up steps start again, with their whole limit."""
    policy = RetryPolicy(max_attempts=2, jitter=0.0)
    run = Run(
        definition(step("a", retry=policy), on_failure="park", deadline=seconds(3600))
    )
    run.err("a")
    run.retry_now("a")
    run.err("a")
    run.wait(7200)
    run.retry()
    status = run.status("a")
    assert (status.attempt, status.generation, status.opened_at) == (1, 3, run.now)
    assert (run.saga.deadline_at, run.saga.reason) == (None, "")
    assert status.outcome is Outcome.UNKNOWN
    run.err("a")
    assert run.saga.state == "started"


def test_resolve_goes_on_though_the_deadline_passed() -> None:
    """A person settled it late; the passed deadline must not undo it all at once."""
    run = Run(
        definition(
            *sequence("a", "b", retry=ONCE), on_failure="park", deadline=seconds(60)
        )
    )
    run.err("a")
    run.wait(3600)
    run.resolve("a")
    run.wait(1)
    assert run.saga.state == "started"
    run.finish()
    assert run.saga.state == "completed"


def test_resolved_output_counts() -> None:
    """The operator's output is what later steps see, and it is marked."""
    run = at.parked()
    run.resolve("b", {"id": 9})
    assert run.saga.outputs["b"] == {"id": 9}
    assert run.history[-1].data["output"] == {"id": 9}
    assert run.status("b").outcome is Outcome.SUCCEEDED


def test_resolve_with_another_step_still_failed() -> None:
    """The saga goes on as far as it can, and stops again for the other one."""
    sides = sequence("x", "y", depends_on=["r"], retry=ONCE)
    run = Run(definition(step("r"), *sides, on_failure="park"))
    run.succeed("r")
    run.err("x")
    run.err("y")
    run.resolve("x")
    assert (run.saga.state, run.states) == (
        "failed",
        ["completed", "completed", "failed"],
    )
    run.resolve("y")
    assert (run.saga.state, run.saga.reason) == ("completed", "")


def test_give_up_is_unknown() -> None:
    """It is no refusal: the effect may stand, so the step is undone."""
    run = at.retried()
    run.give_up("b")
    assert (run.status("b").outcome, run.sent) == (Outcome.UNKNOWN, ["undo.b#3"])


def test_give_up_of_an_accepted_step() -> None:
    """A participant that took it and went silent does not hold the saga."""
    run = Run(definition(step("a", retry=ONCE)))
    run.accept("a", heartbeat=False)
    run.give_up("a")
    assert run.sent == ["undo.a#2"]


def test_late_answer_after_give_up() -> None:
    """A success that comes after all is never lost."""
    run = at.sent()
    run.give_up("b")
    run.succeed("b", "late")
    assert (run.states[1], run.saga.outputs["b"]) == ("completed", "late")


def test_requests_twice() -> None:
    """The same request again is refused or changes nothing."""
    cases: list[tuple[Callable[[], Run], Callable[[Run], Decision]]] = [
        (at.sent, lambda run: run.compensate()),
        (at.parked, lambda run: run.retry()),
        (at.parked, lambda run: run.resolve("b")),
        (at.sent, lambda run: run.give_up("b")),
    ]
    for situation, ask in cases:
        run = situation()
        ask(run)
        saga = run.saga
        decision = ask(run)
        assert (decision.saga, decision.changed) == (saga, False)


@pytest.mark.parametrize("kind", [RetryRequested, CompensateRequested])
def test_a_request_that_was_applied_is_not_refused(kind: Any) -> None:
    """Whatever became of the saga since: its id says that it was done."""
    run = at.parked()
    event = kind(SAGA_ID, "ann", "asked", request_id="r-1")
    assert run.apply(event).history[0].data["request_id"] == "r-1"
    before = run.saga
    again = run.apply(event)
    assert (again.refusal, again.changed, run.saga) == (None, False, before)
    other = run.apply(RetryRequested(SAGA_ID, "ann", "asked", request_id="r-2"))
    assert other.refusal is not None


def test_give_up_meets_only_the_dispatch_it_was_asked_for() -> None:
    """A commit may run twice: the second run must not give up the undo as well."""
    run = at.retried()
    event = GiveUpRequested(SAGA_ID, "ann", "asked", "b", 2)
    run.apply(event)
    assert run.sent == ["undo.b#3"]
    assert run.apply(event).refusal is not None


def _started(**changes: Any) -> SagaStarted:
    fields: dict[str, Any] = {
        "saga_id": SAGA_ID,
        "plan": compile_plan(definition(step("a"))),
        "context": {},
        "key": "k",
        "fingerprint": "f",
    }
    return SagaStarted(**{**fields, **changes})


def test_start_with_a_key_twice() -> None:
    """The same body returns the saga, whatever its state; another is a conflict."""
    run = Run(definition(step("a")))
    first = decide(None, _started(), NOW).saga
    again = decide(first, _started(saga_id=SagaId("01JGFJJZ00000000000000000B")), NOW)
    assert (again.saga, again.changed, again.refusal) == (first, False, None)
    other = decide(first, _started(fingerprint="g"), NOW)
    assert isinstance(other.refusal, KeyConflict)
    assert (other.saga, other.changed) == (first, False)
    assert other.refusal.saga_id == run.saga.id


def test_compensating_a_failed_saga_past_its_pivot_needs_force() -> None:
    """It only goes forward; a person who wants it undone has to say so."""
    steps = [step("a"), step("b", pivot=True), step("c", retry=ONCE)]
    run = Run(definition(*steps))
    run.succeed("a")
    run.succeed("b")
    run.refuse("c")
    assert run.saga.state is SagaState.FAILED
    assert run.compensate(force=False).refusal is not None
    assert run.saga.state is SagaState.FAILED
    run.compensate(force=True)
    assert run.saga.state is SagaState.COMPENSATING
