"""`saga retry`: let a failed saga go on."""

from __future__ import annotations

from saga_orchestrator.cli.operating import PrincipalOption, ReasonOption, operate
from saga_orchestrator.cli.options import JsonOption, SagaArgument, StoreOption


def retry(
    saga_id: SagaArgument,
    *,
    reason: ReasonOption,
    principal: PrincipalOption,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a failed saga go on: try again what gave up.

    It goes on in the direction it was going, with fresh attempts and without
    its deadline.

    Example:
        saga retry 01JGFJJZ00000000000000000A --reason 'the bank is back'
    """
    operate(
        store,
        lambda manager: manager.retry(saga_id, reason=reason, principal=principal),
        as_json=as_json,
    )
