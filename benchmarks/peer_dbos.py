"""A durable workflow of three steps in DBOS; runs in the peers' own environment.

``python peer_dbos.py DATABASE_URL COUNT`` prints a line of JSON. Each workflow and each
step is a row in PostgreSQL: that is what makes it durable. Its functions are plain
ones: with coroutines it was slower, measured side by side.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from dbos import DBOS

IN_FLIGHT = 32
SINGLES = 100


@DBOS.step()
def do() -> None:
    """Do nothing."""


@DBOS.workflow()
def order() -> None:
    """Take three steps."""
    do()
    do()
    do()


def run_many(count: int) -> float:
    """Return workflows a second, from the first start to the last end."""

    def run(_: int) -> None:
        DBOS.start_workflow(order).get_result()

    begun = time.monotonic()
    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        list(threads.map(run, range(count)))
    return count / (time.monotonic() - begun)


def run_singles(count: int) -> list[float]:
    """Return how long each of some workflows took, one after the other, in ms."""
    times = []
    for _ in range(count):
        begun = time.monotonic()
        order()
        times.append((time.monotonic() - begun) * 1000)
    return sorted(times)


def main() -> None:
    """Launch DBOS on the database, warm up, and measure."""
    url, count = sys.argv[1], int(sys.argv[2])
    DBOS(
        config={
            "name": "bench",
            "system_database_url": url,
            "log_level": "ERROR",
            "run_admin_server": False,
        }
    )
    DBOS.launch()
    run_many(2 * IN_FLIGHT)
    singles = run_singles(SINGLES)
    found = {
        "per_second": round(run_many(count), 1),
        "p50_ms": round(singles[len(singles) // 2], 2),
        "p99_ms": round(singles[int(len(singles) * 0.99)], 2),
    }
    DBOS.destroy()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
