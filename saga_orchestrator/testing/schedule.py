"""What is still to happen in a play, in the order of its instants."""

from __future__ import annotations

import datetime as dt
import heapq
import itertools
from collections.abc import Awaitable, Callable

Job = Callable[[], Awaitable[None]]


class Schedule:
    """Jobs by instant; those of one instant in the order they were planned."""

    def __init__(self) -> None:
        self._jobs: list[tuple[dt.datetime, int, Job]] = []
        self._order = itertools.count()

    def plan(self, at: dt.datetime, job: Job) -> None:
        """Have the job done at an instant."""
        heapq.heappush(self._jobs, (at, next(self._order), job))

    @property
    def next_at(self) -> dt.datetime | None:
        """When the next job is due; None: there is none."""
        return self._jobs[0][0] if self._jobs else None

    def take(self, now: dt.datetime) -> Job | None:
        """Take the next job, if it is due."""
        if not self._jobs or self._jobs[0][0] > now:
            return None
        return heapq.heappop(self._jobs)[2]
