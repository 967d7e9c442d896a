"""`saga give-up`: wait no longer for a step's answer."""

from __future__ import annotations

from saga_orchestrator.cli.operating import (
    PrincipalOption,
    ReasonOption,
    StepArgument,
    operate,
)
from saga_orchestrator.cli.options import JsonOption, SagaArgument, StoreOption


def give_up(
    saga_id: SagaArgument,
    step: StepArgument,
    *,
    reason: ReasonOption,
    principal: PrincipalOption,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Wait no longer for a step's answer.

    Nobody knows then whether it happened; its retry policy goes on from there.
    An answer that comes later still finds its place.

    Example:
        saga give-up 01JGFJJZ00000000000000000A pay --reason 'the worker is gone'
    """
    operate(
        store,
        lambda manager: manager.give_up(
            saga_id, step, reason=reason, principal=principal
        ),
        as_json=as_json,
    )
