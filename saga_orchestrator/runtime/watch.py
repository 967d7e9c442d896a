"""The watch: refreshes the gauges of the store, and tells who turns stale.

One loop, every 15 s, whatever reads the gauges and how often: a scrape costs the
store nothing. Any number of replicas may watch; all see the same.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Sequence

import structlog

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.waiting import StaleAfter
from saga_orchestrator.errors import BrokerError, StoreError
from saga_orchestrator.ports.broker import Broker
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.overview import Overview
from saga_orchestrator.ports.store import Store
from saga_orchestrator.runtime.outage import Outage
from saga_orchestrator.runtime.process_watch import EVERY_SECONDS, ProcessWatch
from saga_orchestrator.runtime.queue_looks import QueueLooks
from saga_orchestrator.runtime.stale import StaleSaga, find_stale
from saga_orchestrator.telemetry import metrics
from saga_orchestrator.telemetry.labels import saga_label

LINES_MAX = 20
"""Sagas that get a log line of their own in one round; more are counted."""

_log = structlog.get_logger("saga.watch")


class Watch:
    """Keeps an eye on one store, and on the broker of its engine."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        clock: Clock,
        outage: Outage,
        *,
        after: StaleAfter,
        queues: Sequence[str],
        dead: str,
        looks: Callable[[], QueueLooks],
        problems: Callable[[], list[str]],
    ) -> None:
        """Prepare the loop.

        Args:
            store: whose sagas.
            broker: whose queues.
            clock: what the pauses are waited on.
            outage: where it is noted that the store is away.
            after: when a saga is stale.
            queues: those that are to be read.
            dead: the one that nobody reads.
            looks: makes a fresh look at the queues of commands.
            problems: what is wrong with the process.
        """
        self._store = store
        self._broker = broker
        self._clock = clock
        self._outage = outage
        self._after = after
        self._process = ProcessWatch(broker, clock, queues=queues, problems=problems)
        self._dead = dead
        self._looks = looks
        self._stale: dict[SagaId, StaleSaga] = {}

    async def run(self) -> None:
        """Refresh for ever."""
        while True:
            await self.refresh()
            await self._clock.sleep(EVERY_SECONDS)

    async def refresh(self) -> None:
        """Look once; where the store is away, the gauges stay as they were."""
        await self._process.refresh()
        await self._look_at_dead_letters()
        try:
            overview = await self._store.overview()
            found = await find_stale(self._store, self._after, self._looks())
        except StoreError as error:
            self._outage.begins("watch", error)
            return
        self._outage.ends("watch")
        self._show(overview)
        _show_stale(found.sagas)
        self._tell({one.id: one for one in found.sagas})
        metrics.WATCHED_AT.set(self._clock.now().timestamp())

    async def _look_at_dead_letters(self) -> None:
        try:
            stats = await self._broker.stats(self._dead)
        except BrokerError:
            return  # its own problem says so
        metrics.DEAD_LETTERS.set(0 if stats is None else stats.ready)

    def _show(self, overview: Overview) -> None:
        counts: defaultdict[tuple[str, str], int] = defaultdict(int)
        ages: defaultdict[str, float] = defaultdict(float)
        for one in overview.active:
            name = saga_label(one.name)
            counts[name, str(one.state)] += one.count
            age = (overview.now - one.oldest_at).total_seconds()
            ages[name] = max(ages[name], age)
        metrics.SAGAS_ACTIVE.clear()
        metrics.OLDEST_ACTIVE.clear()
        for labels, count in counts.items():
            metrics.SAGAS_ACTIVE.labels(*labels).set(count)
        for name, age in ages.items():
            metrics.OLDEST_ACTIVE.labels(name).set(age)
        metrics.OUTBOX_PENDING.set(overview.outbox_pending)
        metrics.OUTBOX_OLDEST.set(_since(overview.outbox_oldest_at, overview))
        metrics.TIMER_LAG.set(_since(overview.next_due, overview))
        metrics.RESIDUALS_OPEN.set(overview.residuals_open)
        pool = self._store.pool()
        if pool is not None:
            for use in ("busy", "idle", "limit"):
                metrics.POOL_CONNECTIONS.labels(use).set(getattr(pool, use))

    def _tell(self, stale: dict[SagaId, StaleSaga]) -> None:
        """Log who has turned stale, and who is stale no more: a line each, once."""
        turned = [one for saga_id, one in stale.items() if saga_id not in self._stale]
        over = [one for saga_id, one in self._stale.items() if saga_id not in stale]
        for one in turned[:LINES_MAX]:
            _log.warning(
                "saga is stale",
                saga_id=one.id,
                saga=one.name,
                reason=str(one.wait.reason),
                step=one.wait.step,
                since=one.wait.since.isoformat(),
                detail=one.wait.detail,
                fix=one.remedy,
            )
        for one in over[:LINES_MAX]:
            _log.info("saga is stale no more", saga_id=one.id, saga=one.name)
        rest = len(turned[LINES_MAX:]), len(over[LINES_MAX:])
        if any(rest):
            _log.warning("more sagas", stale=rest[0], stale_no_more=rest[1])
        self._stale = stale


def _show_stale(stale: Sequence[StaleSaga]) -> None:
    ages: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for one in stale:
        labels = saga_label(one.name), str(one.wait.reason)
        ages[labels].append(one.age.total_seconds())
    metrics.STALE.clear()
    metrics.STALE_OLDEST.clear()
    for labels, seconds in ages.items():
        metrics.STALE.labels(*labels).set(len(seconds))
        metrics.STALE_OLDEST.labels(*labels).set(max(seconds))


def _since(instant: dt.datetime | None, overview: Overview) -> float:
    if instant is None:
        return 0.0
    return max((overview.now - instant).total_seconds(), 0.0)
