"""What `saga doctor` looks at: the store, the broker, and who works on them.

Each finding that is not well says what to do. Reading only: but for the topic
exchange, which opening a broker declares, nothing is made or changed.
"""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from saga_orchestrator.cli.following import untaken
from saga_orchestrator.cli.store_files import require_store_file
from saga_orchestrator.core.states import Direction, SagaState
from saga_orchestrator.core.waiting import NO_SERVICE, OVERDUE_AFTER, QUEUED
from saga_orchestrator.errors import (
    BrokerError,
    BrokerUnavailableError,
    ConfigurationError,
    SagaError,
    StoreDataError,
    StoreError,
    StoreUnavailableError,
)
from saga_orchestrator.participant.handlers import Handlers
from saga_orchestrator.ports.adapters import STORES, adapter_for
from saga_orchestrator.ports.broker import Broker
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.records import OutboxRow
from saga_orchestrator.ports.store import SagaFilter, Store
from saga_orchestrator.runtime.assembly import open_broker
from saga_orchestrator.wire.topology import Topology

CLOCK_DIFFERENCE_MAX = dt.timedelta(seconds=2)

MOVING = frozenset({SagaState.STARTED, SagaState.COMPENSATING})
OUTBOXES_MAX = 50
"""Sagas whose commands are looked at; each is a read of its own."""


