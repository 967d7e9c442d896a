"""PostgreSQL only: what runs all the time costs the same beside many ended sagas."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from saga_orchestrator.ports.store import Store
from saga_stores.postgres.address import Address
from saga_stores.postgres.database import SQL, Database
from tests.conformance.builders import SECOND, begin, complete, new_id

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

ENDED = 200_000
KEPT = f"{0:026}"

HOT: dict[str, list[Any]] = {
    "due": [None, 256, []],
    "next_due": [[]],
    "claim": [None, 256, SECOND],
    "lock": [[KEPT], ["order"], ["key-7"]],
    "snapshots": [[KEPT]],
    "find_active": [
        *(["started", "compensating", "failed"], None, None, None, 100),
        *(dt.datetime(2020, 1, 1, tzinfo=dt.UTC), None, None, None, "card"),
    ],
    "take_starts": [None, ["order"], 16],
    "open_residuals": [100, "", 0],
    "requests": [[KEPT], ["retry_requested"]],
}
# What people look for may wait for the statistics of a new database.
FOR_PEOPLE: dict[str, list[Any]] = {
    "find_key": [None, None, "key-7", None, 100, *[None] * 5]
}


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


async def _pages(
    connection: asyncpg.Connection, queries: dict[str, list[Any]]
) -> dict[str, int]:
    """Return how many pages each statement looks at."""
    return {name: await _pages_of(connection, name, queries[name]) for name in queries}


async def _pages_of(
    connection: asyncpg.Connection, query: str, arguments: list[Any]
) -> int:
    """Run a statement; return how many pages it looked at, each in an index first."""
    explain = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)"
    async with connection.transaction():
        text = await connection.fetchval(f"{explain} {SQL[query]}", *arguments)
    (told,) = json.loads(text)
    kinds = {node["Node Type"] for node in _nodes(told["Plan"])}
    assert "Seq Scan" not in kinds, query
    read: int = told["Plan"]["Shared Hit Blocks"] + told["Plan"]["Shared Read Blocks"]
    return read


async def _copy(connection: asyncpg.Connection, saga_id: str) -> None:
    """Make very many ended sagas out of one."""
    rows = await connection.fetch(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_name = 'sagas' ORDER BY ordinal_position"
    )
    names = [row[0] for row in rows]
    made = {"id": "lpad(n::text, 26, '0')", "key": "'key-' || n"}
    values = ", ".join(made.get(name, name) for name in names)
    await connection.execute(
        f"INSERT INTO sagas ({', '.join(names)}) SELECT {values}"
        f" FROM sagas, generate_series(1, {ENDED}) AS n WHERE id = '{saga_id}'"
    )
    # And as many starts whose definition no engine knows.
    await connection.execute(
        "INSERT INTO saga_starts (id, name, context, created_at)"
        f" SELECT lpad(n::text, 26, '0'), 'nobody', '{{}}', now()"
        f" FROM generate_series(1, {ENDED}) AS n"
    )


@pytest.mark.parametrize("statistics", ["without statistics", "with statistics"])
async def test_ended_sagas_cost_nothing(postgres_url: str, statistics: str) -> None:
    """Pages that are read do not grow with their number, but for an index's height."""
    store = await Store.open(postgres_url, migrate=True)
    await begin(store, saga_id=KEPT)
    ended = await complete(store, await begin(store, saga_id=f"9{new_id()[1:]}"))
    assert ended.is_completed
    database = await Database.open(Address.parse(postgres_url), on_connect=lambda: None)
    queries = HOT | FOR_PEOPLE if statistics == "with statistics" else HOT
    async with database.connection() as connection:
        before = await _pages(connection, queries)
        await _copy(connection, ended.id)
        if statistics == "with statistics":
            await connection.execute("ANALYZE")
        for _ in range(2):  # the first one finds the pages new
            after = await _pages(connection, queries)
        count = await connection.fetchval("SELECT count(*) FROM sagas")
    assert count == ENDED + 2
    grown = {query: after[query] - before[query] for query in queries}
    assert max(grown.values()) <= 12, (before, after)
    await database.close()
    await store.close()
