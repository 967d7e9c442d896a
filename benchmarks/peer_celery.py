"""A chain of three tasks in Celery; runs in the peers' own environment.

``python peer_celery.py BROKER_URL DATABASE_URL COUNT CONCURRENCY`` prints a line of
JSON; it starts the worker itself, with so many child processes. Results are kept in
PostgreSQL, tasks are acknowledged when they are done, messages are persistent; a
publish is not confirmed, as is its default and in its favour. It keeps no state of the
chain, and undoes nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sqlalchemy
from celery import Celery, chain
from celery.result import AsyncResult

WARM_UP = 100
SENDERS = 4
SINGLES = 100
POLL_SECONDS = 0.05
SINGLE_POLL_SECONDS = 0.0005
BROKER, RESULTS = "BENCH_BROKER", "BENCH_RESULTS"

app = Celery("peer_celery")
app.conf.update(
    broker_url=os.environ.get(BROKER),
    result_backend=f"db+{os.environ.get(RESULTS)}",
    task_acks_late=True,
    worker_prefetch_multiplier=16,
    database_short_lived_sessions=False,
)


@app.task(name="do", ignore_result=False)
def do() -> None:
    """Do nothing."""


def order() -> AsyncResult:
    """Start a chain; return its last result."""
    return chain(do.si(), do.si(), do.si()).apply_async()


class Results:
    """The table of results, asked for many at once: cheaper than one by one."""

    def __init__(self, url: str) -> None:
        self._engine = sqlalchemy.create_engine(url)

    def count(self) -> int:
        """Return how many tasks have succeeded; 0 before there is a table."""
        with (
            contextlib.suppress(sqlalchemy.exc.ProgrammingError),
            self._engine.connect() as connection,
        ):
            query = "SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS'"
            return int(connection.execute(sqlalchemy.text(query)).scalar_one())
        return 0

    def wait_for(self, task: str) -> None:
        """Return when one task has succeeded; Celery's own way connects each time."""
        query = sqlalchemy.text(
            "SELECT 1 FROM celery_taskmeta WHERE task_id = :task AND status = 'SUCCESS'"
        )
        engine = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            while connection.execute(query, {"task": task}).first() is None:
                time.sleep(SINGLE_POLL_SECONDS)

    def wait(self, count: int) -> None:
        """Return when so many tasks have succeeded."""
        while self.count() < count:
            time.sleep(POLL_SECONDS)


def run_many(results: Results, count: int) -> float:
    """Return chains a second, from the first start to the last end."""
    done = results.count()
    begun = time.monotonic()
    with ThreadPoolExecutor(SENDERS) as threads:
        list(threads.map(lambda _: order(), range(count)))
    results.wait(done + 3 * count)
    return count / (time.monotonic() - begun)


def run_singles(results: Results, count: int) -> list[float]:
    """Return how long each of some chains took, one after the other, in ms."""
    times = []
    for _ in range(count):
        begun = time.monotonic()
        results.wait_for(order().id)
        times.append((time.monotonic() - begun) * 1000)
    return sorted(times)


@contextlib.contextmanager
def worker(concurrency: str) -> Iterator[None]:
    """Run a worker with so many processes; its own default is one for each core."""
    command = ["-m", "celery", "-A", "peer_celery", "worker", "--loglevel", "ERROR"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    running = subprocess.Popen(
        [sys.executable, *command, *quiet, "--concurrency", concurrency],
        cwd=Path(__file__).parent,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        running.terminate()
        running.wait(60)


def main() -> None:
    """Start a worker, warm up, and measure."""
    broker, database, count, concurrency = sys.argv[1:]
    url = database.replace("postgresql://", "postgresql+psycopg2://")
    os.environ.update({BROKER: broker, RESULTS: url})
    app.conf.update(broker_url=broker, result_backend=f"db+{url}")
    results = Results(url)
    with worker(concurrency):
        run_many(results, WARM_UP)
        singles = run_singles(results, SINGLES)
        found = {
            "per_second": round(run_many(results, int(count)), 1),
            "p50_ms": round(singles[len(singles) // 2], 2),
            "p99_ms": round(singles[int(len(singles) * 0.99)], 2),
        }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
