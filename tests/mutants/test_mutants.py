"""The simulation finds what it is there to find."""

from __future__ import annotations

import pytest

from tests.mutants.catalogue import MUTANTS
from tests.mutants.hunt import SEEDS, caught_by


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", range(len(MUTANTS)), ids=[mutant.name for mutant in MUTANTS]
)
def test_a_planted_bug_is_caught(number: int) -> None:
    """Some seed breaks an invariant; without the bug none of them does."""
    assert caught_by(number, SEEDS), f"{MUTANTS[number].name}: survived {SEEDS} seeds"


def test_there_are_enough_of_them() -> None:
    """At least twenty, each with a name of its own."""
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(set(names)) >= 20
