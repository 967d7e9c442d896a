"""From a snapshot to the command that is sent: the one place that builds it.

First send, resend and relay all come here, so they say the same, and the
outbox holds fences, not bodies. What a command is made of never changes once
it was dispatched: outputs are written once, the context is read at the
revision that the step was first sent with. Only the instant that it carries is
the saga's latest.
"""

from __future__ import annotations

from collections.abc import Mapping

from saga_orchestrator.core.commands import Command
from saga_orchestrator.core.events import StepFailed
from saga_orchestrator.core.fence import Fence, token_of
from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.references import lookup, resolve
from saga_orchestrator.core.saga import Saga, SagaData, is_of_skipped
from saga_orchestrator.core.states import Direction, Outcome, Phase


def reads_of(saga: Saga, number: int) -> frozenset[str]:
    """Return the steps whose outputs ``command_for`` needs for a step."""
    names = saga.plan.reads[number]
    if saga.steps[number].direction is Direction.COMPENSATION:
        names |= {saga.plan.steps[number].name}
    return names


def is_awaited(saga: Saga, number: int, generation: int) -> bool:
    """Tell whether a dispatch is the one whose answer the step waits for."""
    status = saga.steps[number]
    return status.generation == generation and status.phase is Phase.SENT


def command_for(saga: Saga, number: int, data: SagaData, secret: bytes) -> Command:
    """Build the command of a step's current dispatch.

    Args:
        saga: a snapshot in which the step is in flight.
        number: the step.
        data: the context at the step's revision, and the outputs of
            ``reads_of``.
        secret: the store's; tokens are made with it.

    Raises:
        MissingPathError: the step's input refers to what is not there.
    """
    step = saga.plan.steps[number]
    status = saga.steps[number]
    fence = saga.fence_of(number)
    assert status.opened_at is not None, "only open dispatches have a command"
    undo = fence.direction is Direction.COMPENSATION
    done = undo and status.outcome is Outcome.SUCCEEDED
    direct = (saga.plan.steps[i].name for i in saga.plan.depends_on[number])
    # A skipped step has the output None.
    outputs = dict.fromkeys(saga.plan.reads[number]) | dict(data.outputs)
    argument = _argument(saga, number, data.context, outputs)
    return Command(
        fence=fence,
        token=token_of(secret, fence),
        saga_name=saga.name,
        action=step.compensation if undo else step.action,
        attempt=status.attempt,
        input=argument,
        output=data.outputs.get(step.name) if done else None,
        outputs={name: outputs[name] for name in direct},
        context=data.context,
        timeout=step.timeout,
        expires_at=status.opened_at + saga.plan.limit_of(number, fence.direction),
        deadline_at=None if undo else saga.deadline_at,
        as_of=saga.updated_at,
        undoes=saga.undoes,
        is_known=done,
    )


def _argument(
    saga: Saga, number: int, context: Mapping[str, Json], outputs: Mapping[str, Json]
) -> Json:
    """Return what the handler is given: the input, or the context."""
    step = saga.plan.steps[number]
    if step.input is None:
        return context

    def find(path: str) -> Json:
        if is_of_skipped(saga.plan, saga.steps, path):
            return None
        return lookup(path, context, outputs)

    return resolve(step.input, find)


def unsendable(fence: Fence, problem: str) -> StepFailed:
    """Return what a dispatch has come to whose command cannot be sent.

    A definite no: nobody has seen the command, and it will be no better later.
    """
    return StepFailed(
        fence,
        refused=True,
        error_type="InvalidInput",
        error=problem,
        retryable=False,
    )
