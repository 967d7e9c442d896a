"""/readyz on real servers that die and come back, with sagas under way."""

from __future__ import annotations

import asyncio
import random

import httpx

from saga_orchestrator import Manager, SagaDefinition
from saga_orchestrator.api.address import Address
from saga_orchestrator.api.server import open_http
from saga_orchestrator.brokers.rabbitmq import RabbitBroker
from saga_orchestrator.ports.clock import SystemClock
from tests.support.waiting import eventually
from tests.unit.runtime.stage import Service

SAGAS = 30


async def test_it_turns_red_with_the_reason_and_green_again(
    killable_postgres, killable_rabbit
):
    """PostgreSQL dies, then RabbitMQ: each is named; every saga still completes."""
    service = Service("far")

    async def act(ctx):
        await asyncio.sleep(0.05)

    for name in "abc":
        service.does[name] = act
    order = SagaDefinition("order", service.chain())
    broker = RabbitBroker(
        killable_rabbit.url(), rng=random.Random(1), reconnect_interval=0.3
    )
    await broker.open()
    opening = Manager.open(
        store=killable_postgres.create_database(),
        broker=broker,
        handlers=[service.handlers],
        definitions=[order],
        migrate=True,
    )
    async with opening as manager:
        # The two queues must be on disk before the broker is killed.
        killable_rabbit.flush_new_queues()
        address = Address.parse("127.0.0.1:0")
        async with (
            open_http(manager, address, SystemClock()) as (_, url),
            httpx.AsyncClient(base_url=url, timeout=60) as client,
        ):
            await _play(client, killable_postgres, killable_rabbit)


async def _play(client, postgres, rabbit):
    async def ready():
        answer = await client.get("/readyz?verbose=1")
        return answer.status_code, answer.text

    async def start(number):
        answer = await client.post(
            "/v1/sagas",
            json={"name": "order", "context": {"n": number}},
            headers={"Idempotency-Key": f"o-{number}"},
        )
        return answer.json()["id"]

    async def is_green():
        return (await ready())[0] == 200

    async def is_red(part):
        status, text = await ready()
        return status == 503 and f"[-]{part} " in text

    assert await is_green()
    ids = await asyncio.gather(*(start(number) for number in range(SAGAS)))
    assert await is_green()
    postgres.kill()
    await eventually(lambda: is_red("store"), seconds=60)
    assert str(postgres.port) in (await ready())[1]
    refused = await client.get("/v1/sagas")
    assert refused.status_code == 503
    assert refused.json()["type"].endswith(":unavailable")
    assert (await client.get("/livez")).status_code == 200
    postgres.start()
    await eventually(is_green, seconds=90)

    ids += await asyncio.gather(*(start(number) for number in range(SAGAS, 2 * SAGAS)))
    rabbit.kill()
    await eventually(lambda: is_red("broker"), seconds=60)
    late = await start(2 * SAGAS)  # a start needs the store only
    rabbit.start()
    await eventually(is_green, seconds=150)
    for saga_id in [*ids, late]:
        while (
            saga := await client.get(f"/v1/sagas/{saga_id}/wait")
        ).status_code == 202:
            pass
        assert saga.json()["state"] == "completed", saga.text
