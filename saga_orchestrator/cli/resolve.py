"""`saga resolve`: count a step as done, or undone, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from saga_orchestrator.cli.json_text import parsed
from saga_orchestrator.cli.operating import (
    PrincipalOption,
    ReasonOption,
    StepArgument,
    operate,
)
from saga_orchestrator.cli.options import JsonOption, SagaArgument, StoreOption
from saga_orchestrator.core.states import Direction, SagaState
from saga_orchestrator.errors import TransitionRefused

if TYPE_CHECKING:
    from saga_orchestrator.core.saga import Saga
    from saga_orchestrator.runtime.manager import Manager


def resolve(
    saga_id: SagaArgument,
    step: StepArgument,
    *,
    reason: ReasonOption,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            metavar="JSON",
            help="What the action would have returned; @FILE reads a file, - stdin.",
        ),
    ] = "null",
    done: Annotated[
        bool | None,
        typer.Option(
            "--done/--undone",
            help="Which was done by hand, the action or its undo. Default: the one "
            "that gave up.",
            show_default=False,
        ),
    ] = None,
    principal: PrincipalOption,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count a step as done by hand; let the failed saga go on.

    Later steps read the output, and the step's undo is given it. With --done or
    --undone a saga that has turned back meanwhile does not take the one for the
    other, but refuses.

    Example:
        saga resolve 01JGFJJZ00000000000000000A pay --reason 'paid by phone'
    """
    value = parsed(output, "--output")
    direction = None
    if done is not None:
        direction = Direction.ACTION if done else Direction.COMPENSATION

    async def request(manager: Manager) -> Saga:
        try:
            return await manager.resolve(
                saga_id,
                step,
                reason=reason,
                output=value,
                direction=direction,
                principal=principal,
            )
        except TransitionRefused as error:
            if error.state != SagaState.FAILED:
                raise
            # A failed saga has something to resolve: it was not this, or not so.
            raise TransitionRefused(
                error.saga_id, error.state, f"{error.problem}; see `saga get {saga_id}`"
            ) from error

    operate(store, request, as_json=as_json)
