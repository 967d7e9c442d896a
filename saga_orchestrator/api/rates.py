"""How often somebody may ask: a token bucket each, in memory."""

from __future__ import annotations

from collections import OrderedDict

from saga_orchestrator.ports.clock import Clock

BURST_SECONDS = 2.0
"""So many seconds' worth of requests may come at once."""

CALLERS_MAX = 10_000
"""Callers that are remembered; the one unheard of for longest is forgotten."""


class RateLimit:
    """Lets each caller ask so many times a second.

    Each process counts for itself: behind a balancer a caller has as many times
    the rate as there are replicas.
    """

    def __init__(self, per_second: float, clock: Clock) -> None:
        self._per_second = per_second
        self._most = max(per_second * BURST_SECONDS, 1.0)
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> float:
        """Count a request.

        Returns:
            0.0: it may go on. Else after so many seconds the next one may.
        """
        now = self._clock.monotonic()
        left, since = self._left.pop(caller, (self._most, now))
        left = min(self._most, left + (now - since) * self._per_second)
        admitted = left >= 1.0
        if admitted:
            left -= 1.0
        self._left[caller] = (left, now)
        if len(self._left) > CALLERS_MAX:
            self._left.popitem(last=False)
        return 0.0 if admitted else (1.0 - left) / self._per_second

    def give_back(self, caller: str) -> None:
        """Undo ``take``: the request was none of those that are to be limited."""
        if caller in self._left:
            left, since = self._left[caller]
            self._left[caller] = (min(self._most, left + 1.0), since)
