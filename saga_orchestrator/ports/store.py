"""What the engine needs of a store, and what it may rely on.

Three adapters implement this contract, memory, SQLite and PostgreSQL, and one
conformance suite (``tests/conformance/test_store*.py``) holds them to it.

A store has one verb that matters, ``transact``. It holds no transition rule:
it locks, loads, asks ``core.batch.decide_batch``, writes, commits. The classic
operations (save, load, delete, list, update) are a face on top of that.
"""

from __future__ import annotations

import abc
import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from saga_orchestrator.core.decision import (
    Decision,
)
from saga_orchestrator.core.events import (
    CompensateRequested,
    Event,
    GiveUpRequested,
    ResolveRequested,
    SagaStarted,
)
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.core.saga import Saga, SagaData
from saga_orchestrator.core.states import ACTIVE, Direction, SagaState, StepState
from saga_orchestrator.errors import (
    ConfigurationError,
    SagaAlreadyExistsError,
    SagaNotFoundError,
    TransitionRefused,
)
from saga_orchestrator.ports.adapters import STORES, adapter_for
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.event_store import EventStore
from saga_orchestrator.ports.keep import Keep as Keep  # noqa: PLC0414 - as SagaFilter
from saga_orchestrator.ports.keys import ApiKeys
from saga_orchestrator.ports.overview import Overview, PoolUse, Waiting
from saga_orchestrator.ports.records import Migration, OutboxRow, Page, SagaRecord
from saga_orchestrator.ports.saga_filter import (
    SagaFilter as SagaFilter,  # noqa: PLC0414 - it is part of this contract
)

LEASE = dt.timedelta(seconds=5)
"""How long a new outbox row belongs to the process that wrote it."""

IGNORED_KEPT = 20
"""Ignored answers that a saga keeps; older ones are only counted."""


