"""The servers for tests keep their promises."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aio_pika
import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer
    from tests.support.rabbitmq import RabbitServer


async def test_a_database_is_fresh(postgres_url: str) -> None:
    """Each test gets a database without tables."""
    connection = await asyncpg.connect(postgres_url)
    try:
        tables = await connection.fetchval(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        )
    finally:
        await connection.close()
    assert tables == 0


async def test_postgres_keeps_data_over_a_kill(
    killable_postgres: PostgresServer,
) -> None:
    """A killed server comes back on the same port with what was committed."""
    url = killable_postgres.create_database()
    name = url.rpartition("/")[2]
    killable_postgres.execute("CREATE TABLE kept (n int)", name)
    await asyncio.to_thread(killable_postgres.kill)
    with pytest.raises(OSError, match=r"onnect"):
        await asyncpg.connect(url)
    await asyncio.to_thread(killable_postgres.start)
    assert killable_postgres.execute("SELECT count(*) FROM kept", name) == "0"


async def test_a_consumer_with_a_channel_is_no_ghost(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """Chaos takes only those for the broker's own that are nobody's."""
    async with await aio_pika.connect(rabbit_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("q")
        async with queue.iterator(consumer_tag="ours"):
            assert rabbit_server.queues(rabbit_url, "consumers")[0]["consumers"] == 1
            assert rabbit_server.ghosts(rabbit_url) == set()


async def test_a_vhost_is_fresh(rabbit_server: RabbitServer, rabbit_url: str) -> None:
    """Each test gets a vhost without queues."""
    async with await aio_pika.connect(rabbit_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("q")
        await channel.close()
    assert rabbit_server.queues(rabbit_server.create_vhost()) == []
