"""What `make bench-growth` relies on: a database full of ended sagas, and a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.memory import WINDOWS, constant_load, live_sagas
from benchmarks.servers import Servers
from benchmarks.stored import fill
from saga_orchestrator.ports.store import Store

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer
    from tests.support.rabbitmq import RabbitServer

pytestmark = pytest.mark.slow


async def test_stored_sagas_are_whole(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """Each can be read, with its history, and none of them is awaited any more."""
    fill(postgres_server, postgres_url, 0, 20)
    fill(postgres_server, postgres_url, 20, 50)
    store = await Store.open(postgres_url, migrate=False)
    try:
        for number in (0, 20, 49):
            record = await store.record(f"{number:026}")
            assert record is not None
            assert record.saga.is_completed
            assert len(record.history) == 4
            assert not record.damage
        assert await store.list_active() == []
        assert await store.record(f"{50:026}") is None
    finally:
        await store.close()


def test_an_orchestrators_memory_is_measured(
    postgres_server: PostgresServer, rabbit_server: RabbitServer
) -> None:
    """With sagas that stay live, and in each part of a time with a constant load."""
    servers = Servers(postgres_server, rabbit_server)
    points = [
        *live_sagas(servers, (2, 5)),
        *constant_load(servers, minutes=0.15, rate=10),
    ]
    assert [point["at"] for point in points[:2]] == [2, 5]
    assert 2 < len(points) <= 2 + WINDOWS
    assert all(20 < point["memory_mib"] < 400 for point in points)
