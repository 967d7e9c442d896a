"""The SVG: well-formed, self-contained, readable without colour."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from saga_orchestrator.core.states import SagaState, StepState
from saga_orchestrator.graph import draw_svg, picture_of_saga
from saga_orchestrator.graph.frame import Box, Frame
from saga_orchestrator.graph.marks import STATES, UNDOS
from saga_orchestrator.graph.style import GLYPHS, stylesheet
from tests.support.sagas import ONCE, Run, definition, sequence, step
from tests.unit.core.strategies import definitions
from tests.unit.graph.situations import (
    HOSTILE,
    NAMES,
    compensated,
    diamond,
    drawn,
    fan,
    in_every_state,
    of_definition,
    of_run,
)

if TYPE_CHECKING:
    from saga_orchestrator.core.definition import SagaDefinition
    from saga_orchestrator.graph import Picture

_SVG = "{http://www.w3.org/2000/svg}"


def _texts(source: str) -> list[str]:
    return [one.text or "" for one in ET.fromstring(source).iter(f"{_SVG}text")]


def _paths(source: str, kind: str) -> list[str]:
    found = ET.fromstring(source).iter(f"{_SVG}path")
    return [one.attrib["d"] for one in found if one.get("class") == kind]


def _boxes(picture: Picture) -> list[Box]:
    frame = Frame(picture)
    numbers = range(len(picture.nodes))
    return [
        *(frame.step_at(number) for number in numbers),
        *(frame.undo_at(number) for number in numbers if picture.nodes[number].undo),
    ]


def test_a_saga_that_was_undone() -> None:
    """All that happened is there in words and numbers, not in colour alone."""
    source = draw_svg(of_run(compensated()))
    texts = _texts(source)
    for wanted in ("order", "compensated", "step c: Declined: no", "failed, refused"):
        assert wanted in texts
    assert texts.count("undone") == 2
    assert {"1", "2", "3", "4", "5"} <= set(texts)


def test_it_can_be_read_aloud() -> None:
    """Title and description tell the picture to those who do not see it."""
    root = ET.fromstring(draw_svg(of_run(compensated())))
    assert root.get("role") == "img"
    assert (root[0].tag, root[1].tag) == (f"{_SVG}title", f"{_SVG}desc")
    assert (root[0].text or "").endswith(": compensated")
    told = root[1].text or ""
    assert "3. c: failed, refused, action do.c." in told
    assert "5. undo of a by undo.a: undone." in told


def test_the_way_back() -> None:
    """In a sequence, dashed arrows lead from where it turned from undo to undo."""
    assert len(_paths(draw_svg(of_run(compensated())), "back")) == 2
    assert len(_paths(draw_svg(drawn(*sequence("a", "b", "c"))), "back")) == 2
    together = drawn(*sequence("a", "b", "c"), parallel_compensation=True)
    for picture in (together, of_definition(diamond())):
        assert _paths(draw_svg(picture), "back") == []


def test_a_step_that_undoes_itself_is_where_it_turned() -> None:
    """An action of unknown outcome is undone first; no other arrow leads there."""
    run = Run(definition(*sequence("a", "b")))
    run.succeed("a")
    run.give_up("b")
    run.compensate()
    run.finish()
    assert run.saga.is_compensated
    assert len(_paths(draw_svg(of_run(run)), "back")) == 1


def test_a_long_sequence_runs_down() -> None:
    """Its picture grows in length and stays as wide as a page."""
    short, long = (Frame(drawn(*sequence(*map(str, range(n))))) for n in (3, 50))
    assert short.width > short.height
    assert long.width < 600
    assert not short.is_down
    assert long.is_down


def test_nothing_from_outside() -> None:
    """No script, link, font or image; the page around it keeps its own style."""
    source = draw_svg(of_run(compensated()))
    allowed = {"svg", "title", "desc", "style", "rect", "g", "text", "path", "circle"}
    assert {
        one.tag.removeprefix(_SVG) for one in ET.fromstring(source).iter()
    } <= allowed
    assert re.findall(r"(?i)href|url\(|@import|@font-face|https?:", source) == ["http:"]
    rules = re.findall(r"(?m)^\s*([^@}{\n]+) \{", stylesheet())
    selectors = [one for rule in rules for one in rule.split(", ")]
    assert all(one.startswith(".saga ") for one in selectors)


def test_light_and_dark() -> None:
    """Every colour of the light picture has a dark one."""
    light, dark = stylesheet().split("@media (prefers-color-scheme: dark)")
    rule = re.compile(r"(?m)^\s*(\.saga [^{]*) \{[^}]*#[0-9a-f]{6}")
    assert rule.findall(light) == rule.findall(dark)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast(scheme: int) -> None:
    """Text has a contrast of 4.5 to 1 at least, whatever the state."""
    part = stylesheet().split("@media")[scheme]
    grounds = dict(re.findall(r"\.saga \.(\w+) \.box \{ fill: (#\w+)", part))
    words = dict(re.findall(r"\.saga \.(\w+) \.word \{ fill: (#\w+)", part))
    plain, faint = re.findall(r"\.saga text(?:\.faint)? \{ fill: (#\w+)", part)
    assert set(grounds) == set(words) == set(GLYPHS)
    for kind, ground in grounds.items():
        for ink in (plain, faint, words[kind]):
            assert _contrast(ink, ground) >= 4.5, (kind, ink)


def test_every_state_has_its_own_glyph() -> None:
    """The drawn glyphs differ, so that grey print can be read."""
    assert {mark.kind for mark in (*STATES.values(), *UNDOS)} <= set(GLYPHS)
    drawn_glyphs = [GLYPHS[mark.kind] for mark in STATES.values()]
    assert len(set(drawn_glyphs)) == len(STATES)


@pytest.mark.parametrize("state", SagaState)
def test_hostile_texts(state: SagaState) -> None:
    """Whatever a reason holds is shown as text, and cut where it is too long."""
    saga = replace(in_every_state(), state=state, reason=HOSTILE)
    source = draw_svg(picture_of_saga(saga))
    assert source.isascii()
    root = ET.fromstring(source)
    assert not list(root.iter(f"{_SVG}script"))
    assert any("<script>alert('x')</script>" in text for text in _texts(source))
    assert max(map(len, _texts(source))) < 200


def test_long_names_are_cut_and_told_whole() -> None:
    """A name that does not fit its box is in the box's title."""
    long = "n" * 64
    source = draw_svg(drawn(*[step(name) for name in NAMES], step(long)))
    assert long not in _texts(source)
    titles = [one.text or "" for one in ET.fromstring(source).iter(f"{_SVG}title")]
    assert any(title.startswith(long) for title in titles)


