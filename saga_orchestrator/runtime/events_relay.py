"""The events relay: publishes what was recorded for others, in each saga's order.

One replica has the right to publish at a time; where it dies, the right runs out.
That only spares duplicates. Order does not rest on it: an event is published when
those before it of its saga are confirmed, by whomever, so that even two who publish
at once let nobody see a saga's events out of order for the first time.
"""

from __future__ import annotations

import datetime as dt
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import structlog

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.public import PublicEvent
from saga_orchestrator.errors import BrokerError, StoreError
from saga_orchestrator.ports.broker import Broker, OutgoingMessage, Receipt
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import LEASE, Store
from saga_orchestrator.runtime.backoff import Backoff
from saga_orchestrator.runtime.complaints import Complaints, unconfirmed
from saga_orchestrator.runtime.outage import Outage
from saga_orchestrator.wire.event import EVENT, event_body, event_routing_key

EVENTS_MAX = 256
POLL_SECONDS = 0.2
HELD_SECONDS = 10.0
"""A saga with an event that was not confirmed is passed over for so long: where a queue
is full, a page of such sagas would else hold back all others."""
HELD_MAX = 5_000
"""Sagas that are passed over; with more of them others do wait."""
EXPIRE_AFTER = dt.timedelta(hours=1)
"""Change data capture reads the log, not the table: rows may go at any time."""
EXPIRE_BATCH = 1000
EXPIRE_SECONDS = 10.0

_log = structlog.get_logger("saga.events")


class EventsRelay:
    """Publishes a store's events to a topic exchange."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        exchange: str,
        clock: Clock,
        rng: random.Random,
        *,
        outage: Outage,
        complaints: Complaints,
    ) -> None:
        self._store = store
        self._broker = broker
        self._exchange = exchange
        self._clock = clock
        self._outage = outage
        self._complaints = complaints
        self._holder = f"{rng.getrandbits(128):032x}"
        self._backoff = Backoff(rng)
        self._is_declared = False
        self._held: dict[SagaId, float] = {}

    async def run(self) -> None:
        """Publish for ever."""
        # So that there is something to bind to before the first event. Where it
        # cannot be made, that matters only once there is one.
        await self._declare()
        while True:
            await self._clock.sleep(await self._relay())

    async def _relay(self) -> float:
        """Publish one page; return how long to wait before the next, in seconds."""
        passed_over = self._passed_over()
        try:
            page = await self._store.claim_events(
                self._holder, EVENTS_MAX, LEASE, passed_over
            )
            for one in page.unreadable:
                self._complaints.note(f"event {one.number}", one.problem)
            published = await self._publish(page.items) if page.items else []
            if published:
                await self._store.delete_events([event.position for event in published])
        except StoreError as error:
            self._outage.begins("events", error)
            return self._backoff.next()
        self._outage.ends("events")
        is_narrower = len(self._held) > len(passed_over)
        return await self._pause(
            len(page.items), len(published), is_narrower=is_narrower
        )

    async def _pause(self, asked: int, published: int, *, is_narrower: bool) -> float:
        """Return how long to wait after a page.

        Args:
            asked: events of the page.
            published: those that were confirmed.
            is_narrower: more sagas are passed over next time.
        """
        if published == asked:
            self._backoff.reset()
            return 0.0 if published else POLL_SECONDS
        if is_narrower and (published or not await self._declare()):
            return POLL_SECONDS  # the broker is there, and does not take some of them
        if published:
            return self._backoff.next()
        # Perhaps only this replica is cut off: let another one have the right.
        return LEASE.total_seconds() + self._backoff.next()

    async def _publish(self, events: Sequence[PublicEvent]) -> list[PublicEvent]:
        """Publish events, as far as the broker takes them; return those it took."""
        if not self._is_declared and (problem := await self._declare()):
            self._complaints.note(
                self._exchange, f"{self._exchange}: events: {problem}"
            )
            return []
        published: list[PublicEvent] = []
        for wave in _waves(events):
            receipts = await self._broker.publish(
                [
                    OutgoingMessage(
                        event_routing_key(event),
                        event_body(event),
                        EVENT,
                        exchange=self._exchange,
                    )
                    for event in wave
                ]
            )
            pairs = list(zip(wave, receipts, strict=True))
            # What comes back was for nobody: whoever binds later has not missed it.
            taken = [event for event, got in pairs if got is not Receipt.UNKNOWN]
            published += taken
            if len(taken) < len(wave):
                # The exchange may be gone; publishing to none ends the channel,
                # which commands go through as well.
                self._is_declared = False
                self._hold(event for event, got in pairs if got is Receipt.UNKNOWN)
                what = unconfirmed(f"{self._exchange}: events")
                self._complaints.note(self._exchange, what)
                return published
        if not self._held:
            self._complaints.clear(self._exchange)
        return published

    def _hold(self, events: Iterable[PublicEvent]) -> None:
        """Pass over the sagas of events that were not confirmed."""
        until = self._clock.monotonic() + HELD_SECONDS
        for event in events:
            if len(self._held) < HELD_MAX:
                self._held[event.saga_id] = until

    def _passed_over(self) -> list[SagaId]:
        """Return the sagas that are passed over still."""
        now = self._clock.monotonic()
        self._held = {one: until for one, until in self._held.items() if until > now}
        return list(self._held)

    async def _declare(self) -> BrokerError | None:
        """Make the exchange; return why it cannot be made."""
        try:
            await self._broker.declare_exchange(self._exchange)
        except BrokerError as error:
            return error
        self._is_declared = True
        return None


class EventsExpiry:
    """Deletes what something else has read from the database's log."""

    def __init__(
        self, store: Store, clock: Clock, rng: random.Random, outage: Outage
    ) -> None:
        self._store = store
        self._clock = clock
        self._outage = outage
        self._backoff = Backoff(rng)

    async def run(self) -> None:
        """Delete for ever."""
        while True:
            await self._clock.sleep(await self._expire())

    async def _expire(self) -> float:
        try:
            count = await self._store.expire_events(EXPIRE_AFTER, EXPIRE_BATCH)
        except StoreError as error:
            self._outage.begins("events", error)
            return self._backoff.next()
        self._outage.ends("events")
        self._backoff.reset()
        if count:
            _log.debug("events deleted", events=count)
        return POLL_SECONDS if count >= EXPIRE_BATCH else EXPIRE_SECONDS


def _waves(events: Sequence[PublicEvent]) -> Iterator[list[PublicEvent]]:
    """Yield the first event of each saga, then the second of each, and so on."""
    waves: defaultdict[int, list[PublicEvent]] = defaultdict(list)
    counts: defaultdict[SagaId, int] = defaultdict(int)
    for event in events:
        waves[counts[event.saga_id]].append(event)
        counts[event.saga_id] += 1
    yield from waves.values()
