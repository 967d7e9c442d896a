"""Seeded runs of the engine under faults and crashes, judged by a ledger."""

from __future__ import annotations

import logging

import pytest
import structlog

from tests.simulation.judge import problems_of
from tests.simulation.world import Run, simulate

SEEDS = 300
BLOCK = 25

KEPT = (7, 20, 33, 44)
"""Seeds that once failed; they are run for ever.

7, 20, 33: a step of unknown outcome was undone after the step that it depends
on, as both had the same mark. (With the bug planted again, 7 and 20 still see it;
33 draws another story since the world was changed.) 44: a repeated delivery took
effect after its first run was refused, and after the undo of the step before it
was sent; the judge took that for a wrong order.
"""


@pytest.fixture(autouse=True)
def _quiet():
    """Faults are the point here; their log lines are not."""
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=quiet)
    yield
    structlog.reset_defaults()


def _check(seed: int) -> Run:
    run = simulate(seed)
    problems = problems_of(run)
    assert not problems, f"seed {seed}: " + "; ".join(problems)
    return run


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_nothing_is_lost_and_nothing_is_done_twice(first):
    """Whatever order of faults a seed draws, every saga ends with its books even."""
    fired: dict[str, int] = {}
    for seed in range(first, first + BLOCK):
        for name, count in _check(seed).fired.items():
            fired[name] = fired.get(name, 0) + count
    idle = sorted(name for name, count in fired.items() if not count)
    assert not idle, f"these faults never happened: {idle}"


@pytest.mark.parametrize("seed", KEPT)
def test_seeds_that_once_failed(seed):
    """A seed that found a defect keeps watch over it."""
    _check(seed)


def test_a_seed_decides_the_whole_run():
    """The same seed gives the same histories, so that a failure can be repeated."""

    def histories(run: Run) -> list[object]:
        return [
            [(entry.at, entry.kind, entry.step, entry.data) for entry in record.history]
            for record in run.records.values()
        ]

    assert histories(simulate(11)) == histories(simulate(11))


def test_the_judge_sees_an_effect_that_happened_twice():
    """A participant without its barrier is caught, so the check can fail."""
    found = []
    for seed in range(20):
        run = simulate(seed, barrier=False)
        found.extend(problem for problem in problems_of(run) if "effects" in problem)
    assert found
