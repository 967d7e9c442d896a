"""Which fault comes when: one after the other, then lane beside lane."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.chaos.faults import FAULTS, LANES, NotProvenError
from tests.chaos.stage import Stage

LONG_MINUTES = 10.0
"""From here on each class is needed twice."""
SOLO_MINUTES = 6.0
"""From here on each class comes alone first."""

OVERTIME_SECONDS = 60.0
PAUSE_SECONDS = (0.5, 4.0)

SPAN_SECONDS = {
    # What was in the queue is sent again a minute after its handler's timeout.
    "queue_deleted": 75.0,
    "broker_restarted": 20.0,
    "queue_leader_killed": 15.0,
    "deadlock": 15.0,
}
"""A fault does not begin when less is left; the others, ``SPAN_DEFAULT``."""
SPAN_DEFAULT = 8.0

REST_SECONDS = {"queue_deleted": 130.0}
"""What comes between two of a class. A command that is lost again and again waits
twice as long each time, and the end of a run does not wait for that."""


@dataclass
class Storm:
    """The faults of one run.

    Attributes:
        stage: what they play on.
        minutes: how long.
        rng: draws who is hit, and when.
        tell: is told of each fault.
        proven: how often each class fired, with evidence.
        tried: how often each was tried.
    """

    stage: Stage
    minutes: float
    rng: random.Random
    tell: Callable[[str], None]
    proven: Counter[str] = field(default_factory=Counter)
    tried: Counter[str] = field(default_factory=Counter)
    _ended_at: dict[str, float] = field(default_factory=dict)

    @property
    def required(self) -> int:
        """How often each class has to be proven."""
        return 2 if self.minutes >= LONG_MINUTES else 1

    @property
    def missing(self) -> list[str]:
        """Classes that were not."""
        return [name for name in FAULTS if self.proven[name] < self.required]

    @property
    def counts(self) -> dict[str, int]:
        """How often each class was proven."""
        return {name: self.proven[name] for name in sorted(FAULTS)}

    async def rage(self) -> None:
        """Fire for so many minutes, then, a little longer, what is missing."""
        over_at = _now() + self.minutes * 60
        if self.minutes >= SOLO_MINUTES:
            for name in self.rng.sample(list(FAULTS), len(FAULTS)):
                await self._fire(name)
        async with asyncio.TaskGroup() as lanes:
            for lane in LANES.values():
                lanes.create_task(self._run_lane(list(lane), over_at))
        while self.missing and _now() < over_at + OVERTIME_SECONDS:
            await self._fire(min(self.missing, key=self.tried.__getitem__))

    async def _run_lane(self, names: list[str], over_at: float) -> None:
        while (left := over_at - _now()) > 0:
            if name := self._next(names, left):
                await self._fire(name)
            await asyncio.sleep(min(left, self.rng.uniform(*PAUSE_SECONDS)))

    def _next(self, names: list[str], left: float) -> str | None:
        """Draw from what was tried least and fits; at first what takes longest."""
        fitting = [n for n in names if _span(n) <= left and self._has_rested(n)]

        def order(name: str) -> tuple[int, float]:
            tried = self.tried[name]
            return tried, self.rng.random() if tried else -_span(name)

        return min(fitting, key=order, default=None)

    def _has_rested(self, name: str) -> bool:
        rest = REST_SECONDS.get(name, 0.0)
        return _now() - self._ended_at.get(name, -math.inf) >= rest

    async def _fire(self, name: str) -> None:
        self.tried[name] += 1
        try:
            evidence = await FAULTS[name](self.stage, self.rng)
        except (NotProvenError, AssertionError, RuntimeError) as error:
            self.tell(f"{name}: not proven: {error}")
        else:
            self.proven[name] += 1
            self.tell(f"{name}: {evidence}")
        self._ended_at[name] = _now()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _span(name: str) -> float:
    return SPAN_SECONDS.get(name, SPAN_DEFAULT)
