"""Ranks and lanes: who stands where."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga_orchestrator.core.order import ancestors_of
from saga_orchestrator.graph.layout import Layout, lay_out

if TYPE_CHECKING:
    from collections.abc import Sequence

Depends = list[tuple[int, ...]]


@st.composite
def _graphs(draw: st.DrawFn) -> Depends:
    """Draw a graph without cycle; its steps are in no special order."""
    size = draw(st.integers(1, 14))
    order = draw(st.permutations(range(size)))
    depends_on: list[tuple[int, ...]] = [()] * size
    for position, name in enumerate(order):
        if position:
            before = st.sampled_from(order[:position])
            depends_on[name] = tuple(draw(st.lists(before, unique=True, max_size=4)))
    return depends_on


def _chain(length: int) -> Depends:
    return [(i - 1,) if i else () for i in range(length)]


def _fan(width: int) -> Depends:
    return [(), *[(0,)] * width, tuple(range(1, width + 1))]


def test_a_sequence_is_one_lane() -> None:
    """Steps one after another stand in a row."""
    layout = lay_out(_chain(4))
    assert layout == Layout((0, 1, 2, 3), (0, 0, 0, 0), ((0, 1), (1, 2), (2, 3)))
    assert layout.is_sequence


def test_a_diamond() -> None:
    """Two branches have a lane each, and meet in that of the first."""
    layout = lay_out([(), (0,), (0,), (1, 2)])
    assert (layout.ranks, layout.lanes) == ((0, 1, 1, 2), (0, 0, 1, 0))


def test_a_rank_is_the_longest_way() -> None:
    """A step stands after all that it waits for, not beside some of it."""
    assert lay_out([(), (0,), (1,), (0, 2), (3,)]).ranks == (0, 1, 2, 3, 4)


def test_a_wide_fan_stands_about_its_middle() -> None:
    """What comes before and after many steps is level with one in their middle."""
    layout = lay_out(_fan(8))
    assert layout.lanes == (3, *range(8), 3)
    assert (layout.rank_count, layout.lane_count) == (3, 8)


def test_steps_that_wait_for_nobody() -> None:
    """Steps without any connection stand side by side in the first rank."""
    layout = lay_out([(), (), (0,)])
    assert layout.ranks == (0, 0, 1)
    assert layout.lanes == (0, 1, 0)


def test_no_steps() -> None:
    """An empty definition has a layout, too."""
    layout = lay_out([])
    assert (layout.rank_count, layout.lane_count, layout.in_order()) == (0, 0, [])


def test_what_follows_from_others_is_not_drawn() -> None:
    """A dependency that another one implies has no edge of its own."""
    assert lay_out([(), (0,), (0, 1)]).edges == ((0, 1), (1, 2))


@given(_graphs())
def test_every_layout(depends_on: Depends) -> None:
    """No two steps share a place, edges go forward, and no box is in their way."""
    layout = lay_out(depends_on)
    places = list(zip(layout.ranks, layout.lanes, strict=True))
    assert len(set(places)) == len(places)
    assert set(layout.lanes) == set(range(layout.lane_count))
    for before, step in layout.edges:
        assert layout.ranks[before] < layout.ranks[step]
        crossed = range(layout.ranks[before] + 1, layout.ranks[step])
        assert not {(rank, layout.lanes[step]) for rank in crossed} & set(places)
    assert _reachable(layout, len(depends_on)) == ancestors_of(depends_on)


@given(_graphs())
def test_the_same_graph_has_the_same_layout(depends_on: Depends) -> None:
    """Nothing depends on chance."""
    assert lay_out(depends_on) == lay_out(list(depends_on))


@pytest.mark.parametrize(
    "depends_on",
    [
        _chain(2000),
        _fan(1998),
        [*[()] * 1000, *[(i,) for i in range(999)], tuple(range(1999))],
        [tuple(range(max(i - 40, 0), i)) for i in range(2000)],
    ],
    ids=["chain", "fan", "roots", "dense"],
)
def test_two_thousand_steps(depends_on: Depends) -> None:
    """The largest sagas are laid out while one waits."""
    before = time.perf_counter()
    layout = lay_out(depends_on)
    assert time.perf_counter() - before < 5  # usually under 0.2; the machine is shared
    assert len(set(zip(layout.ranks, layout.lanes, strict=True))) == 2000


def _reachable(layout: Layout, size: int) -> Sequence[int]:
    """Return, per step, all that the drawn edges lead from, as bits."""
    needed: list[tuple[int, ...]] = [()] * size
    for before, step in layout.edges:
        needed[step] = (*needed[step], before)
    return ancestors_of(needed)
