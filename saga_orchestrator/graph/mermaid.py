"""A picture as Mermaid source, as GitHub renders it in Markdown.

Node ids are made here, so that no name is a word of the language (``end``), and
each letter of a label that could mean something is written as its number.
GitHub draws at most 500 edges.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterator

from saga_orchestrator.graph.labels import cut
from saga_orchestrator.graph.picture import Node, Picture, Undo
from saga_orchestrator.graph.style import LIGHT

_TITLE_MAX = 120
_LABEL_MAX = 80
_SAFE = frozenset(f"{string.ascii_letters}{string.digits} _.,:()")

_STROKES = {
    "failed": "stroke-width:2px",
    "skipped": "stroke-dasharray:2 3",
    "compensating": "stroke-dasharray:5 3",
    "gave_up": "stroke-dasharray:5 3",
    "idle": "stroke-dasharray:2 3",
}
"""What tells a kind apart where there are no colours."""


def draw_mermaid(picture: Picture) -> str:
    """Draw a picture as the source of a Mermaid flowchart, in ASCII."""
    return "\n".join([*_header(picture), *_body(picture), ""])


def _header(picture: Picture) -> Iterator[str]:
    state = picture.mark.word if picture.mark else ""
    title = ": ".join(filter(None, (picture.name, state, picture.reason)))
    yield "---"
    yield f"title: {json.dumps(cut(title, _TITLE_MAX))}"
    yield "---"
    yield f"flowchart {'TD' if picture.layout.is_sequence else 'LR'}"


def _body(picture: Picture) -> Iterator[str]:
    kinds: dict[str, list[str]] = {}
    for number, node in enumerate(picture.nodes):
        yield f'  s{number}["{_label(_node_lines(node))}"]'
        kinds.setdefault(node.mark.kind, []).append(f"s{number}")
        if node.undo is not None:
            yield f'  u{number}(["{_label(_undo_lines(node.undo))}"])'
            kinds.setdefault(node.undo.mark.kind, []).append(f"u{number}")
    for before, step in picture.layout.edges:
        yield f"  s{before} --> s{step}"
    for number, node in enumerate(picture.nodes):
        if node.undo is not None:
            yield f"  s{number} -.-> u{number}"
    for kind in sorted(kinds):
        yield f"  classDef {kind} {_style(kind)}"
        yield f"  class {','.join(kinds[kind])} {kind}"


def _style(kind: str) -> str:
    line, ground = LIGHT.kinds[kind]
    colours = f"fill:{ground},stroke:{line},color:{LIGHT.text}"
    return ",".join(filter(None, (colours, _STROKES.get(kind, ""))))


def _node_lines(node: Node) -> Iterator[str]:
    order = f"({node.order}) " if node.order else ""
    yield f"{order}{node.mark.glyph} {node.name}"
    yield node.action or "no action"
    yield node.words
    yield "pivot" if node.pivot else ""
    yield f"if {node.when}" if node.when else ""


def _undo_lines(undo: Undo) -> Iterator[str]:
    order = f"({undo.order}) " if undo.order else ""
    yield f"{order}{undo.mark.glyph} {undo.name}"
    yield undo.words


def _label(lines: Iterator[str]) -> str:
    return "<br>".join(_escaped(cut(line, _LABEL_MAX)) for line in lines if line)


def _escaped(text: str) -> str:
    return "".join(letter if letter in _SAFE else f"#{ord(letter)};" for letter in text)