def test_conditions_and_pivot() -> None:
    """A conditional step says when it runs; the pivot is tagged."""
    picture = drawn(
        step("a", when={"context.vip": 1}), step("b", pivot=True, compensation="")
    )
    assert {"if context.vip = 1", "pivot"} <= set(_texts(draw_svg(picture)))
    assert "no action" in _texts(draw_svg(drawn(step("a", action="", compensation=""))))


@given(definitions())
@settings(max_examples=50)
def test_no_boxes_overlap(made: SagaDefinition) -> None:
    """Every box has its place to itself, on the sheet and below the header."""
    picture = of_definition(made)
    frame, boxes = Frame(picture), _boxes(picture)
    for number, box in enumerate(boxes):
        assert 0 < box.x < box.right < frame.width
        assert 36 < box.y < box.bottom < frame.height
        assert not any(_overlap(box, other) for other in boxes[:number])
    ET.fromstring(draw_svg(picture))


@given(definitions())
@settings(max_examples=25)
def test_the_same_picture_has_the_same_bytes(made: SagaDefinition) -> None:
    """A drawing depends on nothing but its input."""
    assert draw_svg(of_definition(made)) == draw_svg(of_definition(made))


def test_many_steps() -> None:
    """The largest sagas can be drawn."""
    source = draw_svg(of_definition(fan(1998)))
    assert len(_paths(source, "edge")) == 2 * 1998


def test_no_steps() -> None:
    """A definition without steps is a sheet with its name."""
    assert _texts(draw_svg(drawn())) == ["order"]


def _overlap(one: Box, other: Box) -> bool:
    apart = one.right <= other.x or other.right <= one.x
    return not (apart or one.bottom <= other.y or other.bottom <= one.y)


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, as WCAG 2 defines it."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4
        for part in parts
    ]
    return sum(
        w * part for w, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
    )


def test_open_residuals_have_a_line() -> None:
    """A saga whose effects may stand outside its account says so in its header."""
    picture = picture_of_saga(replace(compensated().saga, residuals=2))
    alarm = "2 open residuals: effects that may stand outside its account"
    plain = picture_of_saga(compensated().saga)
    assert alarm in _texts(draw_svg(picture))
    assert not any("residual" in text for text in _texts(draw_svg(plain)))
    assert Frame(picture).step_at(0).y > Frame(plain).step_at(0).y


def test_words_have_room_in_a_wide_font() -> None:
    """DejaVu Sans takes 7.4 a letter for these words; they stay inside their box."""
    run = Run(definition(step("a", action="x", compensation="", retry=ONCE)))
    run.err("a")
    for state in set(StepState) - {StepState.STARTED}:  # which says no outcome
        status = replace(run.status("a"), state=state)
        picture = picture_of_saga(replace(run.saga, steps=(status,)))
        texts = ET.fromstring(draw_svg(picture)).iter(f"{_SVG}text")
        words = next(one for one in texts if "outcome unknown" in (one.text or ""))
        right = int(words.attrib["x"]) + 7.4 * len(words.text or "")
        assert right < Frame(picture).step_at(0).right, state
