"""Where each step stands: its rank, its lane, and the edges to draw.

A rank holds the steps that may run at the same time. A lane holds a step from
the rank after its first dependency on: the edges that lead to a step all run in
its own lane, so none crosses the box of another.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, groupby

from saga_orchestrator.core.order import ancestors_of, topological

Edge = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """A place for each step; steps are numbers, in the plan's order.

    Attributes:
        ranks: per step, the length of the longest way to it.
        lanes: per step, from 0 on; each lane is used.
        edges: pairs of steps, the first one before the second, without those
            that follow from others.
    """

    ranks: tuple[int, ...]
    lanes: tuple[int, ...]
    edges: tuple[Edge, ...]

    @property
    def rank_count(self) -> int:
        """How many ranks there are."""
        return max(self.ranks, default=-1) + 1

    @property
    def lane_count(self) -> int:
        """How many lanes there are."""
        return max(self.lanes, default=-1) + 1

    @property
    def is_sequence(self) -> bool:
        """Whether the steps stand in one row, each but the first after another."""
        return self.rank_count == len(self.ranks)

    def in_order(self) -> list[int]:
        """Return the steps by rank, then by lane."""
        places = zip(self.ranks, self.lanes, count(), strict=False)
        return [step for _, _, step in sorted(places)]


def lay_out(depends_on: Sequence[tuple[int, ...]]) -> Layout:
    """Give each step a place.

    Args:
        depends_on: per step the steps it waits for; without a cycle.

    Returns:
        A layout in which no two steps have the same rank and lane, and in which
        between a step and its first dependency the lane is empty.
    """
    needed = _without_detours(depends_on)
    ranks = _ranks(needed)
    return Layout(
        ranks=tuple(ranks),
        lanes=tuple(_lanes(needed, ranks)),
        edges=tuple(
            (before, step)
            for step, dependencies in enumerate(needed)
            for before in dependencies
        ),
    )


def _without_detours(
    depends_on: Sequence[tuple[int, ...]],
) -> list[tuple[int, ...]]:
    """Leave out each dependency that another one already has."""
    ancestors = ancestors_of(depends_on)
    needed = []
    for dependencies in depends_on:
        implied = 0
        for before in dependencies:
            implied |= ancestors[before]
        needed.append(tuple(i for i in dependencies if not implied >> i & 1))
    return needed


def _ranks(depends_on: Sequence[tuple[int, ...]]) -> list[int]:
    ranks = [0] * len(depends_on)
    for step in topological(depends_on):
        ranks[step] = max((ranks[i] + 1 for i in depends_on[step]), default=0)
    return ranks


def _lanes(depends_on: Sequence[tuple[int, ...]], ranks: Sequence[int]) -> list[int]:
    """Give each step a lane near those of its dependencies."""
    opening = defaultdict(list)
    for step, dependencies in enumerate(depends_on):
        opening[min((ranks[i] + 1 for i in dependencies), default=0)].append(step)
    lanes = [0] * len(ranks)
    busy: dict[int, int] = defaultdict(int)  # the ranks in use, as bits
    for first in sorted(opening):
        wishes = []
        for step in opening[first]:
            known = [lanes[i] for i in depends_on[step] if ranks[i] < first]
            wishes.append((sum(known) / len(known) if known else 0.0, step))
        for step, wish in _side_by_side(sorted(wishes)):
            held = (1 << ranks[step] + 1) - (1 << first)
            lanes[step] = next(lane for lane in _nearest(wish) if not busy[lane] & held)
            busy[lanes[step]] |= held
    used = {lane: number for number, lane in enumerate(sorted(set(lanes)))}
    return [used[lane] for lane in lanes]


def _side_by_side(wishes: Sequence[tuple[float, int]]) -> Iterator[tuple[int, int]]:
    """Yield each step with a lane of its own, about the one that several wish for."""
    for middle, group in groupby(wishes, key=lambda wish: wish[0]):
        steps = [step for _, step in group]
        top = math.ceil(middle - 0.5) - (len(steps) - 1) // 2
        for offset, step in enumerate(steps):
            yield step, top + offset


def _nearest(lane: int) -> Iterator[int]:
    yield lane
    for distance in count(1):
        yield lane + distance
        yield lane - distance
