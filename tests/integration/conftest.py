"""Fixtures for tests on real servers, some of which break at a chosen message."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from saga_orchestrator import Manager, Store
from saga_orchestrator.runtime import engine, publisher, relay
from tests.support.books import Books
from tests.support.wires import Wires
from tests.support.wiretap import AmqpTap, PostgresTap

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.support.postgres import PostgresServer
    from tests.support.rabbitmq import RabbitServer

    OpenStore = Callable[..., Awaitable[Store]]


@pytest.fixture
async def wires(
    postgres_server: PostgresServer,
    rabbit_server: RabbitServer,
    postgres_url: str,
    rabbit_url: str,
) -> AsyncIterator[Wires]:
    """Wires to a fresh database and a fresh virtual host."""
    async with (
        PostgresTap(postgres_server.port) as store,
        AmqpTap(rabbit_server.port) as broker,
    ):
        yield Wires(store, broker, {"store": postgres_url, "broker": rabbit_url})


@pytest.fixture
async def client(postgres_url: str) -> AsyncIterator[Manager]:
    """A program that starts sagas on the test's database and runs no engine."""
    async with Manager.open(store=postgres_url, migrate=True) as manager:
        yield manager


@pytest.fixture
async def open_store(postgres_url: str) -> AsyncIterator[OpenStore]:
    """Open handles on one database, as so many processes; with parameters."""
    handles: list[Store] = []

    async def open_one(parameters: str = "") -> Store:
        store = await Store.open(f"{postgres_url}{parameters}", migrate=True)
        handles.append(store)
        return store

    yield open_one
    for store in handles:
        await store.close()


@pytest.fixture
async def psql(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the test's database beside the stores'."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """The account that every process of the test writes to."""
    kept = Books(tmp_path / "books.db")
    yield kept
    kept.close()


@pytest.fixture
def short_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a command belong to its writer for a second; a test's time is short."""
    for module in (engine, publisher, relay):
        monkeypatch.setattr(module, "LEASE", dt.timedelta(seconds=1))
