"""What a person does in a play: ``operator.retries()`` and the like.

Without ``at`` a person acts when nothing more would happen by itself: the saga
has failed or ended. Several such acts take turns: each when nothing more comes
of the one before. With ``at`` a person acts at that time after the start.

An act that is not allowed raises ``TransitionRefused`` in the test.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.payload import Json
from saga_orchestrator.runtime.operator import Operator
from saga_orchestrator.testing.fate import check_duration

REASON = "because the test says so"
PRINCIPAL = "operator"


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that a person asks.

    Attributes:
        ask: asks it of a saga.
        at: how long after the start; None: when nothing else would happen.
    """

    ask: Callable[[Operator, SagaId], Awaitable[object]]
    at: dt.timedelta | None = None

    def __post_init__(self) -> None:
        """Refuse a time that is none.

        Raises:
            TypeError, ValueError: not a duration, or before the start.
        """
        check_duration(self.at)


def compensates(
    *, force: bool = False, reason: str = REASON, at: dt.timedelta | None = None
) -> Act:
    """Ask for the saga to be undone."""

    async def ask(operator: Operator, saga_id: SagaId) -> None:
        await operator.compensate(
            saga_id, reason=reason, principal=PRINCIPAL, force=force
        )

    return Act(ask, at)


def retries(*, reason: str = REASON, at: dt.timedelta | None = None) -> Act:
    """Ask for what gave up to be tried again."""

    async def ask(operator: Operator, saga_id: SagaId) -> None:
        await operator.retry(saga_id, reason=reason, principal=PRINCIPAL)

    return Act(ask, at)


def resolves(
    step: str,
    output: Json = None,
    *,
    reason: str = REASON,
    at: dt.timedelta | None = None,
) -> Act:
    """Say that a step was done, or undone, by hand."""

    async def ask(operator: Operator, saga_id: SagaId) -> None:
        await operator.resolve(
            saga_id, step, reason=reason, output=output, principal=PRINCIPAL
        )

    return Act(ask, at)


def gives_up(step: str, *, at: dt.timedelta, reason: str = REASON) -> Act:
    """Wait no longer for a step's answer.

    It needs its time: by the time that nothing else would happen, the limit of
    every step has passed, and no answer is awaited any more.
    """

    async def ask(operator: Operator, saga_id: SagaId) -> None:
        await operator.give_up(saga_id, step, reason=reason, principal=PRINCIPAL)

    return Act(ask, at)


def undoes_residuals(*, reason: str = REASON, at: dt.timedelta | None = None) -> Act:
    """Have every open residual of the saga undone."""

    async def ask(operator: Operator, saga_id: SagaId) -> None:
        for number in await _open(operator, saga_id):
            await operator.undo_residual(
                saga_id, number, reason=reason, principal=PRINCIPAL
            )

    return Act(ask, at)


def dismisses_residuals(*, reason: str = REASON, at: dt.timedelta | None = None) -> Act:
    """Settle every open residual of the saga without an undo."""

    async def ask(operator: Operator, saga_id: SagaId) -> None:
        for number in await _open(operator, saga_id):
            await operator.dismiss_residual(
                saga_id, number, reason=reason, principal=PRINCIPAL
            )

    return Act(ask, at)


async def _open(operator: Operator, saga_id: SagaId) -> list[int]:
    residuals = await operator.residuals(limit=1000)
    return [one.number for one in residuals if one.fence.saga_id == saga_id]