class Store(EventStore, abc.ABC):
    """Sagas, their history, their outgoing commands and their timers.

    Every method may be called concurrently from one event loop. Errors of the
    driver never pass: they come as ``StoreError`` and its subclasses, with the
    cause attached. The time is the database's, unless a clock was given.
    """

    @classmethod
    async def open(
        cls, url: str, *, clock: Clock | None = None, migrate: bool | None = None
    ) -> Store:
        """Open the store behind a URL: ``memory://``, ``sqlite:///…``, ``postgresql://…``.

        Args:
            url: its scheme picks the adapter.
            clock: where the time comes from; None: from the database.
            migrate: bring the schema up to date first; None: where the store is
                embedded, as nobody else would do it.

        Raises:
            ConfigurationError: an unknown scheme, or a URL that makes no sense.
            StoreUnavailableError: no such server, or wrong credentials.
            SchemaVersionError: the schema is missing, too old or too new.
        """
        adapter: type[Store] = adapter_for(STORES, "store", url)
        return await adapter.connect(url, clock=clock, migrate=migrate)

    @classmethod
    @abc.abstractmethod
    async def connect(
        cls, url: str, *, clock: Clock | None, migrate: bool | None
    ) -> Store:
        """Open this kind of store; ``open`` calls it."""

    @classmethod
    @abc.abstractmethod
    async def migrate(cls, url: str, *, dry_run: bool = False) -> list[Migration]:
        """Bring the schema up to date; safe to run from many processes at once.

        Args:
            url: of this kind of store.
            dry_run: only return what would be applied.

        Returns:
            The migrations applied now, in order; empty: it was up to date.

        Raises:
            SchemaVersionError: a migration that was applied has changed since,
                or the schema is newer than this code.
        """

    @property
    @abc.abstractmethod
    def secret(self) -> bytes:
        """32 random bytes made with the store; tokens are HMACs with it."""

    @property
    @abc.abstractmethod
    def api_keys(self) -> ApiKeys:
        """Who may call the HTTP API on this store."""

    @abc.abstractmethod
    async def transact(
        self,
        events: Sequence[Event],
        *,
        settled: Sequence[Fence] = (),
        lease: dt.timedelta = LEASE,
    ) -> list[Decision]:
        """Decide and perform a batch of events.

        In one transaction: locks the sagas' rows in id order, reads the clock,
        loads what ``decide`` needs, decides, writes the snapshots, appends
        history, context updates, ignored answers and residuals, settles those
        that a person asked about, creates the sagas that were started, records the
        dispatches in the outbox, claimed by the caller for ``lease``; appends the
        events for others; removes the ``settled`` outbox rows.

        Args:
            events: at most 256, in the order to decide them.
            settled: commands that the broker confirmed and did not return.
            lease: zero leaves the new rows to any relay at once.

        Returns:
            One decision per event, in order. A refusal is in its decision.

        Raises:
            StoreUnavailableError, ConcurrencyError: try again; the batch may
                have been committed, and deciding it again changes nothing.
            StoreDataError: a value the database refuses, or a row that cannot
                be read; nothing was written. Run the events one by one.

        Atomic: all or nothing.
        Repeat: every event is a compare-and-set.
        """

    @abc.abstractmethod
    async def settle(self, fences: Sequence[Fence]) -> None:
        """Remove outbox rows whose commands are confirmed; missing ones are fine."""

    @abc.abstractmethod
    async def defer(
        self, fences: Sequence[Fence], error: str, delay: dt.timedelta
    ) -> None:
        """Note why commands could not be routed; claimed again after ``delay``."""

    @abc.abstractmethod
    async def extend(self, fences: Sequence[Fence], lease: dt.timedelta) -> None:
        """Keep the claims of publishes that are still pending."""

    @abc.abstractmethod
    async def claim(self, limit: int, lease: dt.timedelta) -> list[OutboxRow]:
        """Take over outbox rows whose claim has lapsed, oldest first.

        Rows that another process is claiming right now are skipped, so no two
        processes get the same row at the same time.
        """

    @abc.abstractmethod
    async def load_dispatches(
        self, fences: Sequence[Fence], snapshots: Mapping[SagaId, Saga] | None = None
    ) -> list[tuple[Saga, SagaData] | None]:
        """Load what ``core.dispatch.command_for`` needs, for many at once.

        Args:
            fences: which.
            snapshots: sagas as ``transact`` has just left them. A dispatch that is
                awaited in one may be loaded for it; if its saga has moved on
                meanwhile, its fence settles that. One that is not is looked up all
                the same: it may be younger than the snapshot.

        Returns:
            Per fence the snapshot and the context at the step's revision with
            the outputs of ``reads_of``; None where the dispatch is no longer
            awaited, so that nothing needs to be sent.

        Raises:
            StoreDataError: one of them cannot be read. Load them one by one.
        """

    @abc.abstractmethod
    async def load_step(
        self, saga_id: SagaId, step: str
    ) -> tuple[Saga, SagaData] | None:
        """Load what a step's command is made of, awaited or not.

        Returns:
            The snapshot and the context at the step's revision with the outputs
            of ``reads_of``; None: there is no such saga, or it has no such step.
        """

    @abc.abstractmethod
    async def due(
        self, limit: int, *, without: Collection[SagaId] = ()
    ) -> list[SagaId]:
        """Return sagas whose ``wake_at`` has passed, the longest due first.

        Args:
            limit: ids at most.
            without: sagas to pass over: those that could not be woken.
        """

    @abc.abstractmethod
    async def next_due(self, *, without: Collection[SagaId] = ()) -> dt.datetime | None:
        """Return the earliest ``wake_at``; None: no timer is set.

        Args:
            without: sagas to pass over.
        """

    @abc.abstractmethod
    async def now(self) -> dt.datetime:
        """Return the store's clock."""

    @abc.abstractmethod
    async def load(self, saga_id: SagaId) -> Saga | None:
        """Return a saga with its whole context and all outputs.

        Raises:
            StoreDataError: something of it cannot be read; says what.
        """

    @abc.abstractmethod
    async def record(self, saga_id: SagaId) -> SagaRecord | None:
        """Return a saga with its history and everything else that is known.

        What cannot be read is left out, and told as ``damage``.

        Raises:
            StoreDataError: its snapshot itself, or its plan, cannot be read.
        """

    @abc.abstractmethod
    async def page(self, which: SagaFilter) -> Page[Saga]:
        """Return snapshots without data, newest first, and what cannot be read.

        No row hides another: a page that is shorter than its limit is the last.
        """

    @abc.abstractmethod
    async def residual_page(
        self, limit: int, *, after: tuple[SagaId, int] | None = None
    ) -> Page[Residual]:
        """Return residuals that nobody has settled, and those that cannot be read.

        Args:
            limit: rows at most; fewer make the last page.
            after: the (saga id, number) that the page before ended with.
        """

    @abc.abstractmethod
    async def counts(self) -> dict[SagaState, int]:
        """Return how many sagas are in each state; absent means none."""

    @abc.abstractmethod
    async def overview(self) -> Overview:
        """Return how things stand, for gauges: a few reads of bounded size."""

    @abc.abstractmethod
    async def waiting(
        self,
        limit: int,
        *,
        after: SagaId | None = None,
        before: SagaId | None = None,
    ) -> Page[Waiting]:
        """Return sagas that have not ended, the oldest first.

        Args:
            limit: rows at most; fewer make the last page.
            after: the id that the page before ended with.
            before: only ids below this one: sagas that are old enough.
        """

    @abc.abstractmethod
    async def traceparents(self, saga_ids: Collection[SagaId]) -> dict[SagaId, str]:
        """Return the traces that sagas belong to; those without one are left out."""

    def pool(self) -> PoolUse | None:
        """Return how many connections this handle has; None: it needs none."""
        return None

    @abc.abstractmethod
    async def delete(self, saga_id: SagaId) -> None:
        """Delete an ended saga with all that belongs to it.

        Raises:
            SagaNotFoundError: no such saga.
            TransitionRefused: it is active, or has an open residual, or a
                command of it is not settled; nothing was deleted.
        """

    @abc.abstractmethod
    async def prune(self, keep: Keep, limit: int) -> int:
        """Delete sagas that ended long ago, per definition the oldest first.

        Never one that has not ended, that has an open residual or a residual whose
        undo has not ended, or of which a command is not settled.

        Args:
            keep: for how long each is kept after its end.
            limit: sagas at most, per definition.

        Returns:
            How many were deleted; fewer than ``limit``: there are no more now.

        Atomic: all or nothing. Any number of replicas may prune at once.
        """

    @abc.abstractmethod
    async def acquire_engine(self) -> None:
        """Claim the right to run an engine on this store.

        Stores for many replicas always grant it.

        Raises:
            StoreLockedError: another process runs the one engine this store
                allows; names it.
        """

    @abc.abstractmethod
    async def close(self) -> None:
        """Release connections, threads and locks; idempotent."""

    # -- what only some stores can ------------------------------------------

    async def transact_within(
        self, connection: object, events: Sequence[Event]
    ) -> list[Decision]:
        """Decide and perform a batch inside a transaction that the caller opened.

        What it writes is there when the caller commits, and was never there if the
        caller does not. The commands belong to no process: any relay takes them
        after the commit.

        Args:
            connection: the caller's, to the database of this store.
            events: as ``transact``.

        Raises:
            ConfigurationError: this store cannot, or the connection is of no use;
                the caller's transaction is as it was.
            StoreError: as ``transact``; so is it then.
        """
        del connection, events
        raise ConfigurationError(
            "connection: only a store on PostgreSQL can start a saga inside your own "
            "transaction; start it after your commit, with a key"
        )

    # -- the classic operations, on top of transact ------------------------

    async def save(self, saga: Saga) -> Saga:
        """Create a saga from a snapshot's id, plan, key and context; never update.

        Raises:
            SagaAlreadyExistsError: the id is taken; carries that saga.
        """
        started = SagaStarted(
            saga.id, saga.plan, saga.context, saga.key, saga.fingerprint
        )
        decision = (await self.transact([started], lease=dt.timedelta(0)))[0]
        if decision.refusal is not None:
            raise decision.refusal
        assert decision.saga is not None, "a start always has a saga"
        if not decision.created:
            raise SagaAlreadyExistsError(decision.saga.id)
        return decision.saga

    async def find(self, which: SagaFilter) -> list[Saga]:
        """Return snapshots without data, newest first.

        A saga whose row cannot be read is left out; ``page`` tells of it.
        """
        found: list[Saga] = []
        while True:
            page = await self.page(replace(which, limit=which.limit - len(found)))
            found += page.items
            if not page.unreadable or len(found) == which.limit:
                return found
            ids = [saga.id for saga in page.items]
            which = replace(
                which, before=min(ids + [one.saga_id for one in page.unreadable])
            )

    async def open_residuals(
        self, limit: int, *, after: tuple[SagaId, int] | None = None
    ) -> list[Residual]:
        """Return residuals that nobody has settled, by saga id and number.

        One that cannot be read is left out; ``residual_page`` tells of it.

        Args:
            limit: rows at most.
            after: the (saga id, number) that the page before ended with.
        """
        found: list[Residual] = []
        while True:
            page = await self.residual_page(limit - len(found), after=after)
            found += page.items
            if not page.unreadable or len(found) == limit:
                return found
            places = [(one.fence.saga_id, one.number) for one in page.items]
            after = max(places + [(one.saga_id, one.number) for one in page.unreadable])

    async def list_active(self) -> list[Saga]:
        """Return every saga that has not ended; ``failed`` ones are among them.

        One whose row cannot be read is left out; ``page`` tells of it.
        """
        sagas: list[Saga] = []
        before: SagaId | None = None
        while True:
            page = await self.find(SagaFilter(ACTIVE, before=before, limit=1000))
            sagas.extend(page)
            if not page:
                return sagas
            before = page[-1].id

    async def update_step(
        self,
        saga_id: SagaId,
        step: str,
        state: StepState,
        *,
        output: Json = None,
        principal: str,
        reason: str,
    ) -> Saga:
        """Set a step's state as an operator would; the state table judges it.

        ``completed`` and ``compensated`` resolve a step that gave up, ``failed``
        gives up waiting for its answer. No other state can be set by hand.

        Raises:
            SagaNotFoundError: no such saga.
            TransitionRefused: the table does not allow it; nothing changed.
        """
        event: Event
        if state in (StepState.COMPLETED, StepState.COMPENSATED):
            done = state is StepState.COMPLETED
            event = ResolveRequested(
                saga_id,
                principal,
                reason,
                step,
                Direction.ACTION if done else Direction.COMPENSATION,
                await self._generation(saga_id, step),
                output,
            )
        elif state is StepState.FAILED:
            generation = await self._generation(saga_id, step)
            event = GiveUpRequested(saga_id, principal, reason, step, generation)
        else:
            raise TransitionRefused(
                saga_id, "unchanged", f"a step cannot be set to {state} by hand"
            )
        return await self._operate(event)

    async def update_state(
        self, saga_id: SagaId, state: SagaState, *, principal: str, reason: str
    ) -> Saga:
        """Set a saga's state as an operator would: only ``compensating``.

        Raises:
            SagaNotFoundError: no such saga.
            TransitionRefused: the table does not allow it; nothing changed.
        """
        if state is not SagaState.COMPENSATING:
            raise TransitionRefused(
                saga_id, "unchanged", f"a saga cannot be set to {state} by hand"
            )
        return await self._operate(CompensateRequested(saga_id, principal, reason))

    async def _generation(self, saga_id: SagaId, step: str) -> int:
        saga = await self.load(saga_id)
        if saga is None:
            raise SagaNotFoundError(saga_id)
        return saga.status(step).generation if step in saga.plan.number else 0

    async def _operate(self, event: Event) -> Saga:
        decision = (await self.transact([event], lease=dt.timedelta(0)))[0]
        if decision.refusal is not None:
            raise decision.refusal
        if decision.saga is None:
            raise SagaNotFoundError(event.saga_id)
        return decision.saga
