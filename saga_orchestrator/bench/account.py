"""What one process has to tell after a load, as it goes to the parent."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from prometheus_client import Histogram

from saga_orchestrator.bench.counting import CountingBroker
from saga_orchestrator.bench.machine import peak_memory
from saga_orchestrator.telemetry import metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What one process did and used.

    Attributes:
        cpu_seconds: of the whole process, user and system.
        peak_bytes: the most memory it ever had.
        messages: published, commands and answers.
        frames: those of them that carry commands.
        commands: that these carried.
        commits: of events, whether of one or of hundreds.
        events: that they carried.
        started: when each saga that it started was, or should have been.
        ended: when each saga whose end it committed came to rest.
    """

    cpu_seconds: float
    peak_bytes: int
    messages: int
    frames: int
    commands: int
    commits: int
    events: int
    started: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what ``write`` wrote."""
        return cls(**json.loads(path.read_text()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """How far a process's counters are; what lies between two is an account."""

    cpu_seconds: float
    messages: int
    frames: int
    commands: int
    commits: int
    events: int

    @classmethod
    def now(cls, broker: CountingBroker) -> Self:
        """Read them."""
        frames, commands = _count_and_sum(metrics.FRAME_COMMANDS)
        commits, events = _count_and_sum(metrics.BATCH_EVENTS)
        return cls(
            cpu_seconds=time.process_time(),
            messages=broker.published,
            frames=frames,
            commands=commands,
            commits=commits,
            events=events,
        )

    def account(
        self, since: Counters, started: dict[str, float], ended: dict[str, float]
    ) -> Account:
        """Return what happened since."""
        return Account(
            cpu_seconds=self.cpu_seconds - since.cpu_seconds,
            peak_bytes=peak_memory(),
            messages=self.messages - since.messages,
            frames=self.frames - since.frames,
            commands=self.commands - since.commands,
            commits=self.commits - since.commits,
            events=self.events - since.events,
            started=started,
            ended=ended,
        )


def _count_and_sum(histogram: Histogram) -> tuple[int, int]:
    """Return how often a histogram was told something, and the sum of it."""
    found = {
        sample.name.rpartition("_")[2]: sample.value
        for family in histogram.collect()
        for sample in family.samples
    }
    return int(found["count"]), int(found["sum"])
