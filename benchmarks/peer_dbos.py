"""A durable workflow of three steps in DBOS; runs in the peers' own environment.

``python peer_dbos.py DATABASE_URL COUNT PROCESSES`` prints a line of JSON; so many
processes share the workflows. Each workflow and each step is a row in PostgreSQL: that
is what makes it durable. Its functions are plain ones: with coroutines it was slower,
measured side by side.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dbos import DBOS

IN_FLIGHT = 32
SINGLES = 100
SERVE = "serve"


@DBOS.step()
def do() -> None:
    """Do nothing."""


@DBOS.workflow()
def order() -> None:
    """Take three steps."""
    do()
    do()
    do()


def run_many(count: int) -> int:
    """Run workflows; return how many."""

    def run(_: int) -> None:
        DBOS.start_workflow(order).get_result()

    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        return len(list(threads.map(run, range(count))))


def run_singles(count: int) -> list[float]:
    """Return how long each of some workflows took, one after the other, in ms."""
    times = []
    for _ in range(count):
        begun = time.monotonic()
        order()
        times.append((time.monotonic() - begun) * 1000)
    return sorted(times)


def launch(url: str, name: str) -> None:
    """Launch DBOS on the database, and warm it up."""
    DBOS(
        config={
            "name": "bench",
            "system_database_url": url,
            "executor_id": name,  # else each would recover what the others have begun
            "log_level": "ERROR",
            "run_admin_server": False,
        }
    )
    DBOS.launch()
    run_many(2 * IN_FLIGHT)


def serve() -> None:
    """Be one of the processes: do what each line says, answer with a line of JSON."""
    launch(*sys.argv[2:])
    sys.stdout.write(json.dumps("ready") + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        what, count = json.loads(line)
        found = run_singles(count) if what == "singles" else run_many(count)
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
    DBOS.destroy()


class Process:
    """One of the processes, as the parent sees it."""

    def __init__(self, url: str, name: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, SERVE, url, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, what: str, count: int) -> None:
        """Order something."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([what, count]) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:  # noqa: ANN401 - JSON
        """Return its next answer."""
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


def main() -> None:
    """Start the processes, and measure: one workflow at a time, then many in all."""
    url, count, processes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    # The first one makes the tables.
    started: list[Process] = []
    for number in range(processes):
        started.append(Process(url, f"process-{number}"))
        started[-1].hear()
    started[0].ask("singles", SINGLES)
    singles = started[0].hear()
    begun = time.monotonic()
    for one in started:
        one.ask("many", count // processes)
    for one in started:
        one.hear()
    seconds = time.monotonic() - begun
    for one in started:
        one.end()
    found = {
        "per_second": round(count // processes * processes / seconds, 1),
        "p50_ms": round(singles[len(singles) // 2], 2),
        "p99_ms": round(singles[int(len(singles) * 0.99)], 2),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    serve() if sys.argv[1] == SERVE else main()
