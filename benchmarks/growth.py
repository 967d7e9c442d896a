"""`make bench-growth`: how cost grows with what is stored, long, wide, big or many.

And how memory does: with sagas that are live, and with time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.memory import constant_load, live_sagas
from benchmarks.plot import Curve, draw
from benchmarks.saga_bench import note, saga_bench
from benchmarks.servers import Servers
from benchmarks.stored import fill
from saga_orchestrator.bench.report import machine

FOLDER = Path(__file__).parent.parent / "build" / "bench"

STEPS_WINDOW = ("--in-flight", "50")

Point = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How far each curve goes, and how many sagas make a point.

    Attributes:
        stored: ended sagas that are in the database before.
        steps: of a saga.
        fan_out: steps at once, of a few sagas; a point by itself.
        payloads: bytes of context.
        replicas: orchestrators.
        sagas: of three steps, in each run; those of more are fewer.
        repeat: runs.
        live: sagas that wait for somebody, in one orchestrator.
        rate: sagas a second of a constant load.
        minutes: how long that lasts.
    """

    stored: Sequence[int] = (1000, 10_000, 100_000, 1_000_000)
    steps: Sequence[int] = (3, 10, 30, 100)
    fan_out: int = 1000
    payloads: Sequence[int] = (100, 1024, 10_240, 102_400)
    replicas: Sequence[int] = (1, 2, 3, 4)
    sagas: int = 2000
    repeat: int = 3
    live: Sequence[int] = (100, 1000, 10_000, 100_000)
    rate: int = 200
    minutes: float = 10.0


QUICK = Sizes(
    stored=(100, 1000),
    steps=(3, 6),
    fan_out=20,
    payloads=(100, 1024),
    replicas=(1, 2),
    sagas=60,
    repeat=1,
    live=(10, 100),
    rate=20,
    minutes=0.2,
)


class Growth:
    """The curves, measured on servers of their own.

    Args:
        servers: where.
        sizes: how far.
    """

    def __init__(self, servers: Servers, sizes: Sizes) -> None:
        self._servers = servers
        self._sizes = sizes

    def measure(self) -> Iterator[tuple[str, list[Point]]]:
        """Yield each curve's points: its place as ``at``, and all figures."""
        sizes = self._sizes
        yield "stored", self._stored()
        yield "steps", self._curve(sizes.steps, self._steps)
        yield "fan_out", self._curve([sizes.fan_out], self._fan_out)
        yield "payload", self._curve(sizes.payloads, self._payload)
        yield "replicas", self._curve(sizes.replicas, self._replicas)
        yield "live", live_sagas(self._servers, sizes.live)
        yield "constant", constant_load(self._servers, sizes.minutes, sizes.rate)

    def _curve(
        self, places: Sequence[int], options: Callable[[int], list[str]]
    ) -> list[Point]:
        return [self._point(place, options(place)) for place in places]

    def _stored(self) -> list[Point]:
        """Fill one database further and further, and measure in between."""
        postgres = self._servers.postgres
        store = postgres.create_database()
        points, before = [], 0
        for count in self._sizes.stored:
            fill(postgres, store, before, count)
            before = count
            points.append(self._point(count, self._count(1), store))
        return points

    def _steps(self, steps: int) -> list[str]:
        # As many at a time whatever their length: commits are shared by as many.
        return ["--steps", str(steps), *STEPS_WINDOW, *self._count(steps / 3)]

    def _fan_out(self, width: int) -> list[str]:
        return ["--fan-out", str(width), "--in-flight", "2", *self._count(width / 3)]

    def _payload(self, size: int) -> list[str]:
        return ["--payload", str(size), *self._count(max(size / 10_240, 1))]

    def _replicas(self, count: int) -> list[str]:
        return ["--orchestrators", str(count), *self._count(1)]

    def _count(self, weight: float) -> list[str]:
        """Return how many sagas to run where each weighs as much as so many."""
        return ["--sagas", str(max(int(self._sizes.sagas / weight), 4))]

    def _point(self, at: int, options: list[str], store: str | None = None) -> Point:
        note(f"{' '.join(options)}, at {at} …")
        repeat = ("--repeat", str(self._sizes.repeat))
        found = saga_bench(*options, *repeat, *self._servers.options(store))
        runs = [run["sagas_per_second"] for run in found.pop("runs")]
        return {"at": at, "range": [min(runs), max(runs)], **found}


def curves_of(found: dict[str, list[Point]]) -> list[Curve]:
    """Return what is plotted; a fan-out is one point, and stays in the JSON."""
    steps, constant = found["steps"], found["constant"]
    return [
        _speed("Sagas a second", "sagas in the store before", found["stored"]),
        _cpu("sagas in the store before", found["stored"]),
        Curve(
            "Steps a second",
            "steps of a saga, one after the other",
            [(at["at"], at["sagas_per_second"] * at["steps"]) for at in steps],
            [tuple(end * at["steps"] for end in at["range"]) for at in steps],
        ),
        _cpu("steps of a saga, one after the other", steps),
        _speed("Sagas a second", "bytes of payload", found["payload"]),
        _speed(
            f"Sagas a second, {machine()['cores']} cores",
            "orchestrators (processes)",
            found["replicas"],
            by_factors=False,
        ),
        Curve(
            "Memory of an orchestrator, MiB",
            "live sagas, each waiting for an answer",
            _points(found["live"], "memory_mib"),
        ),
        Curve(
            f"Memory of it, MiB, at {constant[0]['rate']} sagas a second",
            "minutes",
            _points(constant, "memory_mib"),
            [tuple(at["memory_mib_range"]) for at in constant],
            by_factors=False,
        ),
    ]


def _speed(
    title: str, axis: str, points: list[Point], *, by_factors: bool = True
) -> Curve:
    return Curve(
        title,
        axis,
        _points(points, "sagas_per_second"),
        [tuple(point["range"]) for point in points],
        by_factors=by_factors,
    )


def _cpu(axis: str, points: list[Point]) -> Curve:
    """Return the cost of a step: in ours and in the servers, whatever else runs."""
    return Curve(
        "CPU a step, orchestrator and servers, microseconds",
        axis,
        [
            (
                point["at"],
                sum(point["cpu_seconds_per_saga"].values()) * 1e6 / point["steps"],
            )
            for point in points
        ],
    )


def _points(points: list[Point], field: str) -> list[tuple[float, float]]:
    return [(point["at"], point[field]) for point in points]


def caption(sizes: Sizes) -> str:
    """Return what a reader of the plots must know."""
    of = machine()
    return (
        f"PostgreSQL and RabbitMQ, fsync on, handlers that do nothing; {of['cores']} "
        f"cores for all, Python {of['python']}, {of['loop']}. "
        f"Medians of {sizes.repeat}; pale: lowest to highest."
    )


def main(*, quick: bool, minutes: float | None, folder: Path = FOLDER) -> None:
    """Measure, write `growth.json` and `growth.svg`, and say where they are."""
    sizes = QUICK if quick else Sizes()
    if minutes is not None:
        sizes = replace(sizes, minutes=minutes)
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Point]] = {}
    with Servers.open() as servers:
        for name, points in Growth(servers, sizes).measure():
            found[name] = points  # written at once: what comes later may fail
            (folder / "growth.json").write_text(json.dumps(found, indent=2) + "\n")
    (folder / "growth.svg").write_text(draw(curves_of(found), caption(sizes)))
    files = [str(folder / name) for name in ("growth.json", "growth.svg")]
    sys.stdout.write(json.dumps({"files": files}) + "\n")
