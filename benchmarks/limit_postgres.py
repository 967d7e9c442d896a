"""What the database allows: durable commits of one row; runs in the peers' environment.

``python limit_postgres.py DATABASE_URL SECONDS`` prints a line of JSON. Connections
commit one updated row each, over and over, as pgbench does; with several of them the
server flushes many commits at once. The best number of connections counts.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import asyncpg
import uvloop

CONNECTIONS = (1, 8, 32)


async def commits(connection: asyncpg.Connection, row: int, until: float) -> int:
    """Commit until an instant; return how often."""
    count = 0
    while time.monotonic() < until:
        await connection.execute("UPDATE bench SET n = n + 1 WHERE id = $1", row)
        count += 1
    return count


async def rate(url: str, connections: int, seconds: float) -> float:
    """Return commits a second of so many connections."""
    opened = [await asyncpg.connect(url) for _ in range(connections)]
    begun = time.monotonic()
    until = begun + seconds
    counts = await asyncio.gather(
        *(commits(one, row, until) for row, one in enumerate(opened))
    )
    passed = time.monotonic() - begun
    for one in opened:
        await one.close()
    return sum(counts) / passed


async def measure(url: str, seconds: float) -> dict[str, float]:
    """Make the rows, and measure with each number of connections."""
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE bench (id int PRIMARY KEY, n int NOT NULL)")
    await connection.execute(
        "INSERT INTO bench SELECT id, 0 FROM generate_series(0, $1::int) AS id",
        max(CONNECTIONS),
    )
    await connection.close()
    rates = [await rate(url, count, seconds) for count in CONNECTIONS]
    return {"per_second": round(max(rates), 1), "one_connection": round(rates[0], 1)}


if __name__ == "__main__":
    found = uvloop.run(measure(sys.argv[1], float(sys.argv[2])))
    sys.stdout.write(json.dumps(found) + "\n")
