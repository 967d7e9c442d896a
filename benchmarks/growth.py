"""`make bench-growth`: how cost grows with what is stored, long, wide, big or many."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.plot import Curve, draw
from benchmarks.saga_bench import note, saga_bench
from benchmarks.servers import Servers
from benchmarks.stored import fill

FOLDER = Path(__file__).parent.parent / "build" / "bench"

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
    """

    stored: Sequence[int] = (1000, 10_000, 100_000, 1_000_000)
    steps: Sequence[int] = (3, 10, 30, 100)
    fan_out: int = 1000
    payloads: Sequence[int] = (100, 1024, 10_240, 102_400)
    replicas: Sequence[int] = (1, 2, 3, 4)
    sagas: int = 2000
    repeat: int = 3


QUICK = Sizes(
    stored=(100, 1000),
    steps=(3, 6),
    fan_out=20,
    payloads=(100, 1024),
    replicas=(1, 2),
    sagas=60,
    repeat=1,
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

    def measure(self) -> dict[str, list[Point]]:
        """Return the points of each curve: its place as ``at``, and all figures."""
        sizes = self._sizes
        return {
            "stored": self._stored(),
            "steps": self._curve(sizes.steps, self._steps),
            "fan_out": self._curve([sizes.fan_out], self._fan_out),
            "payload": self._curve(sizes.payloads, self._payload),
            "replicas": self._curve(sizes.replicas, self._replicas),
        }

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
        return ["--steps", str(steps), *self._count(steps / 3)]

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
        found.pop("runs")
        return {"at": at, **found}


def curves_of(found: dict[str, list[Point]]) -> list[Curve]:
    """Return what is plotted; a fan-out is one point, and stays in the JSON."""
    speed = "sagas_per_second"
    return [
        Curve("Sagas a second", "sagas in the store", _points(found["stored"], speed)),
        Curve(
            "Steps a second",
            "steps of a saga",
            [(point["at"], point[speed] * point["steps"]) for point in found["steps"]],
        ),
        Curve("Sagas a second", "bytes of payload", _points(found["payload"], speed)),
        Curve("Sagas a second", "replicas", _points(found["replicas"], speed)),
        Curve(
            "Bytes of WAL a saga",
            "sagas in the store",
            _points(found["stored"], "wal_bytes_per_saga"),
        ),
        Curve(
            "CPU milliseconds a step, orchestrator",
            "steps of a saga",
            [
                (point["at"], _cpu_ms(point) / point["steps"])
                for point in found["steps"]
            ],
        ),
    ]


def _points(points: list[Point], field: str) -> list[tuple[float, float]]:
    return [(point["at"], point[field]) for point in points]


def _cpu_ms(point: Point) -> float:
    seconds: float = point["cpu_seconds_per_saga"]["orchestrator 1"]
    return seconds * 1000


def main(*, quick: bool, folder: Path = FOLDER) -> None:
    """Measure, write `growth.json` and `growth.svg`, and say where they are."""
    with Servers.open() as servers:
        found = Growth(servers, QUICK if quick else Sizes()).measure()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "growth.json").write_text(json.dumps(found, indent=2) + "\n")
    (folder / "growth.svg").write_text(draw(curves_of(found)))
    files = [str(folder / name) for name in ("growth.json", "growth.svg")]
    sys.stdout.write(json.dumps({"files": files}) + "\n")
