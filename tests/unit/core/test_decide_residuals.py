"""What a person makes of a residual: dismissed, or undone by a saga of its own."""

from __future__ import annotations

import pytest

from saga_orchestrator.core.decision import Decision, HistoryKind
from saga_orchestrator.core.dispatch import command_for
from saga_orchestrator.core.residuals import undo_plan
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.errors import TransitionRefused
from tests.support.sagas import SAGA_ID, UNDO_ID, Run, definition, seconds, step

SECRET = b"secret"


def with_residual(**options: object) -> tuple[Run, int]:
    """Return a compensated saga whose step ``a`` succeeded too late."""
    run = Run(definition(step("a", limit=seconds(60), **options)), {"n": 1})
    run.wait(60)
    run.finish()
    assert run.saga.state == "compensated"
    run.succeed("a", {"id": 7}, generation=1)
    return run, run.residuals[-1].number


def started_by(decision: Decision) -> Saga:
    """Return the saga that a decision started."""
    assert decision.started is not None
    assert decision.started.created
    assert decision.started.saga is not None
    return decision.started.saga


def test_dismissed_residual_is_settled_and_on_record() -> None:
    """Who, when and why; the saga itself does not move."""
    run, number = with_residual()
    before = run.saga
    decision = run.dismiss_residual(number)
    assert (run.saga.state, run.saga.residuals) == (before.state, 0)
    assert run.saga.steps == before.steps
    assert decision.started is None
    settled = run.residuals[-1].settled
    assert settled is not None
    assert (settled.principal, settled.reason) == ("ann", "asked")
    assert (settled.at, settled.undo_id) == (run.now, None)
    entry = run.history[-1]
    assert entry.kind is HistoryKind.RESIDUAL_DISMISSED
    assert entry.data == {"principal": "ann", "reason": "asked", "residual": number}


def test_undo_is_a_saga_of_its_own() -> None:
    """It has done the step with the residual's output, and undoes it."""
    run, number = with_residual()
    undo = started_by(run.undo_residual(number))
    assert run.saga.residuals == 0
    assert run.history[-1].data["undo_id"] == UNDO_ID
    assert (undo.id, undo.undoes, undo.state) == (UNDO_ID, SAGA_ID, "compensating")
    assert (undo.name, undo.key) == (run.saga.name, None)
    decision = run.last.started
    assert decision is not None
    assert [entry.kind.value for entry in decision.history] == [
        "saga_started", "step_succeeded", "compensate_requested",
    ]  # fmt: skip
    assert decision.history[-1].data["principal"] == "ann"
    (sent,) = decision.dispatches
    assert (sent.fence.saga_id, sent.fence.step) == (UNDO_ID, "a")


def test_command_of_the_undo_finds_the_effect() -> None:
    """Output and input of the action that was late, its key; a fresh key itself."""
    source = {"$ref": "context.n"}
    run, number = with_residual(input={"n": source})
    undo = started_by(run.undo_residual(number))
    data = undo.data
    command = command_for(undo, 0, type(data)(data.context, {"a": {"id": 7}}), SECRET)
    assert (command.action, command.output) == ("undo.a", {"id": 7})
    assert (command.input, command.context) == ({"n": 1}, {"n": 1})
    assert command.owner == SAGA_ID
    assert command.action_key == f"{SAGA_ID}:a:action"
    assert command.idempotency_key == f"{UNDO_ID}:a:compensation"


def test_same_request_again_changes_nothing() -> None:
    """A commit whose answer was lost is run again: one saga undoes, not two."""
    run, number = with_residual()
    run.undo_residual(number)
    version = run.saga.version
    again = run.undo_residual(number)
    assert (again.refusal, again.started, again.changed) == (None, None, False)
    assert run.saga.version == version


@pytest.mark.parametrize("first", ["undo", "dismiss"])
@pytest.mark.parametrize("second", ["undo", "dismiss"])
def test_residual_is_settled_once(first: str, second: str) -> None:
    """The second person is told what the first one did."""
    run, number = with_residual()
    other = type(UNDO_ID)("01JGFJJZ00000000000000000C")
    run.undo_residual(number) if first == "undo" else run.dismiss_residual(number)
    decision = (
        run.undo_residual(number, other)
        if second == "undo"
        else run.dismiss_residual(number)
    )
    assert isinstance(decision.refusal, TransitionRefused)
    assert "ann" in str(decision.refusal)
    assert (UNDO_ID in str(decision.refusal)) is (first == "undo")
    assert (decision.changed, decision.started) == (False, None)


def test_unknown_residual_is_refused() -> None:
    """The refusal names those there are."""
    run, number = with_residual()
    decision = run.dismiss_residual(number + 1)
    assert isinstance(decision.refusal, TransitionRefused)
    assert f"its residuals are {number}" in str(decision.refusal)
    assert decision.refusal.state == "compensated"


def test_residual_without_a_way_back_is_dismissed_only() -> None:
    """There is no compensation to run: undo it by hand."""
    run, number = with_residual(compensation="")
    decision = run.undo_residual(number)
    assert isinstance(decision.refusal, TransitionRefused)
    assert "no compensation" in str(decision.refusal)
    assert run.saga.residuals == 1
    assert run.dismiss_residual(number).refusal is None


def test_undo_plan_keeps_what_the_step_reads() -> None:
    """Its input's references stay references, to steps that are given."""
    source = {"id": {"$ref": "outputs.a.id"}}
    steps = [step("a"), step("b"), step("c", input=source, when={"context.x": 1})]
    plan = undo_plan(Run(definition(*steps), {"x": 1}).saga.plan, "c")
    assert [one.name for one in plan.steps] == ["a", "b", "c"]
    assert [bool(one.compensation) for one in plan.steps] == [False, False, True]
    assert plan.steps[2].input == source
    assert plan.steps[2].when is None


def test_undo_carries_the_outputs_that_the_action_was_given() -> None:
    """Those of direct dependencies; what only the input refers to stays at home."""
    source = {"id": {"$ref": "outputs.a.id"}}
    steps = [step("a"), step("b"), step("c", input=source)]
    plan = undo_plan(Run(definition(*steps)).saga.plan, "c")
    assert [plan.steps[i].name for i in plan.depends_on[plan.number["c"]]] == ["b"]


def test_undo_that_gives_up_shows_as_failed() -> None:
    """A refused undo needs a person: the undo saga is listed as failed."""
    run, number = with_residual()
    child = Run(definition(step("z")))
    child.saga = started_by(run.undo_residual(number))
    child.refuse("a")
    assert child.saga.state == "failed"
    child.retry()
    child.succeed("a")
    assert child.saga.state == "compensated"
