"""The engine: a store, a broker, and everything that moves between them."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Awaitable, Callable
from typing import Literal

import structlog

from saga_orchestrator.core.events import ResendRequested
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.core.waiting import StaleAfter
from saga_orchestrator.ports.broker import Broker
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.starts import StartRequests
from saga_orchestrator.ports.store import LEASE, Keep, SagaFilter, Store
from saga_orchestrator.runtime.complaints import Complaints
from saga_orchestrator.runtime.events_relay import EventsExpiry, EventsRelay
from saga_orchestrator.runtime.intake import Intake
from saga_orchestrator.runtime.outage import Outage
from saga_orchestrator.runtime.parking import Parking
from saga_orchestrator.runtime.pipeline import CommitPipeline
from saga_orchestrator.runtime.publisher import Publisher
from saga_orchestrator.runtime.queue_looks import QueueLooks
from saga_orchestrator.runtime.receiver import Receiver
from saga_orchestrator.runtime.recount import Recount
from saga_orchestrator.runtime.registry import Registry
from saga_orchestrator.runtime.relay import OutboxRelay
from saga_orchestrator.runtime.requested_starts import RequestedStarts
from saga_orchestrator.runtime.retention import Retention
from saga_orchestrator.runtime.routes import Routes
from saga_orchestrator.runtime.sinks import LocalSink, RemoteSink
from saga_orchestrator.runtime.starting import Catalogue
from saga_orchestrator.runtime.supervisor import Supervisor
from saga_orchestrator.runtime.timers import Timers
from saga_orchestrator.runtime.traces import Traces
from saga_orchestrator.runtime.waiters import Waiters
from saga_orchestrator.runtime.watch import Watch
from saga_orchestrator.telemetry.transitions import Transitions
from saga_orchestrator.wire.topology import Topology

PAGE = 256

EventsTo = Literal["broker", "cdc"]
"""Who brings events to others: the engine, or change data capture of the database."""

_log = structlog.get_logger("saga.engine")


class Client:
    """What starts and operates sagas needs: commits, and no broker.

    Its outbox rows belong to nobody, so that any engine's relay takes them at
    once.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rng: random.Random,
        *,
        lease: dt.timedelta = dt.timedelta(0),
    ) -> None:
        self.store = store
        self.clock = clock
        self.supervisor = Supervisor(clock)
        self.outage = Outage()
        self.pipeline = CommitPipeline(store, clock, rng, self.outage, lease=lease)
        self.waiters = Waiters(store, clock, rng)
        self.pipeline.listen(self.waiters.notice)
        self._transitions = Transitions()
        self.pipeline.listen(self._transitions.count)

    async def open(self) -> None:
        """Start committing."""
        await self.supervisor.open()
        self.supervisor.loop("pipeline", self.pipeline.run)
        self.supervisor.loop("locked rows", self.pipeline.run_locked)

    async def drain(self, seconds: float) -> None:
        """Finish what is in hand; the caller bounds the time, to ``seconds``."""
        del seconds  # nothing that is in hand here can be handed on
        await self.pipeline.drained()

    async def close(self) -> None:
        """Stop at once; what was not finished is finished by the next engine."""
        await self.supervisor.close()
        self.pipeline.close()

    def problems(self) -> list[str]:
        """Name what is wrong now."""
        return [problem for part in self.parts().values() for problem in part]

    def parts(self) -> dict[str, list[str]]:
        """Name what is wrong now, by part; all its parts are there."""
        return {
            "store": self.outage.problems(),
            "engine": self.supervisor.problems(),
        }

    def looks(self) -> QueueLooks | None:
        """Return a fresh look at the queues of commands; None: there is no broker."""
        return None


