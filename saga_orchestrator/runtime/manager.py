"""The manager: what a program holds to start, follow and operate sagas."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from saga_orchestrator.core.definition import SagaDefinition, Step
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.waiting import StaleAfter
from saga_orchestrator.participant.handlers import Handlers
from saga_orchestrator.ports.broker import Broker
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.records import SagaRecord
from saga_orchestrator.ports.store import Keep, Store
from saga_orchestrator.runtime.assembly import (
    CONCURRENCY,
    Assembled,
    Parts,
    assemble,
)
from saga_orchestrator.runtime.completion import Completer
from saga_orchestrator.runtime.engine import EventsTo
from saga_orchestrator.runtime.ids import NewId, ulids
from saga_orchestrator.runtime.monitor import Diagnosis, diagnose
from saga_orchestrator.runtime.opening import Opening
from saga_orchestrator.runtime.operator import checked_id, saga_of
from saga_orchestrator.runtime.registry import Registry
from saga_orchestrator.runtime.stale import (
    SAGAS_MAX,
    StalePage,
    StaleSaga,
    find_stale,
)
from saga_orchestrator.runtime.starting import Catalogue, saga_started
from saga_orchestrator.telemetry import tracing
from saga_orchestrator.wire.topology import Topology

DRAIN_SECONDS = 25.0
"""Less than the 30 s that Kubernetes gives a process to stop."""

_log = structlog.get_logger("saga.manager")


class Manager(Completer):
    """Starts sagas, follows them, operates them; runs an engine if it has one.

    Made by ``Manager.open``. What a person may ask of a saga is inherited from
    ``Operator``: compensate, retry, resolve, give up, residuals; how a deferred step
    is answered from outside, from ``Completer``.
    """

    @classmethod
    def open(
        cls,
        *,
        store: str | Store = "memory://",
        broker: str | Broker | None = None,
        broker_may_be_away: bool = False,
        handlers: Iterable[Handlers] = (),
        definitions: Iterable[SagaDefinition] = (),
        engine: bool | None = None,
        topology: Topology | None = None,
        concurrency: int = CONCURRENCY,
        keep: Keep | None = None,
        events: EventsTo = "broker",
        lifecycle_events: bool = False,
        migrate: bool | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        watch: StaleAfter | None = None,
    ) -> Opening[Manager]:
        """Open a manager: ``async with Manager.open(...) as m``, or ``await`` it.

        Args:
            store: a URL, or an open store, which ``close`` then closes too.
            broker: a URL, or an open broker; None: in this process. Without an
                engine none is used.
            broker_may_be_away: open even where nobody answers at the broker's
                address: sagas start and timers fire, commands go out when it is
                there, and ``problems`` says so meanwhile. A broker that refuses
                the login is an error all the same.
            handlers: services whose handlers run in this process.
            definitions: sagas to start by name; checked against the handlers.
            engine: run one here: publish, relay, fire timers, take answers.
                None: where there are handlers. Without one the manager only
                commits, and an engine elsewhere, on the same store, does the rest.
            topology: names on the broker; None: the usual ones.
            concurrency: handlers that run at a time.
            keep: for how long an engine keeps sagas after their end; None: for ever.
            events: who brings events to others: ``broker``, an engine here; ``cdc``,
                change data capture of the database: an engine only deletes them
                after an hour.
            lifecycle_events: also record what becomes of sagas as events for others;
                the same in all processes.
            migrate: bring the store's schema up to date first; None: where it
                is embedded.
            clock: where the time comes from; None: the machine, and for a
                store on a server that server.
            rng: for ids, and to spread retries; None: the system's.
            watch: with an engine: refresh the gauges of the store every 15 s, and
                log which sagas turn stale; after how long they are. None: do not.

        Raises:
            ConfigurationError: an unknown URL scheme, or parts that do not fit.
            HandlerNotFoundError: a definition needs a handler of this process
                that is not there.
            StoreError, BrokerError: a part cannot be opened; says which and why.
        """
        registry = Registry(handlers)
        catalogue = Catalogue(registry, definitions)
        parts = Parts(
            store=store,
            broker=broker,
            broker_may_be_away=broker_may_be_away,
            registry=registry,
            catalogue=catalogue,
            engine=engine,
            topology=topology or Topology(),
            concurrency=concurrency,
            keep=keep or Keep(),
            events=events,
            lifecycle_events=lifecycle_events,
            migrate=migrate,
            clock=clock,
            rng=rng or random.SystemRandom(),
            watch=watch,
        )

        async def opener() -> Manager:
            assembled = await assemble(parts)
            return cls(assembled, catalogue, ulids(assembled.clock, parts.rng))

        return Opening(opener)

    def __init__(
        self, assembled: Assembled, catalogue: Catalogue, new_id: NewId
    ) -> None:
        super().__init__(assembled.store, assembled.engine.pipeline, new_id)
        self._broker = assembled.broker
        self._engine = assembled.engine
        self._catalogue = catalogue
        self._stopping = asyncio.Event()
        self._closed = False

    @property
    def store(self) -> Store:
        """The store, for reading what the manager has no method for."""
        return self._store

    def problems(self) -> list[str]:
        """Name what is wrong now; empty: everything works."""
        return self._engine.problems()

    def parts(self) -> dict[str, list[str]]:
        """Name what is wrong now, by part: store, engine, broker, remarks.

        A part without problems is there too; a client has no broker.
        """
        return self._engine.parts()

    @property
    def definitions(self) -> dict[str, SagaDefinition]:
        """The definitions that can be started by name."""
        return self._catalogue.named

    async def start(
        self,
        definition: SagaDefinition | str,
        steps: Iterable[Step] | None = None,
        context: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        connection: object | None = None,
    ) -> Saga:
        """Start a saga; it exists and runs once this returns.

        Args:
            definition: a definition, the name of one given to ``open``, or,
                with ``steps``, the name of an ad-hoc saga.
            steps: the steps of an ad-hoc saga.
            context: JSON data that handlers and conditions read.
            key: makes the start idempotent: while the saga is kept, the same key
                with the same body returns it, whatever its state.
            connection: an asyncpg connection to the store's database, in a
                transaction of yours: the saga exists if and only if you commit, and
                runs within a second of it. Only with PostgreSQL.

        Returns:
            The saga after its first transition.

        Raises:
            ConfigurationError: the connection is of no use; says why. Here, as with
                all others, your transaction is as it was.
            KeyConflict: the key belongs to a saga with another body.
            DefinitionError: no such name, or the steps make no saga.
            HandlerNotFoundError: an action of this process has no handler.
            PayloadError: the context cannot travel as JSON, is too large, or lacks
                what the first steps read.
            StoreUnavailableError: the store stayed away; with a key it is safe
                to call again, without one the saga may exist.
        """
        plan = self._catalogue.plan_of(definition, steps)
        with tracing.starting(plan.definition.name) as traceparent:
            started = saga_started(
                self._new_id(),
                plan,
                {} if context is None else context,
                key,
                ad_hoc=steps is not None,
                traceparent=traceparent,
            )
            if connection is None:
                return await self._submit(started)
            (decision,) = await self._store.transact_within(connection, [started])
            return saga_of(decision)

    async def get(self, saga_id: str) -> Saga:
        """Return a saga with its context and outputs.

        Raises:
            SagaNotFoundError: no such saga.
        """
        return await self._load(checked_id(saga_id))

    async def record(self, saga_id: str) -> SagaRecord:
        """Return a saga with its history and everything else that is known.

        Raises:
            SagaNotFoundError: no such saga.
        """
        return await self._record(checked_id(saga_id))

    async def list_active(self) -> list[Saga]:
        """Return every saga that has not ended; ``failed`` ones are among them."""
        return await self._store.list_active()

    async def stale(self, after: StaleAfter | None = None) -> list[StaleSaga]:
        """Return sagas that wait for too long, with the reason; the oldest first.

        A manager with an engine asks the broker too: whether anybody reads the queue
        of a command, and how many stand in it.

        Args:
            after: for how long is too long; None: 10 minutes.

        Returns:
            Those among the 5,000 oldest that have not ended; ``stale_page`` goes on.
        """
        return list((await self.stale_page(after)).sagas)

    async def stale_page(
        self,
        after: StaleAfter | None = None,
        *,
        limit: int | None = None,
        start: SagaId | None = None,
        seconds: float | None = None,
    ) -> StalePage:
        """Return sagas that wait for too long, and where the next search goes on.

        Args:
            after: as for ``stale``.
            limit: stale sagas at most; None: all that one search finds.
            start: ``goes_on`` of the page before; None: at the oldest.
            seconds: for how long to search; what was found by then is returned.
                None: as long as it takes.

        Raises:
            TimeoutError: not one saga could be looked at in this time.
        """
        return await find_stale(
            self._store,
            after or StaleAfter(),
            self._engine.looks(),
            limit=limit or SAGAS_MAX,
            start=start,
            seconds=seconds,
        )

    async def why(self, saga_id: str) -> Diagnosis:
        """Return why a saga waits, and what to do about it.

        Raises:
            SagaNotFoundError: no such saga.
        """
        record = await self.record(saga_id)
        return await diagnose(record, await self._store.now(), self._engine.looks())

    async def wait(self, saga_id: str, timeout: float | None = None) -> Saga:
        """Return the saga once it is completed, compensated or failed.

        Args:
            saga_id: which.
            timeout: seconds; None: as long as it takes.

        Raises:
            SagaNotFoundError: no such saga.
            TimeoutError: it did not come to rest in time.
        """
        async with asyncio.timeout(timeout):
            return await self._engine.waiters.wait(checked_id(saga_id))

    async def run(self) -> None:
        """Return when ``stop`` was called; the engine works meanwhile."""
        await self._stopping.wait()

    async def stop(self, timeout: float = DRAIN_SECONDS) -> None:
        """Take nothing new and finish what has begun, within ``timeout`` seconds.

        What does not finish in time is left to the broker and the outbox: the
        next engine goes on with it, and no attempt is used up.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._engine.drain(timeout)
        except TimeoutError:
            _log.warning("not drained in time", seconds=timeout)
        self._stopping.set()

    async def close(self) -> None:
        """Release everything; idempotent. ``stop`` first to drain."""
        if self._closed:
            return
        self._closed = True
        await self._engine.close()
        if self._broker is not None:
            await self._broker.close()
        await self._store.close()
        self._stopping.set()
