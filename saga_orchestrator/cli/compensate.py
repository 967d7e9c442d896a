"""`saga compensate`: undo a saga by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from saga_orchestrator.cli.operating import PrincipalOption, ReasonOption, operate
from saga_orchestrator.cli.options import JsonOption, SagaArgument, StoreOption
from saga_orchestrator.errors import TransitionRefused

if TYPE_CHECKING:
    from saga_orchestrator.core.saga import Saga
    from saga_orchestrator.runtime.manager import Manager


def compensate(
    saga_id: SagaArgument,
    *,
    reason: ReasonOption,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also past the pivot, also when it completed."),
    ] = False,
    principal: PrincipalOption,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Undo a saga: what was done is undone in reverse order.

    Returns once the undo is decided on; `saga watch` follows it. On a saga that
    is being undone, or was, nothing changes.

    Example:
        saga compensate 01JGFJJZ00000000000000000A --reason 'customer called'
    """

    async def request(manager: Manager) -> Saga:
        try:
            return await manager.compensate(
                saga_id, reason=reason, principal=principal, force=force
            )
        except TransitionRefused as error:
            if force:
                raise
            # Whatever is refused here, force allows: the table has no other reason.
            raise TransitionRefused(
                error.saga_id, error.state, f"{error.problem}; add --force"
            ) from error

    operate(store, request, as_json=as_json)
