"""Pauses between attempts to reach a server: full jitter, no storm."""

from __future__ import annotations

import random

FIRST_SECONDS = 0.05
LAST_SECONDS = 5.0


class Backoff:
    """Grows from 50 ms to 5 s; each pause is a random share of the current step.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._seconds = FIRST_SECONDS

    def next(self) -> float:
        """Return the next pause in seconds."""
        pause = self._seconds * (0.5 + self._rng.random() / 2)
        self._seconds = min(self._seconds * 2, LAST_SECONDS)
        return pause

    def reset(self) -> None:
        """Begin anew: the server answered."""
        self._seconds = FIRST_SECONDS
