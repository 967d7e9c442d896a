"""An operator's hands: what a person may ask of sagas, each act on record."""

from __future__ import annotations

from typing import Protocol

from saga_orchestrator.core.decision import Decision
from saga_orchestrator.core.events import (
    CompensateRequested,
    Event,
    GiveUpRequested,
    ResidualDismissRequested,
    ResidualUndoRequested,
    ResolveRequested,
    RetryRequested,
)
from saga_orchestrator.core.ids import SagaId, is_saga_id
from saga_orchestrator.core.payload import Json, normalise
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.core.residuals import unknown_residual
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import Direction
from saga_orchestrator.errors import SagaNotFoundError, TransitionRefused
from saga_orchestrator.ports.records import SagaRecord
from saga_orchestrator.ports.store import Store
from saga_orchestrator.runtime.ids import NewId
from saga_orchestrator.runtime.starting import checked_text

PATIENCE_SECONDS = 30.0
"""How long a caller's own event waits for a store that is away."""

PRINCIPAL = "manager"


class Commits(Protocol):
    """Where events are committed: the pipeline."""

    async def submit(self, event: Event, *, patience: float) -> Decision:
        """Commit an event and return its decision."""
        ...


class Operator:
    """Puts right what a machine cannot.

    All methods take a ``reason`` and a ``principal``, who asks; both are kept
    in the history. With ``if_version``, the version of the saga that the caller has
    seen, nothing is done to a saga that has gone on since. They raise:

    PayloadError: reason, principal or output is missing, too long or
        unreadable; names it.
    SagaNotFoundError: no such saga.
    TransitionRefused: the state does not allow it; names the state and the fix.
    StaleVersionError: the saga is not at ``if_version``; one of the above.
    StoreUnavailableError: the store stayed away.

    Whatever is raised, nothing has changed; but for the last, where it may have.
    A request whose commit lost its answer is judged again, knows itself by its
    id in the history, and answers as the first time.
    """

    def __init__(self, store: Store, commits: Commits, new_id: NewId) -> None:
        self._store = store
        self._commits = commits
        self._new_id = new_id

    async def compensate(
        self,
        saga_id: str,
        *,
        reason: str,
        principal: str = PRINCIPAL,
        force: bool = False,
        if_version: int | None = None,
    ) -> Saga:
        """Undo a saga: abort a started one, resume the undo of a failed one.

        Args:
            saga_id: which.
            reason: why.
            principal: who asks.
            force: also past the pivot, also when it completed.
            if_version: as for all requests.

        Returns:
            The saga; one that is being undone, or was, is left as it is.
        """
        checked = _checked(saga_id, principal, reason)
        version = (await self._load(checked[0])).version
        return await self._submit(
            CompensateRequested(
                *checked,
                force=force,
                version=version,
                request_id=self._new_id(),
                if_version=if_version,
            )
        )

    async def retry(
        self,
        saga_id: str,
        *,
        reason: str,
        principal: str = PRINCIPAL,
        if_version: int | None = None,
    ) -> Saga:
        """Let a failed saga go on: what gave up is tried again.

        In the direction it was going, with fresh attempts; its deadline is
        cleared.
        """
        checked = _checked(saga_id, principal, reason)
        version = (await self._load(checked[0])).version
        return await self._submit(
            RetryRequested(
                *checked, version, request_id=self._new_id(), if_version=if_version
            )
        )

    async def resolve(
        self,
        saga_id: str,
        step: str,
        *,
        reason: str,
        output: Json = None,
        direction: Direction | None = None,
        principal: str = PRINCIPAL,
        if_version: int | None = None,
    ) -> Saga:
        """Count a step of a failed saga as done, or undone, by hand; go on.

        Args:
            saga_id: which.
            step: the step that gave up.
            reason: why.
            output: where the action was done by hand, what it would have
                returned: later steps read it, its undo is given it.
            direction: whether the action was done, or its undo; None: whichever
                way the saga was going.
            principal: who did it.
            if_version: as for all requests.
        """
        checked = _checked(saga_id, principal, reason)
        output = normalise(output, "output")
        saga = await self._load(checked[0])
        event = ResolveRequested(
            *checked,
            step,
            direction or saga.direction,
            _generation(saga, step),
            output,
            request_id=self._new_id(),
            if_version=if_version,
        )
        return await self._submit(event)

    async def give_up(
        self,
        saga_id: str,
        step: str,
        *,
        reason: str,
        principal: str = PRINCIPAL,
        if_version: int | None = None,
    ) -> Saga:
        """Wait no longer for a step's answer: its outcome counts as unknown, now.

        Its retry policy goes on from there. An answer that comes later still
        finds its place.
        """
        checked = _checked(saga_id, principal, reason)
        generation = _generation(await self._load(checked[0]), step)
        return await self._submit(
            GiveUpRequested(
                *checked,
                step,
                generation,
                request_id=self._new_id(),
                if_version=if_version,
            )
        )

    async def residuals(
        self, limit: int = 100, *, after: Residual | None = None
    ) -> list[Residual]:
        """Return effects that may stand outside any saga's account, still open.

        Args:
            limit: at most.
            after: the last one of the page before.
        """
        cursor = None if after is None else (after.fence.saga_id, after.number)
        return await self._store.open_residuals(limit, after=cursor)

    async def undo_residual(
        self,
        saga_id: str,
        number: int,
        *,
        reason: str,
        principal: str = PRINCIPAL,
        if_version: int | None = None,
    ) -> Saga:
        """Have a residual undone, by a saga of its own.

        That saga runs the step's compensation with the residual's output, under
        a key of its own, by the step's retry policy.

        Returns:
            The saga that undoes it: follow it like any other.
        """
        checked = _checked(saga_id, principal, reason)
        residual = await self._residual(checked[0], number)
        loaded = await self._store.load_step(checked[0], residual.fence.step)
        if loaded is None:
            raise SagaNotFoundError(saga_id)
        undo_id = self._new_id()
        event = ResidualUndoRequested(
            *checked,
            number,
            undo_id,
            loaded[1],
            request_id=undo_id,
            if_version=if_version,
        )
        await self._submit(event)
        return await self._load(event.undo_id)

    async def dismiss_residual(
        self,
        saga_id: str,
        number: int,
        *,
        reason: str,
        principal: str = PRINCIPAL,
        if_version: int | None = None,
    ) -> Saga:
        """Settle a residual that needs no undo."""
        checked = _checked(saga_id, principal, reason)
        return await self._submit(
            ResidualDismissRequested(
                *checked, number, request_id=self._new_id(), if_version=if_version
            )
        )

    async def _residual(self, saga_id: SagaId, number: int) -> Residual:
        record = await self._record(saga_id)
        for residual in record.residuals:
            if residual.number == number:
                return residual
        numbers = [residual.number for residual in record.residuals]
        raise TransitionRefused(
            saga_id, record.saga.state, unknown_residual(number, numbers)
        )

    async def _load(self, saga_id: SagaId) -> Saga:
        saga = await self._store.load(saga_id)
        if saga is None:
            raise SagaNotFoundError(saga_id)
        return saga

    async def _record(self, saga_id: SagaId) -> SagaRecord:
        record = await self._store.record(saga_id)
        if record is None:
            raise SagaNotFoundError(saga_id)
        return record

    async def _submit(self, event: Event) -> Saga:
        return saga_of(await self._commits.submit(event, patience=PATIENCE_SECONDS))


def saga_of(decision: Decision) -> Saga:
    """Return the saga after a start or a request; raise what it was refused with."""
    if decision.refusal is not None:
        raise decision.refusal
    assert decision.saga is not None, "only answers may be about no saga"
    return decision.saga


def checked_id(saga_id: str) -> SagaId:
    """Return what has the form of an id; a store need not be asked for others.

    Raises:
        SagaNotFoundError: it cannot be one.
    """
    if not is_saga_id(saga_id):
        raise SagaNotFoundError(saga_id)
    return SagaId(saga_id)


def _generation(saga: Saga, step: str) -> int:
    """Return the dispatch that the caller has seen; 0 where there is no such step."""
    return saga.status(step).generation if step in saga.plan.number else 0


def _checked(saga_id: str, principal: str, reason: str) -> tuple[SagaId, str, str]:
    return (
        checked_id(saga_id),
        checked_text(principal, "principal"),
        checked_text(reason, "reason"),
    )
