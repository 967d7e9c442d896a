"""What a client of the HTTP API is told while a server is in trouble: F40, F55."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import asyncpg
import httpx
import pytest

from saga_orchestrator import Manager, SagaDefinition
from saga_orchestrator.api.address import Address
from saga_orchestrator.api.server import open_http
from saga_orchestrator.ports.clock import SystemClock
from saga_stores.postgres import database
from tests.support.waiting import eventually
from tests.unit.api.stage import WHY, problem
from tests.unit.runtime.stage import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.rabbitmq import RabbitServer

pytestmark = pytest.mark.slow

RATE = 5.0
AT_ONCE = int(4 * RATE)


@contextlib.asynccontextmanager
async def served(
    manager: Manager, rate: float = 10_000
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve a manager on a free port; give a client."""
    address = Address.parse("127.0.0.1:0")
    async with (
        open_http(manager, address, SystemClock(), rate=rate) as (_, url),
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        yield client


async def test_starts_while_the_broker_is_in_alarm(
    postgres_url: str, rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """Taken at once, as often as one caller may; red meanwhile; none is lost."""
    service = Service("far", "a")
    order = SagaDefinition("order", service.chain("a"))
    watermark = "set_vm_memory_high_watermark"
    async with (
        Manager.open(
            store=postgres_url,
            broker=rabbit_url,
            handlers=[service.handlers],
            definitions=[order],
            migrate=True,
        ) as manager,
        served(manager, RATE) as client,
    ):

        async def start(number: int) -> httpx.Response:
            return await client.post(
                "/v1/sagas",
                json={"name": "order", "context": {}},
                headers={"Idempotency-Key": f"o-{number}"},
            )

        await asyncio.to_thread(rabbit_server.rabbitmqctl, watermark, "0")
        try:
            taken = [await start(0)]  # who publishes is told of the alarm
            await eventually(
                lambda: any("alarm is on" in one for one in manager.problems())
            )
            ready = await client.get("/readyz")
            assert ready.status_code == 503
            assert "[-]broker down" in ready.text
            answers = await asyncio.gather(*(start(n + 1) for n in range(AT_ONCE)))
            taken += [one for one in answers if one.status_code == 202]
            refused = [one for one in answers if one.status_code != 202]
            assert refused
            for one in refused:
                assert problem(one)[:2] == (429, "too-many-requests")
                assert int(one.headers["Retry-After"]) >= 1
            assert {one.status_code for one in taken} == {202}
        finally:
            await asyncio.to_thread(rabbit_server.rabbitmqctl, watermark, "0.4")
        for one in taken:
            saga = await manager.wait(one.json()["id"], timeout=60)
            assert saga.is_completed
        await eventually(lambda: _is_ready(client))


async def test_a_pool_that_is_exhausted_is_told(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with when to ask again, instead of a wait; what had begun is done."""
    store = f"{postgres_url}?pool=1"
    async with (
        Manager.open(store=store, migrate=True) as manager,
        served(manager) as client,
    ):
        saga = await manager.start("order", Service("far", "a").chain("a"))
        psql = await asyncpg.connect(postgres_url)
        async with psql.transaction():
            monkeypatch.setattr(database, "ACQUIRE_SECONDS", 0.1)
            await psql.fetchval("SELECT id FROM sagas FOR UPDATE")
            path = f"/v1/sagas/{saga.id}/compensate"
            undoing = asyncio.ensure_future(client.post(path, json=WHY))

            async def is_told() -> bool:
                answer = await client.get("/v1/sagas")
                if answer.status_code == 200:
                    return False
                assert problem(answer)[:2] == (503, "unavailable")
                assert int(answer.headers["Retry-After"]) >= 1
                return True

            await eventually(is_told)
            monkeypatch.undo()
        await psql.close()
        assert (await undoing).status_code == 200
        assert (await client.get("/v1/sagas")).status_code == 200


async def _is_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 200
