"""Servers that are gone for a minute: no storm, and the service goes on by itself."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator import Manager
from tests.support.books import Books
from tests.support.proxy import TcpProxy
from tests.support.reckoning import all_complete_once, start_many
from tests.support.waiting import eventually, until_well

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.postgres import PostgresServer
    from tests.support.rabbitmq import RabbitServer

pytestmark = pytest.mark.slow

MINUTE = 60.0
# Four loops of backoff and one that keeps claims, at two connections a try. Each
# loop that asks as often as it likes would make more than this alone.
TRIES_MAX = 300


@dataclass
class Site:
    """An engine at work, and the wires that are to be cut.

    Attributes:
        manager: the engine.
        books: its handlers' account.
        store: the wire to PostgreSQL.
        broker: the wire to RabbitMQ.
        gate: what its handlers of step ``b`` wait for.
    """

    manager: Manager
    books: Books
    store: TcpProxy
    broker: TcpProxy
    gate: asyncio.Event


@contextlib.asynccontextmanager
async def _site(
    postgres: PostgresServer, rabbit: RabbitServer, file: Path
) -> AsyncIterator[Site]:
    books, gate = Books(file), asyncio.Event()

    async def hold(ctx) -> None:
        if ctx.step == "b":
            await gate.wait()

    books.gate = hold
    url = await asyncio.to_thread(postgres.create_database)
    vhost = await asyncio.to_thread(rabbit.create_vhost)
    async with (
        TcpProxy(postgres.port) as store,
        TcpProxy(rabbit.port) as broker,
        Manager.open(
            store=store.through(url),
            migrate=True,
            broker=broker.through(vhost),
            handlers=[books.handlers],
        ) as manager,
    ):
        yield Site(manager, books, store, broker, gate)
    await asyncio.to_thread(postgres.drop_database, url)
    books.close()


async def _minute_without(site: Site, *wires: TcpProxy) -> None:
    """Cut the wires while answers are under way, and mend them a minute later."""
    manager = site.manager
    sagas = await start_many(manager, map(str, range(6)))
    await eventually(lambda: len(site.books.runs("b")) == 6)
    for wire in wires:
        wire.refuse(on=True)
        wire.cut()
    site.gate.set()
    await asyncio.sleep(MINUTE)
    problems = manager.problems()
    assert any(one.startswith("store: ") for one in problems)
    assert (len(problems) > 1) == (len(wires) > 1)
    assert site.books.runs("c") == []
    for wire in wires:
        assert 10 <= wire.turned_away <= TRIES_MAX
        wire.refuse(on=False)
    await all_complete_once(manager, site.books, sagas)
    await until_well(manager)


@pytest.mark.timeout(300)  # of which it waits for a minute
async def test_a_minute_without_servers(
    postgres_server: PostgresServer, rabbit_server: RabbitServer, tmp_path: Path
) -> None:
    """One engine misses PostgreSQL, another both: each stays up, and catches up."""
    async with (
        _site(postgres_server, rabbit_server, tmp_path / "one.db") as one,
        _site(postgres_server, rabbit_server, tmp_path / "both.db") as both,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(_minute_without(one, one.store))
        group.create_task(_minute_without(both, both.store, both.broker))
