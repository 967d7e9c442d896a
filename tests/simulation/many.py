"""Many seeds, in all processors, and what they came to together."""

from __future__ import annotations

import gc
import logging
import os
import signal
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import structlog

from tests.simulation.verdict import problems_of
from tests.simulation.weather import FAULTS
from tests.simulation.world import simulate
from tests.support.postgres import PostgresServer

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

BLOCK = 20
SEED_SECONDS = 120
"""A seed that takes longer hangs."""
FIRED_IN = 0.01
"""In which share of the seeds every fault has to fire."""
ASSERTED_FROM = 1000

_stores: list[str] = []


class SeedHangs(SystemExit):
    """A seed takes too long; the one kind that an event loop lets through."""


@dataclass
class Tally:
    """What some seeds came to."""

    seeds: int = 0
    sagas: int = 0
    steps: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    fired_in: Counter[str] = field(default_factory=Counter)
    told_in: Counter[str] = field(default_factory=Counter)
    failed: dict[int, list[str]] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Take in what other seeds came to."""
        self.seeds += other.seeds
        self.sagas += other.sagas
        self.steps += other.steps
        self.fired.update(other.fired)
        self.fired_in.update(other.fired_in)
        self.told_in.update(other.told_in)
        self.failed.update(other.failed)

    def rare(self) -> list[str]:
        """Name the faults that fired in too few seeds to prove anything."""
        if self.seeds < ASSERTED_FROM:
            return []
        least = self.seeds * FIRED_IN
        return [kind for kind in FAULTS if self.fired_in[kind] < least]

    def summary(self, store: str, seconds: float) -> dict[str, Any]:
        """Return the JSON object of the last line."""
        return {
            "store": store,
            "seeds": self.seeds,
            "sagas": self.sagas,
            "steps": self.steps,
            "violations": len(self.failed),
            "failed_seeds": sorted(self.failed),
            "faults": {
                kind: {"fired": self.fired[kind], "seeds": self.fired_in[kind]}
                for kind in FAULTS
            },
            "history": dict(sorted(self.told_in.items())),
            "too_rare": self.rare(),
            "seconds": round(seconds, 1),
        }


def play_many(seeds: range, store: str) -> Iterator[Tally]:
    """Play seeds, block by block; PostgreSQL gets a server of its own.

    Args:
        seeds: which.
        store: ``memory``, ``sqlite`` or ``postgresql``.
    """
    blocks = [seeds[start : start + BLOCK] for start in range(0, len(seeds), BLOCK)]
    processes = min(os.cpu_count() or 1, len(blocks))
    with ExitStack() as opened:
        stores: Queue[str] = get_context("spawn").Queue()
        server = None
        if store == "postgresql":
            server = PostgresServer()
            opened.callback(server.close)
            server.start()
        for _ in range(processes):
            stores.put(store if server is None else server.create_database())
        pool = ProcessPoolExecutor(
            processes,
            mp_context=get_context("spawn"),
            initializer=_begin,
            initargs=(stores,),
        )
        yield from opened.enter_context(pool).map(_play_block, blocks)


def _begin(stores: Queue[str]) -> None:
    """Prepare a process: its store, and no log lines, for faults are the point."""
    _stores.append(stores.get())
    # What a seed leaves is collected after its block: a tenth of the time is saved.
    gc.disable()
    gc.freeze()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        cache_logger_on_first_use=True,
    )


def _play_block(seeds: range) -> Tally:
    tally = Tally()
    for seed in seeds:
        tally.seeds += 1
        try:
            signal.signal(signal.SIGALRM, _hangs)
            # Again and again: what is raised in a handler, it may take for its own.
            signal.setitimer(signal.ITIMER_REAL, SEED_SECONDS, 1)
            run = simulate(seed, store=_stores[-1])
            problems = problems_of(run)
        except (Exception, SeedHangs):  # noqa: BLE001 - told with its seed
            tally.failed[seed] = [traceback.format_exc(limit=-6)]
            continue
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if problems:
            tally.failed[seed] = problems
        tally.sagas += len(run.records)
        tally.steps += run.steps
        tally.fired.update(run.fired)
        tally.fired_in.update(+Counter(dict.fromkeys(+run.fired, 1)))
        tally.told_in.update(dict.fromkeys(map(str, +run.kinds), 1))
    gc.collect()
    return tally


def _hangs(number: int, frame: object) -> None:
    raise SeedHangs(f"it took over {SEED_SECONDS} s")
