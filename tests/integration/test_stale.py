"""A stale saga of each reason, made on real servers, is told with that reason."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from typing import TYPE_CHECKING

import asyncpg  # type: ignore[import-untyped]  # it ships no types
import httpx
import pytest

from saga_orchestrator import (
    Deferred,
    Handlers,
    Manager,
    RetryPolicy,
    SagaDefinition,
    Step,
    StepFailed,
)
from saga_orchestrator.api.address import Address
from saga_orchestrator.api.server import open_http
from saga_orchestrator.bootstrap import open_worker
from saga_orchestrator.brokers.rabbitmq import RabbitBroker
from saga_orchestrator.core.waiting import StaleAfter, WaitReason
from saga_orchestrator.ports.broker import OutgoingMessage, QueueSpec, Receipt
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.runtime import watch
from saga_orchestrator.settings import Settings
from saga_orchestrator.testing.clock import ManualClock
from saga_orchestrator.wire.envelope import COMMANDS
from tests.conformance.damage import damage
from tests.support.exposition import total
from tests.support.inbox import Inbox
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

AT_ONCE = StaleAfter(dt.timedelta(milliseconds=1))
ONCE = RetryPolicy(max_attempts=1)
SLOWLY = RetryPolicy(max_attempts=3, initial_delay=dt.timedelta(minutes=30))
SECOND = dt.timedelta(seconds=1)


def near() -> Handlers:
    """Return the service of the orchestrator's own process."""
    service = Handlers("near")

    @service.step("near.err")
    async def err(ctx, given):
        raise OSError("the network is down")

    @service.step("near.refuse")
    async def refuse(ctx, given):
        raise StepFailed("no")

    @service.step("near.act")
    async def act(ctx, given):
        return None

    @service.compensation("near.undo")
    async def undo(ctx, done):
        raise StepFailed("cannot be undone")

    @service.step("near.long", long=True)
    async def long(ctx, given):
        await asyncio.Event().wait()

    @service.step("near.approve")
    async def approve(ctx, given):
        raise Deferred

    return service


def endless(name: str, over: asyncio.Event) -> Handlers:
    """Return a service that comes to no end before the test is over."""
    service = Handlers(name)

    @service.step(f"{name}.work")
    async def work(ctx, given):
        await over.wait()

    return service


def gone() -> Handlers:
    """Return a service that is here for a moment only."""
    service = Handlers("gone")

    @service.step("gone.work")
    async def work(ctx, given):
        return None

    return service


def one(name: str, action: str, **options) -> SagaDefinition:
    """Return a saga of one step."""
    saga = {key: options.pop(key) for key in ("on_failure",) if key in options}
    return SagaDefinition(name, steps=[Step("s", action=action, **options)], **saga)


DEFINITIONS = {
    WaitReason.RETRYING: one("retrying", "near.err", retry=SLOWLY),
    WaitReason.PARKED: one("parked", "near.refuse", on_failure="park"),
    WaitReason.RUNNING: one("running", "near.long"),
    WaitReason.DEFERRED: one("deferred", "near.approve"),
    WaitReason.UNROUTABLE: one("unroutable", "nowhere.at_all"),
    WaitReason.NO_CONSUMER: one("no-consumer", "gone.work"),
    WaitReason.UNANSWERED: one("unanswered", "mute.work"),
    WaitReason.QUEUED: one("queued", "busy.work"),
    WaitReason.DEAD_LETTERED: one("dead", "poison.work", on_failure="park"),
    WaitReason.UNREADABLE: one("unreadable", "nowhere.at_all"),
    WaitReason.STUCK: one("stuck", "nowhere.at_all"),
    WaitReason.SUSPENDED: SagaDefinition(
        "suspended",
        steps=[Step("s", action="near.err", retry=SLOWLY, timeout=SECOND / 2)],
        deadline=SECOND / 2,
        on_deadline="suspend",
    ),
    WaitReason.UNDO_GAVE_UP: SagaDefinition(
        "undo-gave-up",
        steps=[
            Step("s", action="near.act", compensation="near.undo"),
            Step("t", action="near.refuse", depends_on=["s"]),
        ],
    ),
}


@pytest.fixture
async def broker(rabbit_url: str) -> AsyncIterator[RabbitBroker]:
    """The test's own connection."""
    handle = RabbitBroker(rabbit_url)
    await handle.open()
    yield handle
    await handle.close()


