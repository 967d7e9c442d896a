"""What goes wrong in a demo: decided by the seed, so that it can be repeated.

An attempt's fate depends on the seed, the saga's number, the step, the
direction and the attempt: not on time, process or saga id.
"""

from __future__ import annotations

import hashlib
import itertools
from enum import StrEnum

from saga_orchestrator.core.states import Direction
from saga_orchestrator.ports.broker import OutgoingMessage

DELAY_SECONDS_MAX = 0.05

# Shares of the in-process broker's messages.
_TWICE = 0.05
_CONFIRM_LOST = 0.02
_HELD_UP = 0.1
_ACK_LOST = 0.005


class Fate(StrEnum):
    """How one run of a handler goes."""

    WELL = "well"
    ERROR_BEFORE = "error before the effect"
    STALL_BEFORE = "stalls before the effect, until the timeout"
    ERROR_AFTER = "error after the effect"
    STALL_AFTER = "stalls after the effect, until the timeout"


_SHARES: dict[Direction, dict[Fate, float]] = {
    Direction.ACTION: {
        Fate.ERROR_BEFORE: 0.04,
        Fate.STALL_BEFORE: 0.003,
        Fate.ERROR_AFTER: 0.025,
        Fate.STALL_AFTER: 0.003,
    },
    Direction.COMPENSATION: {
        Fate.ERROR_BEFORE: 0.08,
        Fate.STALL_BEFORE: 0.005,
        Fate.ERROR_AFTER: 0.05,
        Fate.STALL_AFTER: 0.005,
    },
}


def chance(*parts: object) -> float:
    """Return a number in [0, 1) that depends on the parts alone."""
    text = "/".join(str(part) for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def is_refused(seed: int, number: int, step: str, share: float) -> bool:
    """Tell whether a service says a definite no to a saga, at every attempt."""
    return chance(seed, number, step, "refused") < share


def is_unanswered(seed: int, number: int, step: str, share: float) -> bool:
    """Tell whether all answers of a saga's action are lost."""
    return chance(seed, number, step, "unanswered") < share


def fate_of(
    seed: int, number: int, step: str, direction: Direction, attempt: int
) -> Fate:
    """Return how an attempt goes."""
    mark = chance(seed, number, step, direction, attempt)
    for fate, share in _SHARES[direction].items():
        if mark < share:
            return fate
        mark -= share
    return Fate.WELL


class SeededBrokerFaults:
    """Faults of the in-process broker: it repeats and delays; it loses no message.

    Args:
        seed: the run's.
        life: counts the restarts, so that each life has other faults.
    """

    def __init__(self, seed: int, life: int) -> None:
        self._origin = (seed, life)
        self._count = itertools.count()

    def copies(self, message: OutgoingMessage) -> int:
        """Store some messages twice."""
        return 2 if self._happens(_TWICE) else 1

    def loses_confirm(self, message: OutgoingMessage) -> bool:
        """Lose some confirms: the relay will publish again."""
        return self._happens(_CONFIRM_LOST)

    def delivery_delay(self, queue: str) -> float:
        """Hold up some deliveries, so that others overtake them."""
        share = self._mark() / _HELD_UP
        return share * DELAY_SECONDS_MAX if share < 1 else 0.0

    def loses_ack(self, queue: str) -> bool:
        """Lose some acknowledgements: the message comes again."""
        return self._happens(_ACK_LOST)

    def _happens(self, share: float) -> bool:
        return self._mark() < share

    def _mark(self) -> float:
        return chance(*self._origin, next(self._count))
