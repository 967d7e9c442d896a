"""The weather of a run: which faults there are, how often, and what fired.

A seed draws its own climate: about half of the kinds are absent, the others
come at a rate of their own. In the second phase of a run the weather is calm.
"""

from __future__ import annotations

import random
from collections import Counter

KINDS = {
    # A transaction fails, and nothing was written (F09, F47, F52).
    "store_abort": (0.01, 0.05, 0.15),
    # It was committed, and the answer is lost (F08).
    "store_unknown": (0.01, 0.05, 0.15),
    # An answer of the store takes seconds (F39, F54).
    "store_slow": (0.005, 0.02),
    # Publishing: stored twice (F17), confirmed and lost (F33), stored but not
    # confirmed (F03, F41), refused (F41).
    "duplicate": (0.02, 0.1, 0.4),
    "lose": (0.01, 0.05),
    "confirm_lost": (0.02, 0.1, 0.3),
    "nack": (0.02, 0.1, 0.3),
    # Consuming: late, which reorders (F14, F18); acknowledged in vain (F05).
    "delay": (0.02, 0.1, 0.3),
    "ack_lost": (0.02, 0.1),
    # A clock that is minutes off (F71), a worker of another version, which
    # lacks a handler (F36, F80).
    "skew": (0.3, 0.8),
    "old_worker": (0.2, 0.6),
    # What handlers do: a definite no, an exception before or after the effect,
    # silence before or after it, an effect although cancelled (F20, F24, F77).
    "refuse": (0.02, 0.1, 0.3),
    "error_before": (0.02, 0.1, 0.3),
    "error_after": (0.02, 0.1, 0.3),
    "hang_before": (0.02, 0.1),
    "hang_after": (0.02, 0.1),
    "stubborn": (0.02, 0.1),
    # An output that the store refuses to keep (F34, F63).
    "unstorable": (0.02, 0.1),
    "put_off": (0.02, 0.1, 0.3),
    "skip": (0.02, 0.1),
    # A command that kills its process, up to the delivery limit (F31).
    "poison": (0.02, 0.1),
    "undo_refuse": (0.01, 0.05),
    # Answers from outside that come late, never, or stop after a heartbeat
    # (F24, F25, F30).
    "outside_refuse": (0.1, 0.3),
    "outside_never": (0.1, 0.3),
    "outside_silent": (0.1, 0.3),
}
"""Faults that may strike at each occasion, with the rates to draw from."""

SPELLS = {
    # The store is away for all (F37, F48), one row is locked (F54).
    "store_away": 3,
    "row_locked": 4,
    # The broker blocks publishers (F40), is away (F37), has no binding for a
    # service (F26), cuts a connection (F29, F35).
    "blocked": 2,
    "broker_away": 2,
    "unrouted": 2,
    "cut": 6,
    # A process stands still and goes on (F12, F39), or is told to drain (F78).
    "pause": 3,
    "drain": 3,
    # A participant that repeats, contradicts, forges, babbles (F17, F22, F23, F34).
    "replay": 8,
    "contradict": 6,
    "forge": 6,
    "malformed": 6,
    # Operators (F84).
    "compensate": 3,
    "force": 2,
    "retry": 6,
    "resolve": 6,
    "give_up": 4,
    "residual_undo": 6,
    "residual_dismiss": 3,
    "prune": 3,
}
"""Things that come at an instant of the storm, and how many of them at most."""

OTHERS = ("crash", "dead_letter", "start_again", "key_conflict", "wipe")
"""Faults that follow from the world's course."""

FAULTS = (*KINDS, *SPELLS, *OTHERS)
"""Every fault that a world can have."""


class Weather:
    """How bad the world is now.

    Attributes:
        is_calm: nothing strikes any more.
        rates: probabilities by kind, drawn once per seed.
        counts: spells in this storm by kind, drawn once per seed.
        fired: how often each fault happened.
    """

    def __init__(self, seed: int) -> None:
        rng = random.Random(f"{seed}/weather")
        self._random = rng.random
        self.is_calm = False
        harshness = rng.choice((0.2, 0.5, 0.5, 0.8))
        self.rates: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        # A source for each, so that a new kind leaves the others as they were.
        for kind, rates in KINDS.items():
            own = random.Random(f"{seed}/{kind}")
            self.rates[kind] = own.choice(rates) if own.random() < harshness else 0.0
        for kind, most in SPELLS.items():
            own = random.Random(f"{seed}/{kind}")
            self.counts[kind] = own.randint(1, most) if own.random() < harshness else 0
        # How long a process lives, in awaits; 0: until the storm is over.
        self.lifetime = rng.choice((0, 30, 100, 400, 1000))
        # Whether a service that said no to a command says so again to its copies.
        self.is_consistent = rng.random() < 0.7
        # Deliveries of one message before it is dead-lettered.
        self.delivery_limit = rng.choice((3, 5, 20, 20))
        self.fired: Counter[str] = Counter()

    def strikes(self, kind: str) -> bool:
        """Draw whether a fault happens now."""
        rate = self.rates[kind]
        if not rate or self.is_calm or self._random() >= rate:
            return False
        self.fired[kind] += 1
        return True

    def seconds(self, most: float) -> float:
        """Draw a duration."""
        return self._random() * most

    def mood(self, rng: random.Random, *kinds: str) -> str:
        """Draw which of some faults a handler has in mind; empty: none."""
        if self.is_calm:
            return ""
        share = rng.random()
        for kind in kinds:
            share -= self.rates[kind]
            if share < 0:
                return kind
        return ""
