"""The source that GitHub renders."""

from __future__ import annotations

import re

from msgspec.structs import replace

from saga_orchestrator.graph import draw_mermaid, picture_of_saga
from tests.support.sagas import step
from tests.unit.graph.situations import (
    HOSTILE,
    NAMES,
    compensated,
    diamond,
    drawn,
    in_every_state,
    of_definition,
    of_run,
)

_LINE = re.compile(
    r"""(?x)
      [su]\d+ (\["[^"\n]*"\] | \(\["[^"\n]*"\]\))   # a node
    | s\d+ [ ] (-->|-\.->) [ ] [su]\d+              # an edge, an undo's dashed
    | classDef [ ] [a-z_]+ [ ] [a-z0-9:,\#\- ]+
    | class [ ] [su\d,]+ [ ] [a-z_]+
    """
)
_LABEL = re.compile(r"([A-Za-z0-9 _.,:()]|#\d+;|<br>)*")


def _body(source: str) -> list[str]:
    lines = source.splitlines()
    assert lines[0] == lines[2] == "---"
    assert lines[3].startswith("flowchart ")
    return [line.strip() for line in lines[4:]]


def test_a_diamond() -> None:
    """Steps, their order, and an undo by a dashed line."""
    body = _body(draw_mermaid(of_definition(diamond())))
    assert 's0["#9679; a<br>do.a"]' in body
    assert 'u0(["#8617; undo.a"])' in body
    edges = [line for line in body if "-->" in line]
    assert edges == ["s0 --> s1", "s0 --> s2", "s1 --> s3", "s2 --> s3"]
    assert "s3 -.-> u3" in body


def test_a_saga_that_was_undone() -> None:
    """States are words in the label, and a class for their colour."""
    source = draw_mermaid(of_run(compensated()))
    assert 'title: "order: compensated: step c: Declined: no"' in source
    assert 's0["(1) #8617; a<br>do.a<br>compensated"]' in source
    assert "  class s0,u0,s1,u1 compensated\n" in source
    assert "  class s2 failed\n" in source


def test_no_name_is_a_word_of_the_language() -> None:
    """Ids are made here; any legal name is only ever in a label."""
    picture = drawn(*[step(name) for name in NAMES])
    body = _body(draw_mermaid(picture))
    assert all(_LINE.fullmatch(line) for line in body), body


def test_hostile_texts() -> None:
    """Whatever a reason or a condition holds, the source stays a flowchart."""
    saga = replace(compensated().saga, reason=HOSTILE)
    conditional = drawn(
        step("a", when={"context.x": HOSTILE.translate(dict.fromkeys([0, 0xD800]))})
    )
    for picture in (picture_of_saga(saga), conditional):
        source = draw_mermaid(picture)
        assert source.isascii()
        assert all(_LINE.fullmatch(line) for line in _body(source))
        for label in re.findall(r'\["(.*)"\]', source):
            assert _LABEL.fullmatch(label), label


def test_every_state_has_a_class() -> None:
    """No combination of state, outcome and phase is without a colour."""
    source = draw_mermaid(picture_of_saga(in_every_state()))
    used = set(re.findall(r"(?m)^  class \S+ (\w+)$", source))
    assert used == set(re.findall(r"(?m)^  classDef (\w+)", source))
