"""Every message of a real run is what docs/wire promises to other languages."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import aio_pika
import pytest
from jsonschema import Draft202012Validator

from saga_orchestrator import Manager, SagaDefinition, Step, StepFailed
from saga_orchestrator.bootstrap import open_worker
from saga_orchestrator.settings import Settings
from saga_orchestrator.wire.schema import command_schema, reply_schema
from tests.support.rabbitmq import RabbitServer, vhost_of
from tests.support.waiting import eventually
from tests.unit.runtime.stage import ONCE, Service, raising

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FAR = Service("far")
_SCHEMAS = {"saga.commands": command_schema(), "saga.replies": reply_schema()}


class Firehose:
    """The broker's own copy of every message that is published in a vhost.

    Attributes:
        messages: type and body.
    """

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []

    async def take(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        """Keep one message."""
        properties = message.headers["properties"]
        assert isinstance(properties, dict)
        self.messages.append((str(properties["type"]), json.loads(message.body)))

    def count(self, kind: str, field: str) -> Counter[str]:
        """Count commands or replies by one of their fields."""
        return Counter(
            item[field]
            for found, body in self.messages
            if found == f"saga.{kind}"
            for item in body[kind]
        )


@pytest.fixture
async def firehose(
    rabbit_server: RabbitServer, rabbit_url: str
) -> AsyncIterator[Firehose]:
    """Trace the test's vhost."""
    vhost = vhost_of(rabbit_url)
    await asyncio.to_thread(rabbit_server.rabbitmqctl, "trace_on", "-p", vhost)
    async with await aio_pika.connect(rabbit_url) as connection:
        channel = await connection.channel()
        copies = await channel.declare_queue("copies", exclusive=True)
        await copies.bind("amq.rabbitmq.trace", "publish.#")
        opened = Firehose()
        await copies.consume(opened.take, no_ack=True)
        yield opened
    await asyncio.to_thread(rabbit_server.rabbitmqctl, "trace_off", "-p", vhost)


async def test_every_message_fits_its_schema(postgres_url, rabbit_url, firehose):
    """Commands and replies of steps, a refusal and undos, frames included."""
    service = Service("far")
    service.does["c"] = raising(StepFailed("declined"))
    definition = SagaDefinition("s", steps=FAR.chain(retry=ONCE))
    plain = SagaDefinition("plain", [Step("only", action="far.a", input={"n": 1})])
    async with (
        Manager.open(
            store=postgres_url, migrate=True, broker=rabbit_url, engine=True
        ) as manager,
        open_worker(Settings(broker=rabbit_url), [service.handlers]),
    ):
        sagas = [await manager.start(definition, context={"i": i}) for i in range(20)]
        sagas += [await manager.start(plain) for _ in range(5)]
        ended = [await manager.wait(saga.id, timeout=60) for saga in sagas]
        assert all(saga.is_compensated for saga in ended[:20])
        answers = 20 * 5 + 5  # a, b, c, undo b, undo a
        await eventually(lambda: firehose.count("replies", "answer").total() == answers)
    for kind, body in firehose.messages:
        Draft202012Validator(_SCHEMAS[kind]).validate(body)
    assert firehose.count("replies", "answer") == {"succeeded": 85, "refused": 20}
    assert firehose.count("commands", "direction")["compensation"] == 40
