"""The commit pipeline: every event of a process goes through here.

Batches form by themselves: while one transaction runs, the events that come in
gather; the next takes them all. Under low load a batch is one event and its
latency that of one commit; under load hundreds share one.

Commit first. Then the waiters are told, which frees the acknowledgements, and
the dispatches are handed on; publishing never holds an acknowledgement.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from saga_orchestrator.core.decision import Decision
from saga_orchestrator.core.events import Event
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.errors import StoreError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import LEASE, Store
from saga_orchestrator.runtime.backoff import Backoff

EVENTS_MAX = 256
SETTLED_MAX = 4096
SETTLE_SECONDS = 0.05
"""Confirmed commands leave the outbox with the next commit, or after this."""

_log = structlog.get_logger("saga.pipeline")


@dataclass(slots=True)
class _Waiting:
    event: Event
    future: asyncio.Future[Decision]
    give_up_at: float | None


class CommitPipeline:
    """Submits events to the store, in batches, until they are committed."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rng: random.Random,
        *,
        lease: dt.timedelta = LEASE,
    ) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._lease = lease
        self._queue: deque[_Waiting] = deque()
        self._settled: deque[Fence] = deque()
        self._arrived = asyncio.Event()
        self._committing = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._listeners: list[Callable[[Sequence[Decision]], None]] = []
        self._problem = ""

    def listen(self, listener: Callable[[Sequence[Decision]], None]) -> None:
        """Call ``listener`` with the decisions of each commit; it must not block."""
        self._listeners.append(listener)

    async def submit(self, event: Event, *, patience: float | None = None) -> Decision:
        """Return the event's decision once it is committed.

        Args:
            event: what happened.
            patience: seconds after which a store that stays away is an error;
                None: wait as long as it takes.

        Raises:
            StoreUnavailableError: the patience is over; the event may still
                have been committed.
            StoreDataError: the store refuses what the event carries.
        """
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        give_up_at = None if patience is None else self._clock.monotonic() + patience
        self._enqueue(_Waiting(event, future, give_up_at))
        return await future

    def post(self, event: Event) -> None:
        """Submit an event whose decision nobody waits for."""
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        # A refusal is logged where it is found; nobody else asks for it.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._enqueue(_Waiting(event, future, None))

    def settle(self, fences: Sequence[Fence]) -> None:
        """Let the next commit remove confirmed commands from the outbox."""
        self._settled.extend(fences)
        self._idle.clear()
        self._arrived.set()

    def _enqueue(self, waiting: _Waiting) -> None:
        self._queue.append(waiting)
        self._idle.clear()
        self._arrived.set()

    def problems(self) -> list[str]:
        """Say that the store is away."""
        return [f"store: {self._problem}"] if self._problem else []

    async def drained(self) -> None:
        """Wait until nothing is queued and no commit runs."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commit for ever."""
        while True:
            await self._arrived.wait()
            if not self._queue and len(self._settled) < SETTLED_MAX:
                await self._settle_pause()
            self._arrived.clear()
            await self._commit_all()

    async def _settle_pause(self) -> None:
        """Give an event the chance to take the settled rows along."""
        self._arrived.clear()
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                while not self._queue:
                    await self._arrived.wait()
                    self._arrived.clear()
        except TimeoutError:
            pass

    async def _commit_all(self) -> None:
        while self._queue or self._settled:
            batch = self._take()
            settled = [
                self._settled.popleft()
                for _ in range(min(len(self._settled), SETTLED_MAX))
            ]
            await self._commit(batch, settled)
        self._idle.set()

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        while self._queue and len(batch) < EVENTS_MAX:
            waiting = self._queue.popleft()
            if not waiting.future.done():  # a caller that went away
                batch.append(waiting)
        return batch

    async def _commit(self, batch: list[_Waiting], settled: list[Fence]) -> None:
        """Commit one batch, however long the store stays away."""
        backoff = Backoff(self._rng)
        while batch or settled:
            try:
                decisions = await self._transact(batch, settled)
            except StoreError as error:
                if not error.retryable:
                    await self._isolate(batch, settled, error)
                    return
                self._note(error)
                batch = self._impatient_out(batch, error)
                await self._clock.sleep(backoff.next())
            except Exception as error:  # noqa: BLE001 - a defect, kept to its event
                await self._isolate(batch, settled, error)
                return
            else:
                self._problem = ""
                self._announce(batch, decisions)
                return

    async def _transact(
        self, batch: list[_Waiting], settled: list[Fence]
    ) -> list[Decision]:
        if not batch:
            await self._store.settle(settled)
            return []
        return await self._store.transact(
            [waiting.event for waiting in batch], settled=settled, lease=self._lease
        )

    async def _isolate(
        self, batch: list[_Waiting], settled: list[Fence], error: Exception
    ) -> None:
        """Run the events of a refused batch one by one, to find the culprit."""
        if len(batch) > 1:
            for waiting in batch:
                await self._commit([waiting], [])
            await self._commit([], settled)
            return
        for waiting in batch:
            _log.error(
                "event refused by the store",
                saga_id=waiting.event.saga_id,
                event_type=type(waiting.event).__name__,
                error=str(error),
            )
            if not waiting.future.done():
                waiting.future.set_exception(error)
        if batch and settled:
            await self._commit([], settled)

    def _impatient_out(
        self, batch: list[_Waiting], error: StoreError
    ) -> list[_Waiting]:
        now = self._clock.monotonic()
        staying = []
        for waiting in batch:
            if waiting.give_up_at is None or now < waiting.give_up_at:
                staying.append(waiting)
            elif not waiting.future.done():
                waiting.future.set_exception(error)
        return staying

    def _announce(self, batch: list[_Waiting], decisions: list[Decision]) -> None:
        for waiting, decision in zip(batch, decisions, strict=True):
            if not waiting.future.done():
                waiting.future.set_result(decision)
        for listener in self._listeners:
            listener(decisions)

    def _note(self, error: StoreError) -> None:
        if not self._problem:
            _log.warning("store is away", error=str(error))
        self._problem = str(error)
