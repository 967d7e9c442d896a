"""`make bench-peers`: DBOS and Celery on the same servers, in the same invocation.

Absolute figures do not carry to another machine; the ratios of one invocation do. So
everything runs in turn, three times over, and each figure is a median.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.saga_bench import (
    ORCHESTRATORS,
    PROCESSES,
    WORKERS,
    note,
    saga_bench,
)
from benchmarks.servers import Servers
from saga_orchestrator.bench.report import machine

FOLDER = Path(__file__).parent
PYTHON = FOLDER.parent / ".venv-peers" / "bin" / "python"
ROUNDS = 3
LIMIT_SECONDS = 600

AT_ONCE = ("--in-flight", "1000")
"""Sagas under way on servers: the more there are, the more share a commit. Celery has
all of its chains under way."""

COUNTERPARTS = {"dbos": "ours_inprocess", "celery": "ours_remote"}
"""DBOS runs steps in the process that starts them, Celery tasks in a worker's."""

RUN_IN = {
    "ours_inprocess": PROCESSES,
    "ours_remote": 2 * PROCESSES,  # orchestrators, and workers
    "ours_embedded": 1,
    "dbos": PROCESSES,
    "celery": PROCESSES + 2,  # a worker's children, their parent, and who sends
}
"""Processes of Python, each with an interpreter of its own."""

Measured = dict[str, float]


def peer(script: str, *arguments: str) -> Measured:
    """Run one of the scripts in the peers' environment; return its JSON.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run(
        [PYTHON, FOLDER / script, *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{script}: exit code {done.returncode}: {done.stderr}")
    found: Measured = json.loads(done.stdout.splitlines()[-1])
    return found


def ours(
    sagas: tuple[str, str], options: Sequence[str] = (), more: Sequence[str] = ()
) -> Measured:
    """Measure our throughput, and our latency one saga at a time.

    Args:
        sagas: how many for either.
        options: of both runs.
        more: of the first: one saga at a time needs one process of a kind.
    """
    many, singles = sagas
    once = ("--repeat", "1", *options)
    loaded = saga_bench("--sagas", many, *once, *more)
    single = saga_bench("--one-at-a-time", "--sagas", singles, *once)
    return {
        "per_second": loaded["sagas_per_second"],
        "p50_ms": single["p50_ms"],
        "p99_ms": single["p99_ms"],
    }


def contestants(servers: Servers, scale: float) -> dict[str, Callable[[], Measured]]:
    """Return what is measured, by name.

    Args:
        servers: those that all use; each run gets a fresh database and vhost.
        scale: of the sizes; 1: as published.
    """
    database = servers.postgres.create_database
    vhost = servers.rabbit.create_vhost
    sagas = str(int(8000 * scale)), str(int(300 * scale))
    few, messages = str(int(600 * scale)), str(int(50_000 * scale))
    seconds = str(3 * scale)
    return {
        "ours_inprocess": lambda: ours(
            sagas, servers.options(), [*ORCHESTRATORS, *AT_ONCE]
        ),
        "ours_remote": lambda: ours(
            sagas,
            [*servers.options(), "--workers", "1"],
            [*ORCHESTRATORS, *AT_ONCE, *WORKERS],
        ),
        "ours_embedded": lambda: ours(sagas),
        "dbos": lambda: peer("peer_dbos.py", database(), few, str(PROCESSES)),
        "celery": lambda: peer(
            "peer_celery.py", vhost(), database(), few, str(PROCESSES)
        ),
        "limit_postgres": lambda: peer("limit_postgres.py", database(), seconds),
        "limit_rabbitmq": lambda: peer("limit_rabbitmq.py", vhost(), messages),
    }


def measure(rounds: int = ROUNDS, scale: float = 1) -> dict[str, Any]:
    """Measure everything, in turn, so often; return the medians and the ratios."""
    found: dict[str, list[Measured]] = {}
    with Servers.open() as servers:
        for number in range(1, rounds + 1):
            for name, run in contestants(servers, scale).items():
                note(f"round {number} of {rounds}: {name} …")
                found.setdefault(name, []).append(run())
    result: dict[str, Any] = {
        name: statistics.median(one["per_second"] for one in runs)
        for name, runs in found.items()
    }
    for peer_name, counterpart in COUNTERPARTS.items():
        result[f"ratio_{peer_name}"] = round(result[counterpart] / result[peer_name], 2)
    for name, runs in found.items():
        for field in ("p50_ms", "p99_ms"):
            if field in runs[0]:
                median = statistics.median(one[field] for one in runs)
                result[f"{name}_{field}"] = median
    return result | {"processes": RUN_IN, "machine": machine()}


def main() -> None:
    """Print a table, and as the last line one JSON object."""
    result = measure()
    for name, value in result.items():
        if isinstance(value, float):
            processes = f"  in {RUN_IN[name]}" if name in RUN_IN else ""
            sys.stdout.write(f"{name:24}{value:12,.1f}{processes}\n")
    sys.stdout.write(json.dumps(result) + "\n")
