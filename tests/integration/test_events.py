"""Events for others, through the real servers, to a reader of the exchange."""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aio_pika
import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from saga_orchestrator import Manager, SagaDefinition, Store
from saga_orchestrator.brokers.rabbitmq import RabbitBroker
from saga_orchestrator.core.commands import Answer, Reply
from saga_orchestrator.core.public import Emission
from saga_orchestrator.ports.broker import OutgoingMessage, QueueSpec, Receipt
from saga_orchestrator.runtime import events_relay
from saga_orchestrator.wire.envelope import REPLIES, read_commands
from saga_orchestrator.wire.frame import pack_replies
from saga_orchestrator.wire.topology import Topology
from saga_stores._event_rows import EVENT_COLUMNS
from tests.support.events_process import NAMES, SHOP, shop
from tests.support.inbox import Inbox
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
WHOLE = ["started"]
for _name in NAMES:
    WHOLE += [f"shop.{_name}.done", "step_completed"]
WHOLE += ["completed"]


class Reader:
    """Somebody else's program: a queue bound to everything.

    Attributes:
        keys: of the messages that came.
        documents: their bodies.
    """

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.documents: list[dict[str, Any]] = []

    async def take(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        """Keep a message."""
        async with message.process():
            self.keys.append(message.routing_key or "")
            self.documents.append(json.loads(message.body))

    def stories(self) -> dict[str, list[str]]:
        """The types of each saga's events, in order, what came twice dropped."""
        known: set[str] = set()
        found: defaultdict[str, list[str]] = defaultdict(list)
        for one in self.documents:
            if one["id"] not in known:
                known.add(one["id"])
                found[one["saga_id"]].append(one["type"])
        return found


@pytest.fixture
async def reader(rabbit_url: str) -> AsyncIterator[Reader]:
    """A reader that is bound before anything happens."""
    connection = await aio_pika.connect(rabbit_url)
    channel = await connection.channel()
    exchange = await channel.declare_exchange(
        "saga.events", aio_pika.ExchangeType.TOPIC, durable=True
    )
    queue = await channel.declare_queue("others", durable=True)
    await queue.bind(exchange, "#")
    found = Reader()
    await queue.consume(found.take)
    yield found
    await connection.close()


@pytest.mark.postgres
@pytest.mark.rabbitmq
async def test_a_reader_gets_every_event_of_every_saga_in_order(
    postgres_url: str, rabbit_url: str, reader: Reader
) -> None:
    """Two engines decide and publish; each saga's story is whole, and told once."""
    options: dict[str, Any] = {
        "store": postgres_url,
        "broker": rabbit_url,
        "handlers": [shop],
        "lifecycle_events": True,
    }
    async with Manager.open(migrate=True, **options) as one, Manager.open(**options):
        sagas = await asyncio.gather(*(one.start(SHOP) for _ in range(20)))
        ids = {saga.id for saga in sagas}
        await eventually(lambda: _are_told(reader, ids))
    assert dict(reader.stories()) == dict.fromkeys(ids, WHOLE)
    assert len(reader.documents) == 20 * len(WHOLE)
    assert "emitted.shop.shop.charge.done" in reader.keys
    assert "lifecycle.shop.completed" in reader.keys


@pytest.mark.postgres
@pytest.mark.rabbitmq
async def test_a_full_queue_holds_back_its_own_sagas_only(
    postgres_url: str, rabbit_url: str, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a page has room for no others, too; and order stays when it has room."""
    monkeypatch.setattr(events_relay, "EVENTS_MAX", 2)
    monkeypatch.setattr(events_relay, "HELD_SECONDS", 1.0)
    connection = await aio_pika.connect(rabbit_url)
    channel = await connection.channel()
    full = await channel.declare_queue(
        "full", arguments={"x-max-length": 0, "x-overflow": "reject-publish"}
    )
    await full.bind("saga.events", "lifecycle.shop.#")
    other = SagaDefinition("other", steps=SHOP.steps)
    async with Manager.open(
        store=postgres_url,
        broker=rabbit_url,
        handlers=[shop],
        migrate=True,
        lifecycle_events=True,
    ) as manager:
        held = {(await manager.start(SHOP)).id for _ in range(4)}
        for saga_id in held:
            await manager.wait(saga_id)
        free = await manager.start(other)
        await eventually(lambda: reader.stories()[free.id] == WHOLE, seconds=30)
        assert {len(reader.stories()[one]) for one in held} <= {0, 1}
        await full.delete(if_empty=False)
        await eventually(lambda: _are_told(reader, held), seconds=30)
    await connection.close()


@pytest.mark.postgres
@pytest.mark.rabbitmq
async def test_what_a_dead_engine_did_not_publish_another_one_does(
    postgres_url: str, rabbit_url: str, reader: Reader
) -> None:
    """It was killed between its commit and the publish; the story is whole."""
    async with Manager.open(
        store=postgres_url, migrate=True, lifecycle_events=True
    ) as client:
        saga = await client.start(SHOP)
        program = [sys.executable, "-m", "tests.support.events_process"]
        process = await asyncio.create_subprocess_exec(
            *program, postgres_url, rabbit_url, cwd=ROOT
        )
        try:
            assert await asyncio.wait_for(process.wait(), 60) == -signal.SIGKILL
        finally:
            if process.returncode is None:
                process.kill()
        assert reader.documents == []
    async with Manager.open(
        store=postgres_url, broker=rabbit_url, handlers=[shop], lifecycle_events=True
    ):
        await eventually(lambda: _are_told(reader, {saga.id}), seconds=60)


@pytest.mark.postgres
@pytest.mark.rabbitmq
async def test_an_answer_that_comes_twice_emits_once(
    postgres_url: str, rabbit_url: str, reader: Reader
) -> None:
    """Over the wire, from a participant that knows nothing of us but the protocol."""
    topology = Topology()
    broker = RabbitBroker(rabbit_url, rng=random.Random(1))
    await broker.open()
    try:
        inbox = Inbox(ack=True)
        keys = tuple(f"step.shop.{name}" for name in NAMES)
        await broker.consume(
            QueueSpec("saga.steps.far", keys, topology.undelivered), inbox, prefetch=9
        )
        async with Manager.open(
            store=postgres_url, migrate=True, broker=rabbit_url, engine=True
        ) as manager:
            saga = await manager.start(SHOP)
            for name in NAMES:
                delivery = await inbox.next(seconds=60)
                (command,) = read_commands(delivery.body)
                assert command.fence.step == name
                reply = Reply(
                    command.fence,
                    command.token,
                    Answer.SUCCEEDED,
                    emitted=(Emission(f"{name}.done", {"n": 1}), Emission("and", None)),
                )
                for _ in range(2):
                    assert await _send(broker, reply) == [Receipt.CONFIRMED]
            assert (await manager.wait(saga.id, timeout=60)).is_completed
            await eventually(lambda: len(reader.documents) >= 6)
            await eventually(lambda: _repeats_are_counted(manager, saga.id))
    finally:
        await broker.close()
    told = [one["type"] for one in reader.documents]
    assert told == [word for name in NAMES for word in (f"{name}.done", "and")]


@pytest.mark.postgres
@pytest.mark.rabbitmq
async def test_the_reader_of_the_documentation_reads(
    postgres_url: str, rabbit_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """``docs/events.md`` shows a program; here it runs."""
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    found = re.search(r"test_events.py: read -->\n```python\n(.*?)```", page, re.DOTALL)
    assert found
    names: dict[str, Any] = {}
    exec(compile(found[1], "docs/events.md", "exec"), names)
    reading = asyncio.create_task(names["read"](rabbit_url))
    try:
        await eventually(lambda: _is_bound(rabbit_url))
        async with Manager.open(
            store=postgres_url, migrate=True, broker=rabbit_url, handlers=[shop]
        ) as manager:
            await manager.start(SHOP)
            printed: list[str] = []
            await eventually(
                lambda: "shop.ship.done {'step': 'ship'}" in _added(printed, capsys)
            )
    finally:
        reading.cancel()
        await asyncio.wait([reading])


@pytest.mark.postgres
async def test_the_table_has_the_columns_that_a_connector_is_told(
    postgres_url: str,
) -> None:
    """What ``deploy/debezium/connector.json`` is held against is what is there."""
    store = await Store.open(postgres_url, migrate=True)
    await store.close()
    psql = await asyncpg.connect(postgres_url)
    try:
        rows = await psql.fetch(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_name = 'saga_events'"
        )
    finally:
        await psql.close()
    assert {row[0] for row in rows} == set(EVENT_COLUMNS)


def _added(printed: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    printed.append(capsys.readouterr().out)
    return "".join(printed)


async def _is_bound(url: str) -> bool:
    """Tell whether the queue of the documentation's reader gets what is for it."""
    connection = await aio_pika.connect(url)
    try:
        channel = await connection.channel()
        exchange = await channel.declare_exchange("saga.events", "topic", durable=True)
        probe = aio_pika.Message(b'{"type": "probe", "data": null}')
        await exchange.publish(probe, "emitted.shop.probe", mandatory=True)
    except aio_pika.exceptions.DeliveryError:
        return False
    else:
        return True
    finally:
        await connection.close()


async def _send(broker: RabbitBroker, reply: Reply) -> list[Receipt]:
    body = pack_replies([reply])[0]
    message = OutgoingMessage("saga.replies", body, REPLIES, exchange="")
    return await broker.publish([message])


async def _repeats_are_counted(manager: Manager, saga_id: str) -> bool:
    return (await manager.get(saga_id)).ignored == len(NAMES)


def _are_told(reader: Reader, ids: set[str]) -> bool:
    stories = reader.stories()
    return all(stories.get(saga_id, [])[-1:] == ["completed"] for saga_id in ids)