async def _bury(broker: RabbitBroker, queue: QueueSpec) -> None:
    """Move a command from its queue to those that passed the delivery limit."""
    inbox = Inbox(ack=True)
    consumer = await broker.consume(queue, inbox, prefetch=1)
    body = (await inbox.next()).body
    await consumer.cancel()
    assert "poison.work" in json.loads(body)["commands"][0]["action"]
    letter = OutgoingMessage("saga.undelivered", body, COMMANDS, exchange="")
    assert await broker.publish([letter]) == [Receipt.CONFIRMED]


async def _forget_phase(url: str, saga_id: str) -> None:
    """Leave a saga without anything open: no program of ours does that."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            r"UPDATE sagas SET steps = set_byte(steps, 2, 0), timers = '' "
            "WHERE id = $1",
            saga_id,
        )
    finally:
        await connection.close()


async def _says_the_same_over_http(manager: Manager, reasons) -> None:
    """Hold both routes, in pages of three, against what the manager says."""
    address = Address.parse("127.0.0.1:0")
    serving = open_http(manager, address, SystemClock(), stale_after=AT_ONCE)
    async with serving as (_, url), httpx.AsyncClient(base_url=url) as client:
        told, query = {}, {"limit": "3"}
        while True:
            answer = await client.get("/v1/stale", params=query)
            page = answer.json()
            assert len(page["stale"]) <= 3
            told |= {one["id"]: one["reason"] for one in page["stale"]}
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        assert told == await reasons()
        for saga_id, reason in told.items():
            answer = await client.get(f"/v1/sagas/{saga_id}/why")
            if reason == WaitReason.UNREADABLE:
                assert answer.status_code == 500
            else:
                assert [one["reason"] for one in answer.json()["causes"]] == [reason]


@pytest.mark.timeout(120)
async def test_each_reason_is_told(postgres_url, rabbit_url, broker, monkeypatch):
    """Store and broker together say why, for all at once; gauges and HTTP too."""
    monkeypatch.setattr(watch, "EVERY_SECONDS", 0.5)
    settings = Settings(broker=rabbit_url, concurrency=1)
    async with open_worker(settings, [gone()]):
        pass  # its queue stays
    over = asyncio.Event()
    dead = QueueSpec("saga.steps.poison", ("step.poison.work",), "saga.undelivered")
    await broker.declare(dead)
    async with (
        Manager.open(
            store=postgres_url,
            broker=rabbit_url,
            handlers=[near()],
            migrate=True,
            watch=AT_ONCE,
        ) as manager,
        open_worker(settings, [endless("busy", over)]),
        open_worker(settings, [endless("mute", over)]),
    ):
        started = {}
        for reason, definition in DEFINITIONS.items():
            started[reason] = await manager.start(definition)
        await _bury(broker, dead)

        async def reasons() -> dict[str, WaitReason]:
            found = await manager.stale(AT_ONCE)
            return {stale.id: stale.wait.reason for stale in found}

        # One is at work, one stands in the queue: nobody can tell which is which.
        other = await manager.start(DEFINITIONS[WaitReason.QUEUED])
        await damage(
            manager.store, postgres_url, started[WaitReason.UNREADABLE], "steps"
        )
        await _forget_phase(postgres_url, started[WaitReason.STUCK].id)
        expected = {saga.id: reason for reason, saga in started.items()}
        expected[other.id] = WaitReason.QUEUED

        async def are_told() -> bool:
            return await reasons() == expected

        try:
            await eventually(are_told, seconds=30)
        except AssertionError:
            assert await reasons() == expected  # says which
            raise
        for reason, saga in started.items():
            if reason is not WaitReason.UNREADABLE:
                (cause,) = (await manager.why(saga.id)).causes
                assert cause.wait.reason is reason
                assert cause.remedy
        await _says_the_same_over_http(manager, reasons)
        await eventually(
            lambda: all(
                total("saga_stale_sagas", reason=str(reason)) >= 1 for reason in started
            )
        )
        over.set()


async def test_without_an_engine(postgres_url):
    """A start that no engine took says so; what is long due, that none works."""
    past = ManualClock(dt.datetime.now(dt.UTC) - dt.timedelta(hours=2))
    async with Manager.open(store=postgres_url, migrate=True, clock=past) as before:
        old = await before.start(one("old", "near.act"))
    async with Manager.open(store=postgres_url) as client:
        new = await client.start(one("new", "near.act"))

        async def reasons() -> dict[str, WaitReason]:
            found = await client.stale(AT_ONCE)
            return {stale.id: stale.wait.reason for stale in found}

        expected = {old.id: WaitReason.OVERDUE, new.id: WaitReason.UNPUBLISHED}

        async def are_told() -> bool:
            return await reasons() == expected

        await eventually(are_told)
