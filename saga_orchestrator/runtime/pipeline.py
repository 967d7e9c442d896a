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

import structlog

from saga_orchestrator.core.decision import Decision
from saga_orchestrator.core.events import Event
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.errors import ConcurrencyError, StoreError, StoreUnavailableError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import LEASE, Store
from saga_orchestrator.runtime.backoff import Backoff
from saga_orchestrator.runtime.locked_rows import LockedRows
from saga_orchestrator.runtime.outage import Outage
from saga_orchestrator.runtime.submitted import Submitted
from saga_orchestrator.telemetry import metrics

EVENTS_MAX = 256
SETTLED_MAX = 4096
SETTLE_SECONDS = 0.05
"""Confirmed commands leave the outbox with the next commit, or after this."""

_log = structlog.get_logger("saga.pipeline")


class CommitPipeline:
    """Submits events to the store, in batches, until they are committed."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rng: random.Random,
        outage: Outage,
        *,
        lease: dt.timedelta = LEASE,
    ) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._outage = outage
        self._lease = lease
        self._queue: deque[Submitted] = deque()
        self._locked = LockedRows(clock, rng, self._attempt)
        self._settled: deque[Fence] = deque()
        self._settle_at = 0.0
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._listeners: list[Callable[[Sequence[Decision]], None]] = []
        self._doubters: list[Callable[[Sequence[Event]], None]] = []
        self._backoff = Backoff(rng)
        self._in_hand: list[Submitted] = []
        self._is_closed = False

    def listen(self, listener: Callable[[Sequence[Decision]], None]) -> None:
        """Call ``listener`` with the decisions of each commit; it must not block."""
        self._listeners.append(listener)

    def listen_to_doubts(self, listener: Callable[[Sequence[Event]], None]) -> None:
        """Call ``listener`` with events whose commit failed, or lost its answer."""
        self._doubters.append(listener)

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
        give_up_at = None if patience is None else self._clock.monotonic() + patience
        return await self.enqueue(event, give_up_at)

    def enqueue(
        self, event: Event, give_up_at: float | None = None
    ) -> asyncio.Future[Decision]:
        """Submit an event; the future has its decision, or the error, at the end.

        Args:
            event: what happened.
            give_up_at: when the caller's patience ends, by the monotonic clock;
                None: never.
        """
        if self._is_closed:
            raise _closed()
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._queue.append(Submitted(event, future, give_up_at))
        self._idle.clear()
        self._arrived.set()
        return future

    def post(self, event: Event) -> None:
        """Submit an event whose decision nobody waits for."""
        future = self.enqueue(event)
        # A refusal is logged where it is found; nobody else asks for it.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

    def settle(self, fences: Sequence[Fence]) -> None:
        """Let the next commit remove confirmed commands from the outbox."""
        if not self._settled:
            self._settle_at = self._clock.monotonic() + SETTLE_SECONDS
        self._settled.extend(fences)
        self._idle.clear()
        self._arrived.set()

    async def drained(self) -> None:
        """Wait until nothing is queued and no commit runs."""
        await self._idle.wait()
        await self._locked.freed()

    async def run(self) -> None:
        """Commit for ever."""
        while True:
            await self._wait_for_work()
            while self._queue or self._settled:
                batch = self._take()
                is_alone = bool(batch) and batch[0].is_alone
                settled = [] if is_alone else self._take_settled()
                if batch or settled:  # else all have gone, or wait for a locked row
                    await self._commit(batch, settled)
            self._idle.set()

    async def run_locked(self) -> None:
        """Commit for ever what found its row locked, beside all else."""
        await self._locked.run()

    def close(self) -> None:
        """Refuse what comes from now on, and fail what waits; ``run`` has ended."""
        self._is_closed = True
        for waiting in [*self._in_hand, *self._queue, *self._locked]:
            waiting.fail(_closed())

    # -- what to commit, and when ------------------------------------------

    async def _wait_for_work(self) -> None:
        """Return when there are events, or settled rows that waited long enough."""
        while True:
            left = self._settle_at - self._clock.monotonic() if self._settled else None
            is_due = left is not None and left <= 0
            if self._queue or is_due or len(self._settled) >= SETTLED_MAX:
                return
            await self._pause(left)

    async def _pause(self, seconds: float | None) -> None:
        self._arrived.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            pass

    def _take(self) -> list[Submitted]:
        batch: list[Submitted] = []
        while self._queue and len(batch) < EVENTS_MAX:
            if batch and (batch[0].is_alone or self._queue[0].is_alone):
                break
            waiting = self._queue.popleft()
            is_gone = waiting.future.done()  # a caller that went away
            if not is_gone and not self._locked.join(waiting):
                batch.append(waiting)
        return batch

    def _take_settled(self) -> list[Fence]:
        count = min(len(self._settled), SETTLED_MAX)
        return [self._settled.popleft() for _ in range(count)]

    # -- committing ---------------------------------------------------------

    async def _commit(self, batch: list[Submitted], settled: list[Fence]) -> None:
        """Commit one batch, or put it where it is tried again."""
        self._in_hand = batch
        try:
            decisions = await self._transact(batch, settled)
        except ConcurrencyError as error:
            await self._part(batch, settled, error)
        except StoreError as error:
            if error.retryable:
                await self._put_back(batch, settled, error)
            else:
                self._isolate(batch, settled, error)
        except Exception as error:  # noqa: BLE001 - a defect, kept to its event
            self._isolate(batch, settled, error)
        else:
            self._outage.ends("pipeline")
            self._backoff.reset()
            self._announce(batch, decisions)

    async def _transact(
        self, batch: list[Submitted], settled: list[Fence]
    ) -> list[Decision]:
        if not batch:
            await self._store.settle(settled)
            return []
        events = [waiting.event for waiting in batch]
        begun = self._clock.monotonic()
        try:
            decisions = await self._store.transact(
                events, settled=settled, lease=self._lease
            )
        except Exception:
            metrics.COMMITS_FAILED.inc()
            raise
        finally:
            metrics.STORE_DURATION.observe(self._clock.monotonic() - begun)
        metrics.BATCH_EVENTS.observe(len(events))
        return decisions

    async def _put_back(
        self, batch: list[Submitted], settled: list[Fence], error: StoreError
    ) -> None:
        """The store is away: keep everything in order, and wait a little."""
        self._miss(batch, error)
        self._return(batch, settled)
        now = self._clock.monotonic()
        for waiting in self._queue:
            waiting.give_up(now, error)
        await self._clock.sleep(self._backoff.next())

    def _miss(self, batch: list[Submitted], error: StoreError) -> None:
        """The store is away: say so, and that nobody knows what was committed."""
        for doubter in self._doubters:
            doubter([waiting.event for waiting in batch])
        self._outage.begins("pipeline", error)

    def _return(self, batch: list[Submitted], settled: list[Fence]) -> None:
        """Put what was taken back where it was; whoever closes finds it there."""
        self._in_hand = []
        self._queue.extendleft(reversed(batch))
        self._settled.extendleft(reversed(settled))

    async def _part(
        self, batch: list[Submitted], settled: list[Fence], error: StoreError
    ) -> None:
        """A row is locked: commit the others, and leave its events to a loop beside."""
        if not batch:
            await self._put_back(batch, settled, error)
        elif len(batch) > 1:
            self._set_apart(batch, settled)
        else:
            self._return([], settled)
            self._locked.hold(batch[0], error)

    async def _attempt(self, locked: Submitted) -> StoreError | None:
        """Commit an event whose row was locked; return why it must wait on."""
        try:
            decisions = await self._transact([locked], [])
        except ConcurrencyError as error:
            return error
        except StoreError as error:
            if error.retryable:
                self._miss([locked], error)
                return error
            _refuse(locked, error)
        except Exception as error:  # noqa: BLE001 - a defect, kept to its event
            _refuse(locked, error)
        else:
            self._outage.ends("pipeline")
            self._announce([locked], decisions)
        return None

    def _set_apart(self, batch: list[Submitted], settled: list[Fence]) -> None:
        """Have each event of a batch committed without the others, in their order."""
        for waiting in batch:
            waiting.is_alone = True
        self._return(batch, settled)

    def _isolate(
        self, batch: list[Submitted], settled: list[Fence], error: Exception
    ) -> None:
        """Find the culprit in a refused batch, by committing each event alone.

        Confirmed commands that are refused by themselves are left to the relay.
        """
        if len(batch) > 1 or (batch and settled):
            self._set_apart(batch, settled)
        elif batch:
            _refuse(batch[0], error)

    def _announce(self, batch: list[Submitted], decisions: list[Decision]) -> None:
        for waiting, decision in zip(batch, decisions, strict=True):
            waiting.decided(decision)
        parts = [part for decision in decisions for part in decision.parts]
        for listener in self._listeners:
            listener(parts)


def _closed() -> StoreUnavailableError:
    return StoreUnavailableError("the manager is closed; the event may be committed")


def _refuse(refused: Submitted, error: Exception) -> None:
    _log.error(
        "event refused by the store",
        saga_id=refused.event.saga_id,
        event_type=type(refused.event).__name__,
        error=str(error),
    )
    refused.fail(error)
