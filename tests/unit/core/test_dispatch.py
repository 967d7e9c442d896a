"""From a snapshot to a command: first send, resend and relay say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from saga_orchestrator.core.commands import Answer, Reply, event_of, routing_key
from saga_orchestrator.core.dispatch import command_for, is_awaited, reads_of
from saga_orchestrator.core.events import (
    StepAccepted,
    StepFailed,
    StepHeartbeat,
    StepPostponed,
    StepSkipped,
    StepSucceeded,
)
from saga_orchestrator.core.fence import is_genuine
from saga_orchestrator.core.references import MissingPathError
from saga_orchestrator.core.saga import SagaData
from saga_orchestrator.core.states import Direction
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

if TYPE_CHECKING:
    from saga_orchestrator.core.commands import Command

_SECRET = b"secret"
_CONTEXT = {"customer": "c-1"}


def _command(run: Run, name: str, data: SagaData | None = None) -> Command:
    number = run.saga.plan.number[name]
    return command_for(run.saga, number, data or run.saga.data, _SECRET)


def test_action_command() -> None:
    """A command carries its fence, a token, its attempt and the time that remains."""
    options = {"timeout": seconds(30), "limit": seconds(600)}
    run = Run(definition(step("a", **options), deadline=seconds(900)), _CONTEXT)
    command = _command(run, "a")
    assert command.fence == run.fence("a")
    assert is_genuine(_SECRET, command.fence, command.token)
    assert (command.saga_name, command.action, command.attempt) == ("order", "do.a", 1)
    assert (command.input, command.context) == (_CONTEXT, _CONTEXT)
    assert (command.output, command.outputs) == (None, {})
    assert command.timeout == seconds(30)
    assert command.expires_at == NOW + seconds(600)
    assert command.deadline_at == NOW + seconds(900)
    assert command.routing_key == "step.do.a"
    assert command.idempotency_key == command.action_key == f"{SAGA_ID}:a:action"


def test_input_with_references() -> None:
    """``$ref`` reads the context and any ancestor's output."""
    wanted = {"who": {"$ref": "context.customer"}, "id": {"$ref": "outputs.a.id"}}
    run = Run(definition(*sequence("a", "b"), step("c", input=wanted)), _CONTEXT)
    run.succeed("a", {"id": 7})
    run.succeed("b", {"big": "not wanted"})
    assert _command(run, "c").input == {"who": "c-1", "id": 7}


def test_outputs_of_direct_dependencies_only() -> None:
    """A command does not grow with its saga."""
    run = Run(definition(*sequence("a", "b", "c")), _CONTEXT)
    run.succeed("a", 1)
    run.succeed("b", 2)
    assert _command(run, "c").outputs == {"b": 2}
    assert reads_of(run.saga, 2) == {"b"}


def test_missing_path_is_told() -> None:
    """An input that refers to what is not there names the path."""
    reading = step("b", input={"$ref": "context.x.y"})
    run = Run(definition(step("a"), reading), _CONTEXT)
    run.succeed("a")
    with pytest.raises(MissingPathError, match=r"context\.x\.y"):
        _command(run, "b")


def test_output_of_a_skipped_step_is_none() -> None:
    """A skipped step has output None, for ``$ref`` as for the handler."""
    paths = {"found": "outputs.a", "deep": "outputs.a.by.name"}
    last = step("b", input={key: {"$ref": path} for key, path in paths.items()})
    run = Run(definition(step("a"), last))
    run.skip("a")
    command = _command(run, "b", SagaData({}, {}))
    assert command.input == {"found": None, "deep": None}
    assert command.outputs == {"a": None}


def test_input_is_snapshotted_at_the_first_dispatch() -> None:
    """A retry reads the revision that the step was first sent with."""
    steps = [step("a"), step("b"), step("c", depends_on=["b"])]
    run = Run(definition(*steps), _CONTEXT)
    first = run.status("a").revision
    run.err("a")
    run.succeed("b", update={"customer": "c-2"})
    run.retry_now("a")
    assert (run.saga.revision, run.status("a").revision) == (1, first)
    assert run.status("c").revision == 1


def test_step_sees_the_update_of_the_step_before() -> None:
    """``ctx.update`` is merged before the next step is sent; None deletes."""
    run = Run(definition(*sequence("a", "b")), {"x": 1, "y": {"z": 1}, "old": 1})
    decision = run.succeed("a", update={"x": 2, "y": {}, "old": None})
    assert decision.update == {"x": 2, "y": {}, "old": None}
    assert run.saga.context == {"x": 2, "y": {}}
    assert run.status("b").revision == run.saga.revision == 1


