"""The drawing for terminals."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from msgspec import structs

from saga_orchestrator.core.definition import SagaDefinition
from saga_orchestrator.graph import draw_text, in_ascii, picture_of_saga
from saga_orchestrator.graph.labels import width
from tests.support.sagas import SAGA_ID, definition, sequence, step
from tests.unit.core.strategies import definitions
from tests.unit.graph.situations import (
    HOSTILE,
    compensated,
    diamond,
    drawn,
    fan,
    in_every_state,
    of_definition,
    of_run,
)


def test_a_saga_that_was_undone() -> None:
    """A sequence is one line down; undos stand below their steps, with numbers."""
    assert draw_text(of_run(compensated())) == [
        f"order  {SAGA_ID}",
        "↩ compensated: step c: Declined: no",
        "",
        "↩  1  a    do.a    compensated",
        "│  5     ↩ undo.a  undone",
        "↩  2  b    do.b    compensated",
        "│  4     ↩ undo.b  undone",
        "✗  3  c    do.c    failed, refused",
        "│        - undo.c  not needed",
        "○     d    do.d    pending",
        "         - undo.d  not needed",
    ]


def test_a_graph_has_lanes() -> None:
    """Branches leave and meet in lines, as in a log of commits."""
    picture = of_definition(
        definition(
            *(replace(one, compensation="") for one in diamond().steps),
        )
    )
    assert draw_text(picture)[2:] == [
        "●    a    do.a",
        "├─╮",
        "● │  b    do.b",
        "│ │",
        "│ ●  c    do.c",
        "├─╯",
        "●    d    do.d",
    ]


def test_lines_that_cross() -> None:
    """A line that passes another one is not taken for a meeting."""
    picture = drawn(
        step("a", compensation=""),
        step("b", compensation=""),
        step("x", compensation="", depends_on=["a"]),
        step("y", compensation="", depends_on=["a", "b"]),
        step("z", compensation="", depends_on=["x"]),
    )
    assert draw_text(picture)[2:] == [
        "●      a    do.a",
        "├─╮",
        "│ │ ●  b    do.b",
        "│ ├─╯",
        "● │    x    do.x",
        "│ │",
        "│ ●    y    do.y",
        "●      z    do.z",
    ]


def test_marks_of_a_definition() -> None:
    """Conditions, the pivot, and steps without action or undo are shown."""
    picture = drawn(
        step("a", when={"context.vip": True, "context.country": "CH"}),
        step("b", action="", compensation="", pivot=True),
    )
    assert draw_text(picture)[2:] == [
        "●  a    do.a",
        '│    if context.country = "CH" and context.vip = true',
        "│     ↩ undo.a",
        "●  b    -       pivot",
    ]


def test_a_wide_graph_is_grouped_by_rank() -> None:
    """Where lines would fill the page, each step says whom it waits for."""
    lines = draw_text(of_definition(fan(40)))
    assert [line for line in lines if line.startswith("rank")] == [
        "rank 1",
        "rank 2",
        "rank 3",
    ]
    assert lines[-1].endswith("after s0, s1, s2 and 37 more")
    assert lines[6].endswith("s0       do.s0")
    assert lines[8].strip() == "after first"


def test_long_names_stand_one_below_another() -> None:
    """What does not fit in columns is folded, states first kept."""
    long = "n" * 64
    run = compensated()
    plan = drawn(step(long, action="a" * 200))
    lines = draw_text(plan)
    assert max(map(width, lines)) <= 80
    assert lines[2] == f"●  {long}"
    assert lines[3].endswith("…")
    assert lines[4] == f"   ↩ undo.{long}"
    assert max(map(width, draw_text(of_run(run)))) <= 80


def test_hostile_texts() -> None:
    """A reason can neither move the cursor nor start lines of its own."""
    lines = draw_text(
        picture_of_saga(structs.replace(compensated().saga, reason=HOSTILE))
    )
    assert all(line.isprintable() for line in lines)
    assert max(map(width, lines)) <= 80


def test_in_ascii() -> None:
    """A terminal without Unicode gets the same drawing in its letters."""
    saga = in_every_state()
    for picture in (picture_of_saga(saga), of_definition(fan(6))):
        lines = draw_text(picture)
        assert all(line.isascii() for line in in_ascii(lines))
        assert list(map(len, in_ascii(lines))) == list(map(len, lines))


def test_no_steps() -> None:
    """A definition without steps says so."""
    assert draw_text(of_definition(SagaDefinition("empty"))) == [
        "empty",
        "no steps",
        "",
    ]


@given(definitions())
@settings(max_examples=50)
def test_every_step_once(made: SagaDefinition) -> None:
    """Each step has one line; a line that leads on stands below its step."""
    lines = draw_text(of_definition(made))
    bodies = [line for line in lines if "●" in line]
    assert len(bodies) == len(tuple(made.steps))
    for above, below in pairwise(lines):
        for column, letter in enumerate(below):
            if letter in "╯╰┴┤├┼" and column < len(above):
                assert above[column] in "│├┤┼╭╮┬●", (above, below)


def test_the_same_picture_has_the_same_lines() -> None:
    """A drawing depends on nothing but its input."""
    made = definition(*sequence("a", "b"))
    assert draw_text(of_definition(made)) == draw_text(of_definition(made))
