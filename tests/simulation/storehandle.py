"""A process's handle on the store: slow, unreliable, and dead with the process.

An empty poll costs nothing here: ``claim`` and ``due`` wait until there is
something for them, which is what polling comes to. In some seeds they poll.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from saga_orchestrator.core.decision import Decision
from saga_orchestrator.core.events import Event
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.public import PublicEvent
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.core.saga import Saga, SagaData
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.errors import (
    ConcurrencyError,
    StoreDataError,
    StoreUnavailableError,
)
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.overview import Overview, Waiting
from saga_orchestrator.ports.records import Migration, OutboxRow, Page, SagaRecord
from saga_orchestrator.ports.store import LEASE, Keep, SagaFilter, Store
from saga_orchestrator.testing.virtual_time import EPOCH
from tests.simulation.ledger import UNSTORABLE
from tests.simulation.process import Life, ProcessClock

if TYPE_CHECKING:
    from tests.simulation.world import World

LATENCY_SECONDS = 0.005
POLL_JITTER_SECONDS = 0.1
LOCK_WAIT_SECONDS = 1.0
_MOMENT = dt.timedelta(microseconds=1)


class StoreHandle(Store):
    """What an engine, a client or an operator holds of the store."""

    def __init__(self, world: World, life: Life) -> None:
        self._world = world
        self._weather = world.weather
        self._books = world.books
        self._life = life
        self._clock = ProcessClock(life)

    @classmethod
    async def connect(
        cls, url: str, *, clock: Clock | None, migrate: bool | None
    ) -> NoReturn:
        """Never called: a handle is made by its world."""
        raise NotImplementedError

    @classmethod
    async def migrate(cls, url: str, *, dry_run: bool = False) -> list[Migration]:
        """Return nothing: the world's store is up to date."""
        return []

    @property
    def secret(self) -> bytes:
        """The store's."""
        return self._world.backend.secret

    @property
    def api_keys(self) -> NoReturn:
        """Never asked: a world has no HTTP."""
        raise NotImplementedError

    # -- writing -------------------------------------------------------------

    async def transact(
        self,
        events: Sequence[Event],
        *,
        settled: Sequence[Fence] = (),
        lease: dt.timedelta = LEASE,
    ) -> list[Decision]:
        """Commit a batch, and enter it in the books."""
        await self._arrive()
        await self._wait_for_locks({event.saga_id for event in events})
        if any(getattr(event, "output", None) == UNSTORABLE for event in events):
            raise StoreDataError("simulated: the value cannot be stored")
        decisions: list[Decision] = self._perform(
            "transact", events, settled=settled, lease=lease
        )
        self._enter(lambda: self._books.commit(events, decisions, settled, lease))
        await self._answer()
        return decisions

    async def settle(self, fences: Sequence[Fence]) -> None:
        """Remove outbox rows."""
        await self._arrive()
        self._perform("settle", fences)
        self._enter(lambda: self._books.settle(fences))
        await self._answer()

    async def defer(
        self, fences: Sequence[Fence], error: str, delay: dt.timedelta
    ) -> None:
        """Put commands off."""
        await self._arrive()
        self._perform("defer", fences, error, delay)
        self._books.keep(fences, delay)
        self._books.bell.ring()
        await self._answer()

    async def extend(self, fences: Sequence[Fence], lease: dt.timedelta) -> None:
        """Keep claims."""
        await self._arrive()
        self._perform("extend", fences, lease)
        self._books.keep(fences, lease)
        await self._answer()

    async def claim(self, limit: int, lease: dt.timedelta) -> list[OutboxRow]:
        """Take over what has lapsed; in one order on every store."""
        await self._until(self._books.next_lapse, POLL_JITTER_SECONDS)
        await self._arrive()
        self._leave_only(limit)
        rows: list[OutboxRow] = self._perform("claim", limit, lease)
        self._enter(lambda: self._books.claim(rows, limit, lease))
        await self._answer()
        return sorted(rows, key=lambda row: row.fence)

    async def claim_events(
        self,
        holder: str,
        limit: int,
        lease: dt.timedelta,
        passed_over: Sequence[SagaId] = (),
    ) -> Page[PublicEvent]:
        """Return the first events; none ever, in a world whose handlers emit none."""
        if not self._is_polled:
            await self._life.hang()
        asked = (holder, limit, lease, passed_over)
        page: Page[PublicEvent] = await self._read("claim_events", *asked)
        return page

    async def delete_events(self, positions: Sequence[int]) -> None:
        """Forget events."""
        await self._read("delete_events", positions)

    async def expire_events(self, age: dt.timedelta, limit: int) -> NoReturn:
        """Never called: the engines of a world publish."""
        raise NotImplementedError

    # -- reading -------------------------------------------------------------

    async def due(
        self, limit: int, *, without: Collection[SagaId] = ()
    ) -> list[SagaId]:
        """Return who is due."""
        await self._until(self._books.next_wake, POLL_JITTER_SECONDS)
        found: list[SagaId] = await self._read("due", limit, without=without)
        return found

    async def load_dispatches(
        self, fences: Sequence[Fence], snapshots: Mapping[SagaId, Saga] | None = None
    ) -> list[tuple[Saga, SagaData] | None]:
        """Load what commands are made of."""
        found: list[tuple[Saga, SagaData] | None] = await self._read(
            "load_dispatches", fences, snapshots
        )
        return found

    async def load_step(
        self, saga_id: SagaId, step: str
    ) -> tuple[Saga, SagaData] | None:
        """Load what a step's command is made of."""
        found: tuple[Saga, SagaData] | None = await self._read(
            "load_step", saga_id, step
        )
        return found

    async def next_due(self, *, without: Collection[SagaId] = ()) -> dt.datetime | None:
        """Return the earliest instant."""
        found: dt.datetime | None = await self._read("next_due", without=without)
        return found

    async def now(self) -> dt.datetime:
        """Return the store's clock."""
        found: dt.datetime = await self._read("now")
        return found

    async def load(self, saga_id: SagaId) -> Saga | None:
        """Return a saga."""
        found: Saga | None = await self._read("load", saga_id)
        return found

    async def record(self, saga_id: SagaId) -> SagaRecord | None:
        """Return all that is known of a saga."""
        found: SagaRecord | None = await self._read("record", saga_id)
        return found

    async def page(self, which: SagaFilter) -> Page[Saga]:
        """Return snapshots."""
        found: Page[Saga] = await self._read("page", which)
        return found

    async def residual_page(
        self, limit: int, *, after: tuple[SagaId, int] | None = None
    ) -> Page[Residual]:
        """Return residuals that nobody has settled."""
        found: Page[Residual] = await self._read("residual_page", limit, after=after)
        return found

    async def counts(self) -> dict[SagaState, int]:
        """Return how many sagas are in each state."""
        found: dict[SagaState, int] = await self._read("counts")
        return found

    async def overview(self) -> Overview:
        """Return how things stand."""
        found: Overview = await self._read("overview")
        return found

    async def waiting(
        self,
        limit: int,
        *,
        after: SagaId | None = None,
        before: SagaId | None = None,
    ) -> Page[Waiting]:
        """Return sagas that have not ended."""
        found: Page[Waiting] = await self._read(
            "waiting", limit, after=after, before=before
        )
        return found

    async def traceparents(self, saga_ids: Collection[SagaId]) -> dict[SagaId, str]:
        """Return the traces that sagas belong to."""
        found: dict[SagaId, str] = await self._read("traceparents", saga_ids)
        return found

    async def delete(self, saga_id: SagaId) -> None:
        """Delete a saga, and keep what was known of it for the judge."""
        await self._arrive()
        record: SagaRecord = self._perform("record", saga_id)
        self._perform("delete", saga_id)
        self._enter(lambda: self._books.delete(record))
        await self._answer()

    async def prune(self, keep: Keep, limit: int) -> NoReturn:
        """Never called: the engines of a world keep all, and people delete."""
        raise NotImplementedError

    async def acquire_engine(self) -> None:
        """Grant it: the engines of a world share its store."""

    async def close(self) -> None:
        """Leave the world's store open."""

    # -- the way there and back ----------------------------------------------

    async def _read(self, name: str, *args: Any, **kwargs: Any) -> Any:
        await self._arrive()
        found = self._perform(name, *args, **kwargs)
        await self._answer()
        return found

    async def _arrive(self) -> None:
        """Take the way to the store, which may be long, or lead nowhere."""
        weather = self._weather
        await self._clock.sleep(weather.seconds(LATENCY_SECONDS))
        if weather.strikes("store_slow"):
            await self._clock.sleep(weather.seconds(10.0))
        if self._world.store_away_until > self._clock.monotonic():
            weather.fired["store_away"] += 1
            await self._clock.sleep(weather.seconds(2.0))
            raise StoreUnavailableError("simulated: the server is away")
        if weather.strikes("store_abort"):
            kinds = (ConcurrencyError, StoreUnavailableError)
            raise kinds[weather.seconds(2) >= 1]("simulated: nothing was written")

    async def _answer(self) -> None:
        """Take the way back, on which an answer may be lost."""
        weather = self._weather
        await self._life.step()
        if weather.strikes("store_slow"):
            await self._clock.sleep(weather.seconds(10.0))
        elif weather.seconds(1) < 0.3:
            await self._clock.sleep(weather.seconds(LATENCY_SECONDS))
        if weather.strikes("store_unknown"):
            raise StoreUnavailableError("simulated: the answer was lost")

    def _perform(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self._world.run.steps += 1
        return self._world.backend.call(name, *args, **kwargs)

    def _enter(self, entry: Callable[[], None]) -> None:
        """Make an entry in the books; a breach ends the run."""
        try:
            entry()
        except AssertionError as error:
            self._world.accuse(str(error))

    def _leave_only(self, limit: int) -> None:
        """Let no store choose between rows that lapsed at the same instant."""
        now = self._books.now
        lapsed = sorted(
            (until, fence)
            for fence, until in self._books.outbox.items()
            if until <= now
        )
        others = [fence for _, fence in lapsed[limit:]]
        if others:
            self._perform("extend", others, _MOMENT)
            self._books.keep(others, _MOMENT)

    async def _wait_for_locks(self, saga_ids: set[SagaId]) -> None:
        """Wait for rows that somebody keeps locked, as long as the server does."""
        locks = self._world.locks
        now = self._clock.monotonic()
        until = max((locks.get(saga_id, 0.0) for saga_id in saga_ids), default=0.0)
        if until <= now:
            return
        self._weather.fired["row_locked"] += 1
        await self._clock.sleep(min(until - now, LOCK_WAIT_SECONDS))
        if until - now > LOCK_WAIT_SECONDS:
            raise ConcurrencyError("simulated: a row stayed locked")

    @property
    def _is_polled(self) -> bool:
        """Whether the engines poll now, as real ones do; else they are called."""
        return self._world.polls and not self._weather.is_calm

    async def _until(
        self, instant: Callable[[], dt.datetime | None], jitter: float
    ) -> None:
        """Wait for an instant that may change meanwhile; a poll comes a bit later."""
        if self._is_polled:
            return
        while True:
            await self._life.step()
            at = instant()
            if at is not None and at <= self._books.now:
                break
            seconds = None if at is None else (at - EPOCH).total_seconds()
            await self._books.bell.wait(seconds)
        await self._clock.sleep(self._weather.seconds(jitter))