class Engine(Client):
    """A client that also publishes, relays, fires timers, and takes answers."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        registry: Registry,
        clock: Clock,
        rng: random.Random,
        *,
        topology: Topology,
        concurrency: int,
        watch: StaleAfter | None = None,
        keep: Keep,
        catalogue: Catalogue,
        events: EventsTo,
    ) -> None:
        super().__init__(store, clock, rng, lease=LEASE)
        self.broker = broker
        self._topology = topology
        self._routes = Routes(broker)
        self._complaints = Complaints(clock)
        parking = Parking(broker, topology.dead, clock, rng, self._complaints)
        self._replies = RemoteSink(
            broker, topology.replies, clock, rng, self._complaints
        )
        away = self.outage
        sink = LocalSink(
            *(self.pipeline, store, self._routes, clock),
            rng=rng,
            outage=away,
            elsewhere=self._replies,
        )
        traces = Traces(store)
        self._publisher = Publisher(
            store,
            broker,
            self.pipeline,
            clock,
            self._routes,
            outage=away,
            complaints=self._complaints,
            traces=traces,
        )
        self._relay = OutboxRelay(store, self._publisher, clock, rng, away)
        self._timers = Timers(store, self.pipeline, clock, rng, away)
        self._chores = self._new_chores(rng, keep, catalogue, events)
        self._intake = Intake(
            broker=broker,
            store=store,
            pipeline=self.pipeline,
            parking=parking,
            routes=self._routes,
            topology=topology,
            complaints=self._complaints,
            clock=clock,
        )
        self._receiver = Receiver(
            broker=broker,
            registry=registry,
            sink=sink,
            parking=parking,
            supervisor=self.supervisor,
            clock=clock,
            rng=rng,
            topology=topology,
            concurrency=concurrency,
        )
        for action, queue in self._receiver.routes():
            self._routes.learn(action, queue)
        self._watch = None if watch is None else self._new_watch(watch)
        self._recount = Recount(store, self._transitions, clock)
        if watch is not None:
            self.pipeline.listen_to_doubts(self._transitions.doubt)
        self.pipeline.listen(traces.notice)  # before its commands are published
        self.pipeline.listen(self._publisher.notice)
        self.pipeline.listen(self._timers.notice)

    async def open(self) -> None:
        """Start the loops, then take messages."""
        await self.store.acquire_engine()
        await super().open()
        self.supervisor.loop("publisher", self._publisher.run)
        self.supervisor.loop("claims", self._publisher.keep_claims)
        self.supervisor.loop("replies", self._replies.run)
        await self._receiver.open()
        await self._intake.open()
        if not self.broker.outlives_process:
            await self.resend_open()
        # Only now: what was just sent again is claimed, and not the relay's.
        self.supervisor.loop("relay", self._relay.run)
        self.supervisor.loop("timers", self._timers.run)
        for name, run in self._chores.items():
            self.supervisor.loop(name, run)
        if self._watch is not None:
            self.supervisor.loop("watch", self._watch.run)
            self.supervisor.loop("recount", self._recount.run)
        self._receiver.begin()

    async def drain(self, seconds: float) -> None:
        """Take nothing new, finish what has begun, publish what was decided."""
        await self._receiver.stop(seconds)
        await self._intake.stop()
        await self._receiver.drained()
        await self._intake.drained()
        await self.pipeline.drained()
        await self._publisher.drained()
        await self.pipeline.drained()

    def parts(self) -> dict[str, list[str]]:
        """Name what is wrong now, by part; all its parts are there."""
        return {
            **super().parts(),
            "broker": self.broker.problems(),
            "remarks": [*self._routes.problems(), *self._complaints.problems()],
        }

    def looks(self) -> QueueLooks:
        """Return a fresh look at the queues of commands."""
        return QueueLooks(self.broker, self._routes, self._topology)

    def _new_watch(self, after: StaleAfter) -> Watch:
        names = self._topology
        served = {queue for _, queue in self._receiver.routes()}
        return Watch(
            self.store,
            self.broker,
            self.clock,
            self.outage,
            after=after,
            queues=(names.replies, names.undelivered, *sorted(served)),
            dead=names.dead,
            looks=self.looks,
            problems=self.problems,
        )

    async def resend_open(self) -> int:
        """Send every open command again, with its fence: the broker lost its data.

        Returns:
            How many sagas were looked at.
        """
        count = 0
        before: SagaId | None = None
        live = frozenset({SagaState.STARTED, SagaState.COMPENSATING})
        while page := await self.store.find(
            SagaFilter(live, before=before, limit=PAGE)
        ):
            for saga in page:
                self.pipeline.post(ResendRequested(saga.id))
            await self.pipeline.drained()
            count += len(page)
            before = page[-1].id
        if count:
            _log.info("open commands sent again", sagas=count)
        return count

    def _new_chores(
        self, rng: random.Random, keep: Keep, catalogue: Catalogue, events: EventsTo
    ) -> dict[str, Callable[[], Awaitable[None]]]:
        """Return the loops that no saga waits for, by name."""
        store, clock, away = self.store, self.clock, self.outage
        chores: dict[str, Callable[[], Awaitable[None]]] = {}
        if keep != Keep():
            chores["retention"] = Retention(store, keep, clock, rng, away).run
        if isinstance(store, StartRequests) and catalogue.named:
            chores["starts"] = RequestedStarts(store, catalogue, clock, rng, away).run
        if events == "cdc":
            chores["events"] = EventsExpiry(store, clock, rng, away).run
        else:
            chores["events"] = EventsRelay(
                *(store, self.broker, self._topology.events, clock, rng),
                outage=away,
                complaints=self._complaints,
            ).run
        return chores