def test_step_sees_the_update_of_a_skipped_step() -> None:
    """A handler that skips may have updated the context, too."""
    run = Run(definition(*sequence("a", "b")), {"x": 1})
    run.skip("a", update={"x": 2})
    assert run.saga.context == {"x": 2}
    assert run.status("b").revision == run.saga.revision == 1


def _compensating(*, output: object, unknown: bool = False) -> Run:
    run = Run(definition(*sequence("a", "b", retry=ONCE), deadline=seconds(600)))
    if unknown:
        run.err("a")
    else:
        run.succeed("a", output)
        run.refuse("b")
    return run


def test_undo_gets_the_output_of_its_step() -> None:
    """The undo of a success is given what the action returned."""
    run = _compensating(output={"id": 7})
    command = _command(run, "a")
    assert reads_of(run.saga, 0) == {"a"}
    assert (command.action, command.output) == ("undo.a", {"id": 7})
    assert command.routing_key == "compensate.undo.a"
    assert command.idempotency_key == f"{SAGA_ID}:a:compensation"
    assert command.action_key == f"{SAGA_ID}:a:action"
    assert command.deadline_at is None
    assert (command.fence.generation, command.attempt) == (2, 1)


def test_undo_of_an_unknown_gets_none() -> None:
    """Nobody knows the output, so the undo gets None and the action's key."""
    command = _command(_compensating(output=None, unknown=True), "a")
    assert (command.action, command.output) == ("undo.a", None)
    assert command.action_key == f"{SAGA_ID}:a:action"


def test_undo_of_a_resolved_step_gets_the_operators_output() -> None:
    """What a person says of a step counts as its output."""
    run = Run(definition(step("a", retry=ONCE), step("b"), on_failure="park"))
    run.err("a")
    run.resolve("a", {"id": 9})
    run.compensate()
    run.refuse("b")
    assert run.saga.state == "compensating"
    assert _command(run, "a").output == {"id": 9}


def test_undo_has_a_limit_of_its_own() -> None:
    """The deadline bounds the forward part only, so it does not shorten an undo."""
    run = _compensating(output=1)
    assert _command(run, "a").expires_at == NOW + seconds(24 * 3600)


def test_is_awaited() -> None:
    """Only the current dispatch, and only until it is answered or accepted."""
    run = Run(definition(step("a")))
    assert is_awaited(run.saga, 0, 1)
    assert not is_awaited(run.saga, 0, 2)
    run.accept("a")
    assert not is_awaited(run.saga, 0, 1)
    run.err("a")
    run.retry_now("a")
    assert not is_awaited(run.saga, 0, 1)
    assert is_awaited(run.saga, 0, 2)


@pytest.mark.parametrize("answer", Answer)
def test_every_answer_is_an_event(answer: Answer) -> None:
    """Each word of a reply means one event, for the same dispatch."""
    fence = Run(definition(step("a"))).fence("a")
    kinds = {
        Answer.SUCCEEDED: StepSucceeded,
        Answer.SKIPPED: StepSkipped,
        Answer.RETRY_LATER: StepPostponed,
        Answer.ACCEPTED: StepAccepted,
        Answer.HEARTBEAT: StepHeartbeat,
    }
    event = event_of(Reply(fence, "token", answer))
    assert type(event) is kinds.get(answer, StepFailed)
    assert event.fence == fence


@pytest.mark.parametrize(
    ("answer", "refused", "retryable"),
    [
        (Answer.REFUSED, True, True),
        (Answer.UNKNOWN, False, True),
        (Answer.SUPERSEDED, True, False),
    ],
)
def test_failures_of_a_reply(answer: Answer, *, refused: bool, retryable: bool) -> None:
    """Superseded is a definite no for good: its undo ran before."""
    fence = Run(definition(step("a"))).fence("a")
    event = event_of(Reply(fence, "token", answer, error_type="E", error="text"))
    assert event == StepFailed(fence, refused, "E", "text", retryable)


def test_routing_keys() -> None:
    """Actions and compensations have keys of their own."""
    assert routing_key(Direction.ACTION, "pay.charge") == "step.pay.charge"
    assert routing_key(Direction.COMPENSATION, "pay.back") == "compensate.pay.back"
