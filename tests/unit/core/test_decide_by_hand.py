"""What a person did by hand, or lets go on: it counts for what it was, once."""

from __future__ import annotations

import pytest

from saga_orchestrator.core.events import RetryRequested, SagaStarted, StepFailed
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.plan import compile_plan
from saga_orchestrator.core.states import Direction, StepState
from saga_orchestrator.errors import TransitionRefused
from saga_orchestrator.ports.store import Store
from tests.support.sagas import ONCE, SAGA_ID, Run, definition, seconds, sequence, step


async def test_a_step_that_was_done_by_hand_does_not_count_as_undone() -> None:
    """Who says "completed" of a saga that meanwhile turned back is refused."""
    store = await Store.open("memory://")
    plan = compile_plan(
        definition(step("pay", retry=ONCE, compensation_retry=ONCE), step("ship"))
    )
    action = Fence(SAGA_ID, "pay", Direction.ACTION, 1)
    undo = Fence(SAGA_ID, "pay", Direction.COMPENSATION, 2)
    await store.transact([SagaStarted(SAGA_ID, plan, {})])
    await store.transact([StepFailed(action, refused=False)])
    await store.transact([StepFailed(undo, refused=False)])
    with pytest.raises(TransitionRefused):
        await store.update_step(
            SAGA_ID, "pay", StepState.COMPLETED, principal="ann", reason="by phone"
        )


def test_the_undo_of_a_resolved_step_that_was_never_sent_sees_todays_context() -> None:
    """It was done by hand now, not with the context of the start."""
    steps = [step("a"), step("b", when={"context.late": 1}), step("c")]
    run = Run(definition(*steps, on_failure="park"))
    run.succeed("a", update={"x": 5})
    run.resolve("b", {"id": 1})
    assert run.status("b").revision == run.saga.revision


def test_a_late_success_of_a_step_done_by_hand_is_a_residual() -> None:
    """The effect may stand twice: by the person's hand, and by the participant's."""
    run = Run(definition(step("pay", retry=ONCE), step("ship"), on_failure="park"))
    run.err("pay")
    run.resolve("pay", {"receipt": "by hand"})
    run.succeed("pay", {"receipt": "by machine"}, generation=1)
    assert run.saga.residuals == 1


def test_resolving_another_step_does_not_pass_over_an_undo_that_gave_up() -> None:
    """B is not undone while c, which came after it, still stands: "halt" holds."""
    run = Run(
        definition(
            *sequence("a", "b", "c", compensation_retry=ONCE), step("d", retry=ONCE)
        )
    )
    for name in ("a", "b", "c"):
        run.succeed(name)
    run.refuse("d")
    run.refuse("c")
    run.resolve("a")
    assert run.sent == []


def test_no_action_is_sent_by_the_event_that_aborts_its_saga() -> None:
    """S4: a sibling's condition cannot be judged; the charge must not go out."""
    steps = [
        step("order"),
        step("charge", depends_on=["order"]),
        step("fraud", depends_on=["order"], when={"context.misspelt": 1}),
    ]
    run = Run(definition(*steps))
    run.succeed("order")
    assert run.saga.state != "started"
    assert "do.charge#1" not in run.sent


def test_one_parked_retry_sends_nothing_it_cannot_judge() -> None:
    """What gave up is not charged again while a sibling's condition is unreadable."""
    steps = [
        step("order"),
        step("charge", depends_on=["order"], retry=ONCE),
        step("wait", depends_on=["order"]),
        step("fraud", depends_on=["wait"], when={"context.misspelt": 1}),
    ]
    run = Run(definition(*steps, on_failure="park"))
    run.succeed("order")
    run.succeed("wait")
    run.refuse("charge")
    assert run.saga.state == "failed"
    run.retry()
    assert (run.saga.state, run.sent) == ("failed", [])


@pytest.mark.parametrize("direction", list(Direction))
def test_resolve_says_which_handler_was_done(direction: Direction) -> None:
    """Done counts only forward, undone only while undoing; else look again."""
    steps = [step("a"), step("b", retry=ONCE)]
    run = Run(definition(*steps, on_failure="park"))
    run.succeed("a")
    run.refuse("b")
    if direction is Direction.ACTION:
        run.compensate()
        run.refuse("a")
        wrong, name = Direction.ACTION, "a"
    else:
        wrong, name = Direction.COMPENSATION, "b"
    assert run.saga.state == "failed"
    before = run.saga
    decision = run.resolve(name, direction=wrong)
    assert isinstance(decision.refusal, TransitionRefused)
    assert "look again" in str(decision.refusal)
    assert run.saga == before


def test_an_undo_done_by_hand_has_no_output() -> None:
    """Whoever gives one believes that the action was done."""
    run = Run(definition(step("a", compensation_retry=ONCE), step("b", retry=ONCE)))
    run.succeed("a")
    run.refuse("b")
    run.refuse("a")
    decision = run.resolve("a", {"id": 1})
    assert isinstance(decision.refusal, TransitionRefused)
    assert "no output" in str(decision.refusal)


def test_a_retry_is_for_the_failure_that_was_seen() -> None:
    """The saga went on and failed again: the same request does not apply twice."""
    run = Run(definition(step("a", retry=ONCE), on_failure="park"))
    run.refuse("a")
    seen = RetryRequested(SAGA_ID, "ann", "asked", run.saga.version)
    run.apply(seen)
    run.refuse("a")
    decision = run.apply(seen)
    assert isinstance(decision.refusal, TransitionRefused)
    assert "failed again" in str(decision.refusal)
    assert run.retry().refusal is None


def test_a_residual_waits_for_the_undo_of_its_step() -> None:
    """That undo may be undoing just this effect: two would refund it twice."""
    run = Run(definition(step("a", limit=seconds(60))))
    run.wait(60)
    run.succeed("a", {"id": 7}, generation=1)
    (residual,) = run.residuals
    decision = run.undo_residual(residual.number)
    assert isinstance(decision.refusal, TransitionRefused)
    assert "not through" in str(decision.refusal)
    run.finish()
    assert run.undo_residual(residual.number).started is not None