class Level(StrEnum):
    """How bad it is."""

    WELL = "well"
    REMARK = "remark"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        about: what, as ``queue saga.replies``.
        level: how it is.
        text: how it is, in words.
        fix: what to do; empty where all is well.
        unreachable: nobody answers there.
    """

    about: str
    level: Level
    text: str
    fix: str = ""
    unreachable: bool = False


async def examine_schema(url: str) -> Finding:
    """Look whether the store answers, and fits this program."""
    try:
        require_store_file(url)
    except ConfigurationError as error:
        return _fault("store", error)
    try:
        missing = await adapter_for(STORES, "store", url).migrate(url, dry_run=True)
    except StoreError as error:
        return _fault("store", error)
    if missing:
        names = ", ".join(f"{one.number:04}_{one.name}" for one in missing)
        return Finding(
            "store schema", Level.WRONG, f"lacks {names}", "run `saga migrate`"
        )
    return Finding("store", Level.WELL, "answers, its schema is up to date")


async def examine_store(store: Store, clock: Clock) -> AsyncIterator[Finding]:
    """Look at the clock of a store, at its sagas, and whether time is kept."""
    before = clock.now()
    now = await store.now()
    difference = abs(now - (before + (clock.now() - before) / 2))
    text = f"{difference.total_seconds():.3f} s from this machine's"
    if difference > CLOCK_DIFFERENCE_MAX:
        fix = "let NTP set the clocks of both machines"
        yield Finding("store clock", Level.WRONG, text, fix)
    else:
        yield Finding("store clock", Level.WELL, text)
    counts = await store.counts()
    told = ", ".join(f"{counts[one]} {one}" for one in SagaState if counts.get(one))
    yield Finding("sagas", Level.WELL, told or "none")
    if failed := counts.get(SagaState.FAILED, 0):
        yield Finding(
            "sagas",
            Level.REMARK,
            f"{failed} stopped as failed: a person must look",
            "`saga list --state failed`, then `saga get ID`",
        )
    due = await store.next_due()
    if due is not None and now - due > OVERDUE_AFTER:
        yield Finding(
            "timers",
            Level.WRONG,
            f"one is overdue since {due:%Y-%m-%d %H:%M:%S} UTC: no engine works on "
            "this store",
            "start `saga serve` on it",
        )
    async for finding in _examine_outboxes(store):
        yield finding


async def examine_broker(
    url: str,
    topology: Topology,
    services: Sequence[Handlers],
    *,
    clock: Clock,
    rng: random.Random,
) -> AsyncIterator[Finding]:
    """Look whether the broker answers, and at each queue that should be there.

    Args:
        url: the broker's.
        topology: the names of the orchestrators' queues.
        services: those whose queues are looked at too.
        clock: what the adapter waits on.
        rng: what the adapter draws its pauses from.
    """
    try:
        broker = await open_broker(url, topology=topology, clock=clock, rng=rng)
    except BrokerError as error:
        yield _fault("broker", error)
        return
    try:
        yield Finding("broker", Level.WELL, "answers")
        for queue in (topology.replies, topology.undelivered):
            yield await _examine_queue(broker, queue, "start `saga serve`")
        yield await _examine_dead_letters(broker, topology.dead)
        for queue in _queues_of(services, topology):
            yield await _examine_queue(broker, queue, "start its `saga worker`")
    except BrokerError as error:
        yield _fault("broker", error)
    finally:
        await broker.close()


async def _examine_outboxes(store: Store) -> AsyncIterator[Finding]:
    """Look at the commands of the newest sagas that nobody has sent."""
    lapsed: list[OutboxRow] = []
    errors: Counter[str] = Counter()
    for saga in await store.find(SagaFilter(MOVING, limit=OUTBOXES_MAX)):
        try:
            record = await store.record(saga.id)
        except StoreDataError:
            continue
        if record is None:  # deleted meanwhile
            continue
        lapsed.extend(untaken(record, await store.now()))
        errors.update(row.error for row in record.outbox if row.error)
    if lapsed:
        since = min(row.claimed_until for row in lapsed)
        yield Finding(
            "outbox",
            Level.WRONG,
            f"{counted(len(lapsed), 'command')} not sent, the oldest since "
            f"{since:%Y-%m-%d %H:%M:%S} UTC: no engine has taken it",
            "start `saga serve` or `saga dev` on this store",
        )
    del errors[QUEUED]  # its queue has a backlog: not a fault
    for error, count in sorted(errors.items()):
        yield _undeliverable(error, count)


def _undeliverable(error: str, count: int) -> Finding:
    text = f"{counted(count, 'command')} not sent: {error}"
    _, separator, name = error.partition(NO_SERVICE)
    fix = f"run a worker for {name}" if separator else "look at the engine's log"
    return Finding("outbox", Level.WRONG, text, fix)


def _fault(about: str, error: SagaError) -> Finding:
    """Return an error as a finding; by custom its text is "problem; fix"."""
    away = isinstance(error, StoreUnavailableError | BrokerUnavailableError)
    text, separator, fix = str(error).rpartition("; ")
    if not separator:
        text, fix = fix, "is the server running, and the URL right?"
    return Finding(about, Level.WRONG, text, fix, unreachable=away)


async def _examine_queue(broker: Broker, queue: str, fix: str) -> Finding:
    about = f"queue {queue}"
    stats = await broker.stats(queue)
    if stats is None:
        return Finding(about, Level.WRONG, "does not exist", fix)
    text = f"{stats.ready} ready, {counted(stats.consumers, 'consumer')}"
    if not stats.consumers:
        return Finding(about, Level.WRONG, text, fix)
    return Finding(about, Level.WELL, text)


async def _examine_dead_letters(broker: Broker, queue: str) -> Finding:
    about = f"queue {queue}"
    stats = await broker.stats(queue)
    if stats is None:
        return Finding(about, Level.WRONG, "does not exist", "start `saga serve`")
    if stats.ready:
        return Finding(
            about,
            Level.WRONG,
            counted(stats.ready, "dead letter"),
            "look at the header saga-reason of each; then move it back, or purge it",
        )
    return Finding(about, Level.WELL, "no dead letters")


def _queues_of(services: Sequence[Handlers], topology: Topology) -> list[str]:
    return [
        topology.queue_for(direction, service.service)
        for service in services
        for direction in Direction
        if service.actions(direction)
    ]


def counted(number: int, noun: str) -> str:
    """Return how many there are, in words: ``2 rows``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
