"""Looking for a seed that sees a planted bug.

Not in ``__main__``: processes that are spawned cannot import from there.
"""

from __future__ import annotations

import logging

import structlog

from tests.mutants.catalogue import MUTANTS
from tests.simulation.verdict import problems_of
from tests.simulation.world import simulate

SEEDS = 400
"""In which a mutant must be caught; most are in the first twenty."""


def caught_by(number: int, seeds: int) -> tuple[int, str] | None:
    """Return the first seed that catches a mutant, and how; None: it survived."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
    )
    mutant = MUTANTS[number]
    for seed in range(seeds):
        try:
            problems = problems_of(simulate(seed, patch=mutant.patch))
        except AssertionError as error:
            problems = [f"{type(error).__name__}: {error}"]
        if problems:
            return seed, problems[0]
    return None
