"""How an orchestrator's memory grows: with sagas that are live, and with time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.saga_bench import note
from benchmarks.served import Served
from benchmarks.servers import Servers

PATIENCE_SECONDS = 1800.0
WINDOWS = 6
"""Of a constant load: points of its curve, each with its range."""

EVERY_SECONDS = 0.25
"""As often as an engine looks for starts in SQL."""

LOOK_SECONDS = 1.0
KEPT = "30s"
"""How long ended sagas are kept, so that the store stays as large as it is."""

Point = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Look:
    """What was seen, so many seconds after the beginning."""

    after: float
    memory_mib: float
    store_mib: float


def live_sagas(servers: Servers, counts: Sequence[int]) -> list[Point]:
    """Return an orchestrator's memory with so many sagas that wait for somebody."""
    points = []
    with Served.open(servers, "--log-format", "json") as served:
        before = 0
        for count in counts:
            note(f"{count} live sagas …")
            begun = time.monotonic()
            served.start("waiting", count - before)
            before = count
            accepted = "saga_history WHERE kind = 'step_accepted'"
            served.wait_for(accepted, count, PATIENCE_SECONDS)
            points.append(
                {
                    "at": count,
                    "memory_mib": round(served.memory_mib(), 1),
                    "seconds": round(time.monotonic() - begun, 1),
                }
            )
    return points


def constant_load(servers: Servers, minutes: float, rate: int) -> list[Point]:
    """Start so many sagas a second for so long; return the memory in parts of the time.

    Ended ones are deleted soon, as `retention` says: what still grows has no end.
    """
    note(f"{rate} sagas a second for {minutes:g} minutes …")
    looks: list[_Look] = []
    options = ("--log-format", "json", "--retention", KEPT)
    with Served.open(servers, *options) as served:
        begun = time.monotonic()
        started, looked = 0, -LOOK_SECONDS
        while (passed := time.monotonic() - begun) < minutes * 60:
            due = int(passed * rate) - started
            served.start("quick", due)
            started += due
            if passed - looked >= LOOK_SECONDS:
                looked = passed
                looks.append(_Look(passed, served.memory_mib(), served.store_mib()))
            time.sleep(EVERY_SECONDS)
        served.wait_for("sagas WHERE ended_at IS NULL", 0, PATIENCE_SECONDS)
    return list(_parts(looks, minutes, rate))


def _parts(looks: Sequence[_Look], minutes: float, rate: int) -> Iterator[Point]:
    """Yield each part of the time: medians, and between what the memory was.

    One in which nobody got to look is left out.
    """
    length = minutes * 60 / WINDOWS
    for number in range(WINDOWS):
        inside = [look for look in looks if look.after // length == number]
        if not inside:
            continue
        memory = [look.memory_mib for look in inside]
        yield {
            "at": round((number + 0.5) * length / 60, 2),
            "rate": rate,
            "memory_mib": round(statistics.median(memory), 1),
            "memory_mib_range": [round(min(memory), 1), round(max(memory), 1)],
            "store_mib": round(statistics.median(look.store_mib for look in inside), 1),
        }
