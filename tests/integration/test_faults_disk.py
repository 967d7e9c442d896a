"""A disk that is really full: rows F52 and F58 of the faults."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from saga_orchestrator import Manager
from tests.support.reckoning import all_complete_once, start_many
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.waiting import eventually, until_well

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.books import Books
    from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.slow


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    """Room for a database, and for little else."""
    with small_disk(24) as mounted:
        yield mounted


async def _fill_up_and_free(books: Books, disk: SmallDisk, **parts: Any) -> None:
    """Let an engine meet a full disk at work, and find room again."""
    async with Manager.open(
        **parts, migrate=True, handlers=[books.handlers]
    ) as manager:
        sagas = await start_many(manager, map(str, range(5)))
        disk.fill()
        starting = asyncio.ensure_future(
            start_many(manager, (f"{n:0>150}" for n in range(100)))
        )
        await eventually(lambda: any("store: " in one for one in manager.problems()))
        assert any("full" in one or "space" in one for one in manager.problems())
        disk.free()
        await all_complete_once(manager, books, [*sagas, *await starting])
        await until_well(manager)


async def test_postgresql_on_a_full_disk(
    postgres_server: PostgresServer, rabbit_url: str, books: Books, disk: SmallDisk
) -> None:
    """The engine waits for room and says so; nothing is lost, nothing done twice."""
    run = postgres_server.execute
    run(f"CREATE TABLESPACE small LOCATION '{disk.folder}'")
    run("CREATE DATABASE small TABLESPACE small")
    url = postgres_server.url("small")
    try:
        await _fill_up_and_free(books, disk, store=url, broker=rabbit_url)
    finally:
        postgres_server.drop_database(url)
        run("DROP TABLESPACE small")


async def test_sqlite_on_a_full_disk(books: Books, disk: SmallDisk) -> None:
    """The same, and the file is sound."""
    file = disk.folder / "saga.db"
    await _fill_up_and_free(books, disk, store=f"sqlite:///{file}")
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
