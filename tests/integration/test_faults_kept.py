"""What is kept of a message that is set aside, or split: rows F32 and F36."""

from __future__ import annotations

import json

import aio_pika
import pytest

from saga_orchestrator.bootstrap import open_worker
from saga_orchestrator.settings import Settings
from saga_orchestrator.wire.frame import pack
from tests.support.administrator import attentive_engine
from tests.support.participants import action
from tests.support.stranger import stranger
from tests.support.waiting import eventually
from tests.support.wiretap import AmqpTap, Seen
from tests.unit.runtime.stage import Service

pytestmark = pytest.mark.slow


async def test_a_message_that_is_set_aside_keeps_what_it_said(postgres_url, rabbit_url):
    """Its headers are kept as text, within bounds, and speak to nobody again."""
    headers = {
        "traceparent": "00-1",
        "CC": ["saga.steps.near"],
        "x-death": [{"queue": "elsewhere", "count": 3}],
        "a-long-one": "x" * 5000,
        **{f"h{number:02}": number for number in range(40)},
    }
    async with (
        attentive_engine(postgres_url, rabbit_url),
        stranger(rabbit_url, serves=False) as other,
    ):
        await other.send(b"{", headers=headers)
        parked = await other.parked()
    ours = {"saga-reason", "saga-queue", "saga-headers"}
    assert set(parked.headers) - {"x-delivery-count"} == ours
    kept = json.loads(parked.headers["saga-headers"])
    assert len(kept.pop("a-long-one")) == 500
    assert kept.pop("and more") == len(headers) - 32
    assert kept == {name: headers[name] for name in kept}
    assert {"CC", "x-death", "h20"} <= set(kept)


async def test_a_frame_that_came_back_keeps_what_a_newer_release_said(
    rabbit_server, rabbit_url
):
    """It is split, and each command goes on with the fields that nobody here knows."""
    (frame,) = pack([action(step="a"), action(step="b")])
    body = json.loads(frame.body)
    body["later"] = "a"
    for number, command in enumerate(body["commands"]):
        command |= {"action": "far.a", "priority": number}
    sent: list[dict[str, object]] = []

    def note(seen: Seen, data: bytes) -> bytes:
        if seen.commands:
            sent.append(json.loads(seen.payload))
        return data

    async with open_worker(Settings(broker=rabbit_url), [Service("far").handlers]):
        pass  # its queues stay
    async with AmqpTap(rabbit_server.port) as tap:
        tap.alter = note
        async with stranger(rabbit_url, serves=False) as other:
            await other.send(
                json.dumps(body).encode(), "saga.steps.far", type="saga.commands"
            )
        await _give_back(rabbit_url, "saga.steps.far")
        url = tap.through(rabbit_url)
        async with open_worker(Settings(broker=url), [Service("far").handlers]):
            await eventually(lambda: len(sent) >= 2)
    # The worker that stops then puts back what it has not begun, once more.
    assert sent[:2] == [{**body, "commands": [one]} for one in body["commands"]]


async def _give_back(url: str, queue: str) -> None:
    """Take one message and reject it: it comes again, marked as redelivered."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        message = await (await channel.get_queue(queue)).get(timeout=20)
        assert message is not None
        await message.reject(requeue=True)
