"""The engine in a simulated world, from a seed."""

from tests.simulation.verdict import problems_of
from tests.simulation.world import Run, simulate

__all__ = ["Run", "problems_of", "simulate"]
